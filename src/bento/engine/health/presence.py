"""Whether the process that carries out health checks is there, and how it is told of a container.

There is one for a run root, the keeper: whatever starts a container with a check announces it, by a file in a
directory that the keeper watches, and starts a keeper where there is none. A keeper that has nothing to do gives up its
lock first and looks into that directory after it; a command does it the other way round. So no container is missed.

A keeper of another version of Bento is ended, and one of this version started in its place.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from bento import clock, log
from bento.errors import BentoError
from bento.files.smallfile import read_small, write_small
from bento.model.container import Container, Status
from bento.units import SIGKILL, SIGTERM

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bento.engine.base.drivers import Drivers
    from bento.model.container import ProcessIdentity

PROGRAM = "bento.cli.keeper"
"""In an argument of the keeper: what it is."""
KEPT = "health"
"""In a container's run directory: the keeper looks after it. The file is written anew when its health changes."""

_ID_DIGITS = 64
_STARTING = "starting"
_STARTS_WITHIN_S = 2.0
_ENDS_WITHIN_S = 5.0


def directory(drivers: Drivers) -> Path:
    """Where containers are announced, each by a file of its id."""
    return drivers.run_root / "health"


def kept_file(drivers: Drivers, container_id: str) -> Path:
    """The file that says that a container is looked after."""
    return drivers.run_dir(container_id) / KEPT


def announce(drivers: Drivers, container_id: str) -> None:
    """Have the health of a container that runs looked after. Does not wait; what goes wrong is a warning."""
    place = directory(drivers)
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        write_small(place / container_id, b"")
        ensure(drivers)
    except (BentoError, OSError) as error:
        log.warning(f"no health checks are carried out: {error}")


def has_announced(drivers: Drivers) -> bool:
    """Whether a container waits to be looked after."""
    return bool(_announced(drivers))


def announced(drivers: Drivers) -> list[str]:
    """Return the ids that were announced, and forget them."""
    names = _announced(drivers)
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(directory(drivers) / name)
    return names


def _announced(drivers: Drivers) -> list[str]:
    with suppress(FileNotFoundError):
        return [name for name in os.listdir(directory(drivers)) if len(name) == _ID_DIGITS]
    return []


def meet(drivers: Drivers, containers: Iterable[Container]) -> None:
    """Put right what a killed keeper, or a killed command, has left: containers that nothing looks after."""
    wanted = [c for c in containers if needs_keeper(c)]
    if not wanted:
        return
    keeper = drivers.locks.keeper()
    is_there = keeper is not None and keeper.version == drivers.version
    for container in wanted:
        if not is_there or not kept_file(drivers, container.id).exists():
            announce(drivers, container.id)


def needs_keeper(container: Container) -> bool:
    """Whether checks of this container are to be carried out now."""
    return container.spec.health.is_checked and container.status in (Status.RUNNING, Status.PAUSED)


def ensure(drivers: Drivers) -> None:
    """Start a keeper unless there is one of this version, or one is on its way. Does not wait for it."""
    keeper = drivers.locks.keeper()
    if keeper is not None:
        if keeper.version == drivers.version:
            return
        end(drivers, keeper.process)
    mark = directory(drivers) / _STARTING
    now_s = clock.boot_s()
    with suppress(OSError, ValueError):
        if 0.0 <= now_s - float(read_small(mark)) < _STARTS_WITHIN_S:
            return
    write_small(mark, f"{now_s}\n".encode())
    drivers.spawn_detached(drivers.keeper_argv)


def began(drivers: Drivers) -> None:
    """For the keeper that has its lock: the next command that finds none is to start another one."""
    with suppress(FileNotFoundError):
        os.unlink(directory(drivers) / _STARTING)


def end(drivers: Drivers, keeper: ProcessIdentity) -> None:
    """Have a keeper end, and wait for that; one that does not within 5 s is killed."""
    fd = drivers.processes.open(keeper)
    if fd is None:
        return
    try:
        drivers.processes.send_signal(fd, SIGTERM, wake=True)
        if not drivers.processes.wait(fd, _ENDS_WITHIN_S):
            drivers.processes.send_signal(fd, SIGKILL, wake=False)
            drivers.processes.wait(fd, _ENDS_WITHIN_S)
    finally:
        os.close(fd)

"""The containers that a check makes: removed at its end, or by the next check, or by doctor, when it was killed.

Each is labelled with the process that made it. That is gone: what it has left is nothing's any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento import log
from bento.engine.lifecycle.create import create
from bento.engine.lifecycle.remove import remove
from bento.engine.lifecycle.start import start, start_required
from bento.engine.resources import mounting, networks
from bento.errors import BentoError, Conflict, NotFound, forget_calls
from bento.model.container import VOLUME, Container, ProcessIdentity, RestartPolicy
from bento.model.create import CreateOptions
from bento.units import new_id

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

LABEL: Final = "bento.check"
"""Of each container of a check: the process that carries it out."""
VOLUMES_LABEL: Final = "bento.check.volumes"
"""The volumes with names that were not there before it."""


@contextmanager
def running(drivers: Drivers, options: CreateOptions) -> Iterator[Container]:
    """Make a container of a check and start it; at the end it is removed, whatever has happened, even by Ctrl-C."""
    container_id = new_id()
    made = {mount.source for mount in options.files.mounts if mount.kind == VOLUME and mount.source}
    made -= {volume.name for volume in drivers.store.list_volumes()}
    labels = options.labels | {LABEL: mark_of(drivers)} | ({VOLUMES_LABEL: ",".join(sorted(made))} if made else {})
    options = replace(
        options,
        name=options.name or f"check-{container_id[:8]}",
        labels=labels,
        auto_remove=False,
        restart=RestartPolicy(),
    )
    try:
        container = create(drivers, options, container_id)
        start_required(drivers, container)
        yield start(drivers, container.id).container
    except BaseException as cause:
        forget_calls(cause)
        raise
    finally:
        with suppress(NotFound):
            remove(drivers, container_id, force=True, volumes=True)
        _remove_volumes(drivers, made)


def left_over(drivers: Drivers) -> list[Container]:
    """Return the containers of checks that were killed."""
    found = drivers.store.list(on_unreadable=lambda _: None)
    return [container for container in found if _is_left_over(drivers, container.spec.labels.get(LABEL, ""))]


def remove_left_over(drivers: Drivers) -> None:
    """Remove them, and their networks. What fails is a warning."""
    for container in left_over(drivers):
        remove_one(drivers, container)
    for name in networks_left_over(drivers):
        remove_network(drivers, name)


def networks_left_over(drivers: Drivers) -> list[str]:
    """Return the names of the networks of checks that were killed."""
    found = drivers.store.list_networks(on_unreadable=lambda _: None)
    return [network.name for network in found if _is_left_over(drivers, network.labels.get(LABEL, ""))]


def remove_network(drivers: Drivers, name: str) -> bool:
    """Remove one of them; return whether it is gone. A container may have it by now."""
    try:
        networks.remove(drivers, name)
    except NotFound:
        return True
    except Conflict:
        return False
    return True


def remove_one(drivers: Drivers, container: Container) -> bool:
    """Remove one of them, with the volumes that the check had made; return whether it is gone, else warn."""
    try:
        remove(drivers, container.id, force=True, volumes=True)
    except NotFound:
        pass
    except BentoError as error:
        log.warning(f"container {container.name} of a check that was killed: {error}")
        return False
    _remove_volumes(drivers, filter(None, container.spec.labels.get(VOLUMES_LABEL, "").split(",")))
    return True


def _remove_volumes(drivers: Drivers, names: Iterable[str]) -> None:
    for name in names:
        with suppress(NotFound, Conflict):  # another container has it by now
            mounting.remove_volume(drivers, name)


def mark_of(drivers: Drivers) -> str:
    """Return what names this process in a label."""
    process = drivers.processes.own()
    return f"{process.pid} {process.start_ticks} {process.boot_id}"


def _is_left_over(drivers: Drivers, text: str) -> bool:
    """Whether the process that a label names has ended. A label of another meaning says nothing."""
    pid, _, rest = text.partition(" ")
    ticks, _, boot_id = rest.partition(" ")
    if not (pid.isdigit() and ticks.isdigit() and boot_id):
        return False
    fd = drivers.processes.open(ProcessIdentity(int(pid), int(ticks), boot_id))
    if fd is not None:
        os.close(fd)
    return fd is None

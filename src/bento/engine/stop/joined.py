"""Containers that run in the PID namespace of another one: the kernel ends them with its PID 1 (rule S13a).

Each leaves a mark in the other's run directory when it is started, so that a stop without such guests asks for nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.engine.base.drivers import Drivers
    from bento.model.container import Run
    from bento.stop.process import Process

_DIRECTORY = "joined"


def mark(drivers: Drivers, holder_id: str, guest_id: str) -> None:
    """Note that a container is about to run in the PID namespace of another one. Raises OSError."""
    directory = drivers.run_dir(holder_id) / _DIRECTORY
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / guest_id).touch(mode=0o600)


def processes(drivers: Drivers, holder_id: str, look: Callable[[Run], tuple[Process, ...]]) -> tuple[Process, ...]:
    """Return what ``look`` shows of the containers that have joined this one, as processes that came from outside."""
    return tuple(
        replace(process, is_main=False, is_entered=True) for run in _runs(drivers, holder_id) for process in look(run)
    )


def _runs(drivers: Drivers, holder_id: str) -> list[Run]:
    try:
        names = os.listdir(drivers.run_dir(holder_id) / _DIRECTORY)
    except OSError:
        return []
    found = []
    for name in names:
        with suppress(NotFound):
            guest = drivers.store.get(name)
            if (
                guest.run is not None
                and guest.run.init is not None
                and guest.spec.namespaces.pid.endswith(f":{holder_id}")
            ):
                found.append(guest.run)
    return found

"""``wait``: block until a container has ended and what it held is released."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock
from bento.engine.lifecycle import reconcile
from bento.engine.stop.report import exit_code_from
from bento.errors import NotFound
from bento.model.container import Container, Exit, Status
from bento.model.event import UNKNOWN_CODE
from bento.units import NO_LIMIT

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.lifecycle.start import Started


_PAUSE_S = 0.01  # doubled each time
_PAUSE_MAX_S = 1.0


def wait_for(drivers: Drivers, found: Container) -> Container:
    """Return a container that was found once it is not live any more: see ``wait_for_exit``. Raises NotFound.

    One that is removed before it can be followed is returned with the exit code that the log of events has.
    """
    try:
        return wait_for_exit(drivers, reconcile.current(drivers, found).id)
    except NotFound:
        return as_logged(drivers, found)


def wait_for_exit(drivers: Drivers, container_id: str, started: Started | None = None) -> Container:
    """Return the container once it is not live any more. Blocks on the kernel, without polling.

    One that is removed at its end (``--rm``) is returned as it was, with the exit code that the kernel
    remembers. Raises NotFound when it was removed before it could be waited for. ``started`` was begun by the
    caller, which has followed it from then on; its pidfd is closed.
    """
    if started is not None and started.main_fd is not None:
        return _wait_for_started(drivers, started.container, started.main_fd)
    pause_s = _PAUSE_S
    while True:
        container = drivers.store.get(container_id)
        if not container.status.is_live:
            return container
        if container.status is Status.STARTING:
            drivers.locks.hold(container_id, NO_LIMIT).release()  # until the start has come to something
            reconcile.current(drivers, drivers.store.get(container_id))
            continue
        fd = drivers.processes.open(container.run.init) if container.run and container.run.init else None
        try:
            if fd is not None:
                drivers.processes.wait(fd, None)
            if container.status is Status.STOPPING or drivers.locks.is_stop_held(container_id):
                drivers.locks.wait_stop(container_id)  # the driver of its end records it before letting go
            now = reconcile.current(drivers, container)
            is_unseen = fd is None and now.status is Status.RUNNING and now.run == container.run
            if is_unseen or (now.status is Status.STOPPING and not drivers.locks.is_stop_held(container_id)):
                # A helper is on its way to go on with its stop, or has died on it: then there will be another one.
                # Or it may live, and its PID 1 is not known.
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)
            else:
                pause_s = _PAUSE_S
        except NotFound:
            if fd is None:
                raise
            return _as_it_ended(container, exit_code_from(drivers.processes, fd))
        finally:
            if fd is not None:
                os.close(fd)


def _wait_for_started(drivers: Drivers, container: Container, main_fd: int) -> Container:
    try:
        drivers.processes.wait(main_fd, None)
        return wait_for_exit(drivers, container.id)
    except NotFound:
        return _as_it_ended(container, exit_code_from(drivers.processes, main_fd))
    finally:
        os.close(main_fd)


def as_logged(drivers: Drivers, gone: Container) -> Container:
    """Return a container that was removed as the log of events says it ended. Raises NotFound where it does not."""
    code, sequence = None, 0
    while events := drivers.store.events(sequence):
        for event in events:
            if event.actor == gone.id and event.action == "die":
                code = int(event.attributes["exitCode"])
        sequence = events[-1].sequence
    if code is None:
        raise NotFound(f"container {gone.name} was removed before it had ended")
    return _as_it_ended(gone, None if code == UNKNOWN_CODE else code)


def _as_it_ended(container: Container, code: int | None) -> Container:
    return replace(container, status=Status.STOPPED, exit=Exit(code=code, finished_unix_ns=clock.wall_ns()))

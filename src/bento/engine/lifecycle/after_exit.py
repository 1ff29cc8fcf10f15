"""What follows an exit that has no other owner: ``--rm`` removes, a restart policy starts again (rule S4).

There is no daemon: the container's monitor runs this in a process of its own when it has seen the exit. That
process lives through the pause before a restart; should it die, the next command that meets the container
starts another one. However many there are, one start comes of it: it is decided on under the container's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock, log
from bento.engine.base import policy
from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.base.exit_owner import claim
from bento.engine.lifecycle.reconcile import OVERDUE_S
from bento.engine.lifecycle.remove import remove
from bento.engine.lifecycle.start import start
from bento.engine.lifecycle.wait import wait_for_exit
from bento.errors import BentoError, NotFound
from bento.model.container import Container, Exit, Status

if TYPE_CHECKING:
    from bento.drivers.processes.base import GoneWatch
    from bento.engine.base.drivers import Drivers


def after_exit(drivers: Drivers, container_id: str, run: int) -> None:
    """Do what the container asks for after the end of this run. Blocks until that is done.

    Run by the monitor, in whose mount namespace the root filesystem is still mounted: that goes first.
    """
    drivers.storage.unmount(container_id)
    drivers.processes.unhide_cgroup2()
    try:
        if not _is_of_run(drivers.store.get(container_id), run):
            return
        ended = wait_for_exit(drivers, container_id)
        if not _is_of_run(ended, run):
            return
        if ended.spec.auto_remove and ended.status is not Status.RESTARTING:
            remove(drivers, container_id)
        elif ended.status is Status.RESTARTING:
            _restart(drivers, container_id, run)
    except NotFound:
        return


def _is_of_run(container: Container, run: int) -> bool:
    return container.run is not None and container.run.number == run


def _restart(drivers: Drivers, container_id: str, run: int) -> None:
    """Wait out the pause and start, unless the container is stopped, started or removed meanwhile."""
    while (watch := _begin_pause(drivers, container_id, run)) is not None:
        try:
            left_s = policy.left_s(drivers.store.get(container_id), clock.boot_s())
            if watch.wait(max(0.0, left_s)):
                return
        finally:
            watch.close()
        try:
            start(drivers, container_id, only_if=Status.RESTARTING)
            return
        except NotFound:
            raise
        except BentoError as error:
            log.warning(f"cannot restart {container_id[:12]}: {error}")
            _note_failure(drivers, container_id, run, error)


def _begin_pause(drivers: Drivers, container_id: str, run: int) -> GoneWatch | None:
    """Take charge of the restart. Return what reports that it is called off, or None when it is not ours."""
    with drivers.locks.hold(container_id, LOCK_TIMEOUT_S):
        now = drivers.store.get(container_id)
        if now.status is not Status.RESTARTING or not _is_of_run(now, run):
            return None
        run_dir = drivers.run_dir(container_id)
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not claim(drivers, container_id) and policy.left_s(now, clock.boot_s()) > -OVERDUE_S:
            return None
        return drivers.watch_gone(run_dir)


def _note_failure(drivers: Drivers, container_id: str, run: int, error: BentoError) -> None:
    """A start that failed counts as a run that failed: the policy says whether there is another."""

    def change(container: Container) -> Container:
        if container.status is not Status.RESTARTING or not _is_of_run(container, run):
            return container
        is_released = container.exit is None or container.exit.is_released
        note = f"the restart failed: {error}"
        ended = Exit(code=None, finished_unix_ns=clock.wall_ns(), is_released=is_released, note=note)
        stopped = replace(container, status=Status.STOPPED, exit=ended)
        return policy.after_end(stopped, ended, up_s=0.0, now_boot_s=clock.boot_s())

    drivers.store.modify(container_id, change)

"""What freezes a container, and what thaws it: a pause is its user's, any other freeze Bento's own, for a time.

Before Bento freezes, it makes a lock that goes with the freeze (``ContainerLocks.try_freeze``). A process that is
killed in the middle leaves its file behind, and the next command that meets the container thaws it. Without that file
a container that is frozen was paused by its user, and stays so. ``pause`` itself has such a lock until all is frozen:
one that was killed half-way has paused nothing.

A stop is never refused for a freeze of Bento's own, nor waits for it: it thaws, and whatever needed the freeze fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.errors import Conflict, NotFound, WrongState
from bento.model.container import Container, Run, Status

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.locks import Lock

_THAW_WITHIN_S = 5.0  # what stands still with the operation lock must not keep a container frozen


@contextmanager
def frozen(drivers: Drivers, container: Container) -> Iterator[None]:
    """Freeze a container for the time of the block, if it runs; one that its user has paused stays so.

    Raises Conflict when another process has frozen it and goes on with that; WrongState at the end of the block when
    the container was thawed, or has ended, meanwhile.
    """
    with drivers.locks.hold(container.id, LOCK_TIMEOUT_S):
        container = drivers.store.get(container.id)
        run = container.run
        if container.status is not Status.RUNNING or run is None or is_paused(drivers, container):
            run = None
            lock = None
        else:
            lock = _freeze(drivers, container, run)
    if run is None or lock is None:
        yield
        return
    try:
        yield
        if not drivers.processes.is_frozen(run):
            raise WrongState(
                f"container {container.name} was thawed, or has ended, before all its files were read",
                hint="try again, or do it without freezing: --pause=false",
            )
    finally:
        _undo(drivers, container, run, lock)


def _freeze(drivers: Drivers, container: Container, run: Run) -> Lock:
    lock = drivers.locks.try_freeze(container.id, run.number)
    if lock is None:
        holder = drivers.locks.freezer(container.id) or "another bento process"
        raise Conflict(f"container {container.name} is frozen by {holder}", hint="try again when it is done")
    try:
        drivers.processes.freeze(run)
    except BaseException:
        drivers.processes.thaw(run)
        lock.release()
        raise
    return lock


def _undo(drivers: Drivers, container: Container, run: Run, lock: Lock) -> None:
    operation = None
    with suppress(Conflict):
        operation = drivers.locks.hold(container.id, _THAW_WITHIN_S)
    try:
        if lock.is_named:  # else its user has paused it, or thawed it, meanwhile
            drivers.processes.thaw(run)
        lock.release()
    finally:
        if operation is not None:
            operation.release()


def is_paused(drivers: Drivers, container: Container) -> bool:
    """Whether its user has paused a running container: it is frozen, and not by Bento for a time."""
    run = container.run
    if container.status not in (Status.RUNNING, Status.PAUSED) or run is None or not drivers.processes.is_frozen(run):
        return False
    return drivers.locks.freezer(container.id) is None and drivers.locks.left_freeze(container.id) != run.number


def pause(drivers: Drivers, container: Container, run: Run) -> None:
    """Freeze a container until its user thaws it; one that Bento has frozen for a time stays so from now on.

    The caller holds the operation lock. Raises DeadlineExceeded; then it is thawed.
    """
    drivers.locks.take_freeze_away(container.id)
    lock = _freeze(drivers, container, run)
    lock.release()


def unpause(drivers: Drivers, container: Container, run: Run) -> None:
    """Thaw a container, whatever has frozen it. The caller holds the operation lock."""
    drivers.processes.thaw(run)
    drivers.locks.take_freeze_away(container.id)


def lift(drivers: Drivers, container: Container) -> None:
    """Thaw what Bento has frozen for a time, be it still at it; a pause stays. The caller holds the operation lock."""
    run = container.run
    is_frozen = container.status is Status.RUNNING and run is not None and drivers.processes.is_frozen(run)
    if is_frozen and run is not None and not is_paused(drivers, container):
        unpause(drivers, container, run)


def thaw_left(drivers: Drivers, container: Container) -> bool:
    """Thaw what a process has frozen that has died since; False when there is nothing like that.

    Left to the next look while another process works on the container.
    """
    run = container.run
    if run is None or drivers.locks.left_freeze(container.id) != run.number:
        return False
    with suppress(Conflict, NotFound), drivers.locks.hold(container.id, 0.0):
        now = drivers.store.get(container.id)
        is_same = now.status is Status.RUNNING and now.run is not None and now.run.number == run.number
        if is_same and drivers.locks.left_freeze(container.id) == run.number:
            unpause(drivers, now, run)
            return True
    return False

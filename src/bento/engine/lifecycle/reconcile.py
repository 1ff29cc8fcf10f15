"""State is derived where it can be: what the kernel says wins over what some process last wrote.

A record that says running whose process is gone becomes stopped, and what it held is released then
and there. A stop without a driver is given one. A start that died is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock, log
from bento.engine.base import place, policy
from bento.engine.base.exit_owner import has_exit_owner, may_have_owner_elsewhere
from bento.engine.base.liveness import lives, may_live, recover_start
from bento.errors import BentoError, CleanupFailed, Conflict, Elsewhere, NotFound, WrongState
from bento.files.smallfile import read_small, write_small
from bento.lazy import LazyModule
from bento.model.container import Container, Run, Status
from bento.model.stop import AskedBy

if TYPE_CHECKING:
    from bento.engine.base import freezing
    from bento.engine.base.drivers import Drivers
    from bento.engine.health import presence
    from bento.engine.resources import logs, names, proxies
    from bento.engine.stop import erase, request, stop
else:  # most of the time all is as the record says
    erase, request = LazyModule("bento.engine.stop.erase"), LazyModule("bento.engine.stop.request")
    presence = LazyModule("bento.engine.health.presence")
    logs, names = LazyModule("bento.engine.resources.logs"), LazyModule("bento.engine.resources.names")
    proxies = LazyModule("bento.engine.resources.proxies")
    stop, freezing = LazyModule("bento.engine.stop.stop"), LazyModule("bento.engine.base.freezing")

_HELPER_STARTS_S = 1.0  # so long, at the most, a helper needs until it has the lock
OVERDUE_S = 5.0
"""A restart so late has no owner, whatever its run directory says: pids are used again."""


def find(drivers: Drivers, ref: str) -> Container:
    """Return one container by name, id or prefix, as it is now. Raises as ``current`` does."""
    return current(drivers, drivers.store.find(ref))


def current(drivers: Drivers, container: Container) -> Container:
    """Return one container as it is now.

    Raises Elsewhere when that can be known only from another place; NotFound when it was removed meanwhile. When it has
    ended and that cannot be recorded, raises why: it would be the same at the next look, so a caller that waits for its
    end must not look again at once.
    """
    place.refuse_elsewhere(drivers, container)
    error = _settle_ended(drivers, [container]).get(container.id)
    _resume_logs(drivers, [container])
    now = with_pause(drivers, drivers.store.get(container.id))
    _resume_for(drivers, [now])
    if error is not None:
        if now.status.is_live and now.run == container.run:
            raise error
        log.warning(str(error))
    return now


def refresh(
    drivers: Drivers, containers: Sequence[Container], *, on_elsewhere: Callable[[Elsewhere], None] | None = None
) -> list[Container]:
    """Return the containers as they are now; those removed meanwhile are left out.

    PAUSED is set where the kernel's freezer says so; it is never stored. What could not be settled is a warning; what
    can be looked after elsewhere alone is left as it was recorded, and given to ``on_elsewhere``, once.
    """
    far = {c.id: why for c in containers if (why := place.elsewhere(drivers, c)) is not None}
    if far:
        all_of_them = place.as_one(list(far.values()))
        log.warning(str(all_of_them)) if on_elsewhere is None else on_elsewhere(all_of_them)
    errors = _settle_ended(drivers, [c for c in containers if c.id not in far])
    _resume_logs(drivers, [c for c in containers if c.id not in far])
    fresh = []
    for container in containers:
        try:
            now = drivers.store.get(container.id) if container.id in errors else container
        except NotFound:
            continue
        if (error := errors.get(container.id)) is not None:
            log.warning(str(error))
        fresh.append(with_pause(drivers, now))
    _resume_for(drivers, [c for c in fresh if c.id not in far])
    return fresh


def _resume_for(drivers: Drivers, containers: Sequence[Container]) -> None:
    """Start the processes again that were killed and are there for those that run: health checks, names, ports."""
    checked = [c for c in containers if c.spec.health.check is not None]
    if checked:
        presence.meet(drivers, checked)
    named = [c for c in containers if c.run is not None and c.run.has_names]
    if named:
        names.resume(drivers, named)
    proxied = [c for c in containers if c.run is not None and c.run.proxied_ports]
    if proxied:
        proxies.resume(drivers, proxied)


def _settle_ended(drivers: Drivers, containers: Sequence[Container]) -> dict[str, BentoError | None]:
    """Settle those that have ended. Return whose record may have changed, with what went wrong."""
    stopper: stop.Stopper | None = None
    touched: dict[str, BentoError | None] = {}
    for container in containers:
        if container.status is Status.RESTARTING:
            resume_restart(drivers, container)
        if container.status is Status.STOPPED and container.spec.auto_remove:
            _delete_abandoned(drivers, container, touched)
        if not container.status.is_live:
            continue
        if container.status is Status.STOPPING:
            finish_orphaned_stop(drivers, container)
        elif container.status is Status.STARTING:
            touched[container.id] = undo_abandoned_start(drivers, container)
        elif not is_alive(drivers, container.run) and not _finds_again(drivers, container, touched):
            touched[container.id] = None
            stopper = stopper or stop.Stopper(drivers)
            stopper.settle(container)
    for outcome in stopper.run() if stopper else []:
        if outcome.error is not None and not isinstance(outcome.error, NotFound):  # removed meanwhile
            touched[outcome.id] = outcome.error
    return touched


def _delete_abandoned(drivers: Drivers, container: Container, touched: dict[str, BentoError | None]) -> None:
    """Delete what should have been deleted by a process that died. Skipped while others are at work on it."""
    if drivers.locks.is_held(container.id):
        return
    is_deleted = False
    with suppress(Conflict, NotFound), drivers.locks.hold(container.id, 0.0):
        if drivers.locks.is_stop_held(container.id):
            return
        try:
            is_deleted = erase.delete_abandoned_run(drivers, drivers.store.get(container.id))
        except CleanupFailed as error:
            touched[container.id] = error
            return
    if is_deleted:
        touched[container.id] = None
        drivers.locks.forget(container.id)  # what the dead one has left of them


def _resume_logs(drivers: Drivers, containers: Sequence[Container]) -> None:
    """Start the process that rotates logs again where it was killed."""
    for container in containers:
        if container.spec.log.file_count > 1 and container.status.is_live and container.status is not Status.STARTING:
            logs.resume(drivers, container.id)
            return


def is_alive(drivers: Drivers, run: Run | None) -> bool:
    """Whether PID 1 of this very run lives."""
    return run is not None and lives(drivers, run.init)


def _finds_again(drivers: Drivers, container: Container, touched: dict[str, BentoError | None]) -> bool:
    """Put a record right that does not know its own processes (S2). True: the container is not taken for ended."""
    run = recover_start(drivers, container).run
    if run is None:
        return False
    if run == container.run or not is_alive(drivers, run):
        return may_live(drivers, container.id, run)

    def know(now: Container) -> Container:
        is_same = now.status is container.status and now.run == container.run
        return replace(now, run=run) if is_same else now

    with suppress(Conflict, NotFound), drivers.locks.hold(container.id, 0.0):
        drivers.store.modify(container.id, know)
        touched[container.id] = None
        log.warning(f"the record of container {container.name} did not know its processes; they were found again")
    return True


def with_pause(drivers: Drivers, container: Container) -> Container:
    """Return a container with PAUSED as its status where the kernel's freezer says so.

    What a process has frozen that was killed in the middle is thawed.
    """
    is_frozen = container.status is Status.RUNNING and container.run and drivers.processes.is_frozen(container.run)
    if not is_frozen or freezing.thaw_left(drivers, container):
        return container
    return replace(container, status=Status.PAUSED)


def finish_orphaned_stop(drivers: Drivers, container: Container) -> None:
    """Give a stop whose driver died a new one, in a process of its own: it is not waited for here (rule S6)."""
    if drivers.locks.is_stop_held(container.id):
        return
    with suppress(NotFound):  # asked after the lock: its driver may just have come to the end
        if drivers.store.get(container.id).status is Status.STOPPING:
            _go_on_with_stop(drivers, container)


def _go_on_with_stop(drivers: Drivers, container: Container) -> None:
    mark = drivers.run_dir(container.id) / "finishing"
    now_s = clock.boot_s()
    with suppress(OSError, ValueError):
        if 0.0 <= now_s - float(read_small(mark)) < _HELPER_STARTS_S:  # a helper is on its way to the lock
            return
    with suppress(OSError):
        write_small(mark, f"{now_s}\n".encode())
    log.info(f"going on with the stop of {container.name}, whose process is gone")
    drivers.spawn_detached((*drivers.helper_argv, "finish-stop", container.id))


def resume_restart(drivers: Drivers, container: Container) -> None:
    """Give a restart whose helper died a new one."""
    is_overdue = policy.left_s(container, clock.boot_s()) < -OVERDUE_S
    if may_have_owner_elsewhere(drivers, container.id):
        return
    if is_overdue or not has_exit_owner(drivers, container.id):
        follow_exit(drivers, container)


def follow_exit(drivers: Drivers, container: Container) -> None:
    """Have a process of its own do what is to follow the end of the container's run. More than one do no harm."""
    if container.run is not None:
        drivers.spawn_detached((*drivers.helper_argv, "after-exit", container.id, str(container.run.number)))


def undo_abandoned_start(drivers: Drivers, container: Container) -> BentoError | None:
    """End what a start that died half-way has left; return what went wrong. Skipped while the start is at work."""
    try:
        drivers.locks.hold(container.id, 0.0).release()
    except Conflict:
        return None
    now = request.StopOptions(grace_s=0.0, asked_by=AskedBy.POLICY)
    stopper = stop.Stopper(drivers)
    # With the locks held: the start may have ended well since it was looked at, and what runs stays.
    stopper.add([container.id], now, only_if=Status.STARTING)
    errors = [outcome.error for outcome in stopper.run()]
    return next(
        (error for error in errors if error is not None and not isinstance(error, (NotFound, WrongState))), None
    )


def finish_stop(drivers: Drivers, container_id: str) -> None:
    """Drive an orphaned stop to its end with the time that was left. Blocks. Nothing to do is no error."""
    try:
        if drivers.store.get(container_id).status is not Status.STOPPING:
            return
    except BentoError:
        return
    stop.stop_containers(drivers, [container_id], request.StopOptions())

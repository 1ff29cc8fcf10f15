"""``start``: from a record to a running process, or back to how it was.

The monitor, the runtime and the root filesystem's mount live in a private mount namespace: the
host's mount table never shows it, and the kernel releases it when they end.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bento import clock
from bento.command import check_limits
from bento.drivers.monitor.base import Launch, Launched
from bento.engine import mounting, networking, place, reconcile, sharing
from bento.engine.attending import attend, exit_script, is_followed, leave
from bento.engine.holding import refuse_if_held
from bento.engine.logs import make_room
from bento.engine.order import required_first
from bento.engine.parts import LOCK_TIMEOUT_S
from bento.engine.rooted import root_of
from bento.errors import BentoError, Conflict, RuntimeFailed, WrongState
from bento.kernel.tree import remove_tree
from bento.model.container import Container, Run, StartFailure, Status

if TYPE_CHECKING:
    from pathlib import Path

    from bento.drivers.runtime.base import RuntimeDriver
    from bento.engine.parts import Parts

_END_TIMEOUT_S = 10.0


class Started(Struct, frozen=True):
    """A container that runs. ``output_fd``: its output as ``MonitorDriver.attach`` gives it, the caller's to close."""

    container: Container
    output_fd: int | None
    main_fd: int | None = None  # a pidfd of PID 1, when attached; the caller's to close


def start(parts: Parts, container_id: str, *, attach: bool = False, only_if: Status | None = None) -> Started:
    """Start a container that was created or has stopped. One that runs already is left alone.

    ``only_if``: leave it alone unless this is its state, once it can be looked at.

    Blocks until the program is about to run. Raises WrongState, Conflict (a process still holds the root filesystem of
    its last run, rule S21), CommandNotFound, CommandNotExecutable,
    RuntimeFailed, UsageError (user, mount source); then the container is as it was before.
    """
    check_limits()
    _wait_for_end_of_last(parts, container_id)
    with parts.locks.hold(container_id, LOCK_TIMEOUT_S):
        before = parts.store.get(container_id)
        if before.status is Status.RUNNING or (only_if is not None and before.status is not only_if):
            return Started(before, None)
        if before.status.is_live:
            raise WrongState(f"container {before.name} is {before.status.value}", hint="wait until it has stopped")
        place.refuse_elsewhere(parts, before)
        refuse_if_held(parts, before)
        runtime = parts.runtime(before.spec.runtime)
        number = before.run.number + 1 if before.run else 1
        run = Run(
            number=number,
            runtime=str(runtime.path),
            shows_processes=runtime.shows_processes,
            place=place.here(parts),
        )
        place.refuse_namesake(parts, before, run)
        container = parts.store.modify(container_id, lambda c: _starting(c, run, is_restart=only_if is not None))
        try:
            started = _launch(parts, container, run, runtime, attach=attach)
        except BaseException as error:
            _undo(parts, before, runtime, error)
            raise
    if not attach:
        leave(parts, container_id)
        if is_followed(container) and not reconcile.is_alive(parts, started.container.run):
            reconcile.follow_exit(parts, started.container)  # it ended while we attended, so its monitor ran no helper
    return started


def leave_started(parts: Parts, started: Started) -> None:
    """Look after the end of an attached container no more: from now on its monitor's helper does. Closes its pidfd.

    ``output_fd`` is the caller's still.
    """
    if started.main_fd is not None:
        os.close(started.main_fd)
    leave(parts, started.container.id)
    reconcile.refresh(parts, [started.container])  # it may have ended while we attended, and no helper was run


def _wait_for_end_of_last(parts: Parts, container_id: str) -> None:
    """Where PID 1 is gone and somebody is at recording that, the record says running for a moment more."""
    container = parts.store.get(container_id)
    fd = parts.processes.open(container.run.init) if container.run and container.run.init else None
    if fd is not None:
        os.close(fd)
    elif container.status is Status.RUNNING and not parts.locks.wait_stop(container_id, LOCK_TIMEOUT_S):
        who = parts.locks.stop_holder(container_id) or "another bento process"
        raise Conflict(f"container {container.name} has ended, which {who} is recording", hint="stop it first")


def start_required(parts: Parts, container: Container) -> None:
    """Start what a container requires, and what that requires, in order; what runs is left alone.

    Raises RuntimeFailed, which names who could not be started for whom; NotFound.
    """
    if not container.spec.requires:
        return
    for container_id in required_first(container.id, lambda one: parts.store.get(one).spec.requires)[:-1]:
        needed = reconcile.find(parts, container_id)
        if needed.status in (Status.RUNNING, Status.PAUSED):
            continue
        try:
            start(parts, container_id)
        except BentoError as error:
            raise RuntimeFailed(
                f"container {needed.name}, which {container.name} requires, cannot be started: {error.message}",
                hint=error.hint,
            ) from error


def _starting(container: Container, run: Run, *, is_restart: bool) -> Container:
    if not is_restart:
        container = replace(container, restarts=0, restart_streak=0)
    return replace(
        container,
        status=Status.STARTING,
        run=run,
        exit=None,
        start_failure=None,
        stop_asked=False,
        shut_down=False,
        intent=None,
        restart_boot_s=None,
    )


def _launch(parts: Parts, container: Container, run: Run, runtime: RuntimeDriver, *, attach: bool) -> Started:
    with networking.reserved(parts, container) as reservation:
        if reservation is not None:
            container, connection = networking.allot(parts, container, reservation.ports)
            run = replace(run, connection=connection)
        kept_fds = reservation.fds if reservation else ()
        launched, notes = _create_sandbox(parts, container, runtime, kept_fds)
    init = parts.processes.identify(launched.init_pid)
    monitor = parts.processes.identify(launched.monitor_pid)
    if init is None or monitor is None:
        raise RuntimeFailed(f"container {container.name} ended before it was started", hint="see its log")
    run = replace(
        run,
        init=init,
        monitor=monitor,
        cgroups=parts.processes.cgroups(init.pid, container.id),
        started_unix_ns=clock.wall_ns(),
        started_boot_s=clock.boot_s(),
    )
    parts.store.modify(container.id, lambda c: replace(c, run=run, notes=(*c.spec.notes, *notes)))
    if run.connection is not None:
        networking.connect(parts, container.id, run.connection, init.pid)
    run_dir, bundle = parts.run_dir(container.id), parts.storage.bundle(container.id)
    with root_of(parts, container.id, run) as root:
        if root is not None:
            runtime.check_program(bundle / "config.json", root=root)
    output_fd = parts.monitor.attach(run_dir, bundle) if attach else None
    try:
        runtime.start(container.id)
        started = parts.store.modify(container.id, lambda c: replace(c, status=Status.RUNNING))
    except BaseException:
        if output_fd is not None:
            os.close(output_fd)
        raise
    main_fd = parts.processes.open(init) if attach else None
    return Started(started, output_fd, main_fd)


def _create_sandbox(
    parts: Parts, container: Container, runtime: RuntimeDriver, kept_fds: tuple[int, ...]
) -> tuple[Launched, tuple[str, ...]]:
    """Mount the root filesystem and have the monitor create the container, all in one private mount namespace."""
    bundle = parts.storage.prepare(container.id)
    run_dir = parts.run_dir(container.id)
    remove_tree(run_dir)  # of an earlier run that the machine did not survive
    run_dir.mkdir(parents=True, mode=0o700)
    if runtime.knows(container.id):  # of a run whose delete was killed
        runtime.discard(container.id)
    attend(parts, container.id)  # while we are at it, so that the monitor of a failed start runs no helper
    needs_cgroup2 = container.spec.system and not runtime.sees_cgroup2
    lodging = parts.processes.lodge(container.id, needs_cgroup2=needs_cgroup2)

    enter = lodging.enter if lodging else None
    try:
        with sharing.namespaces(parts, container) as shared:
            result = parts.in_private_mounts(
                lambda: _create_inside(parts, container, runtime, bundle, shared, enter, kept_fds)
            )
        if lodging is not None:
            lodging.leave(result[0].monitor_pid)
    finally:
        if lodging is not None:
            lodging.close()
    return result


def _create_inside(
    parts: Parts,
    container: Container,
    runtime: RuntimeDriver,
    bundle: Path,
    shared: list[dict[str, str]],
    enter: Callable[[int], None] | None,
    kept_fds: tuple[int, ...],
) -> tuple[Launched, tuple[str, ...]]:
    """What happens in the private mount namespace."""
    runtime.enter()
    rootfs = parts.storage.mount(container.id, container.spec.layers)
    notes = runtime.write_bundle(
        mounting.attach(parts, container, rootfs),
        bundle=bundle,
        rootfs=rootfs,
        namespaces=[*parts.network.namespaces(container.spec.network), *shared],
        masked=(str(parts.root), str(parts.run_root)),
    )
    launch = Launch(
        container_id=container.id,
        name=container.name,
        runtime=runtime,
        bundle=bundle,
        run_dir=parts.run_dir(container.id),
        log_path=bundle / "log" if container.spec.log_driver != "none" else None,
        log_max_bytes=make_room(bundle / "log", container.spec.log_max_bytes),
        command=container.spec.argv[0],
        exit_command=exit_script(parts, container),
        enter=enter,
        kept_fds=kept_fds,
    )
    return parts.monitor.launch(launch), notes


def _undo(parts: Parts, before: Container, runtime: RuntimeDriver, reason: BaseException) -> None:
    """End what a failed start has left, and put the record back. Keeps the error that is on its way."""
    failure = StartFailure(code=reason.exit_code, message=str(reason)) if isinstance(reason, BentoError) else None
    init_pid, monitor_pid = parts.monitor.pids(parts.run_dir(before.id))
    for pid in (init_pid, monitor_pid):
        _end(parts, pid, before.id)
    with suppress(BentoError):  # the error that led here is the one to tell
        runtime.discard(before.id)
    with suppress(BentoError):
        networking.release(parts, parts.store.get(before.id))
    remove_tree(parts.run_dir(before.id))
    parts.store.modify(before.id, lambda c: _as_before(c, before, failure))


def _as_before(container: Container, before: Container, failure: StartFailure | None) -> Container:
    """Put the run back, not what others have changed meanwhile, such as the name."""
    return replace(
        container,
        status=before.status,
        run=before.run,
        exit=before.exit,
        stop_asked=before.stop_asked,
        intent=before.intent,
        notes=before.notes,
        start_failure=failure,
    )


def _end(parts: Parts, pid: int | None, mark: str) -> None:
    identity = parts.processes.identify(pid, mark=mark) if pid else None
    fd = parts.processes.open(identity) if identity else None
    if fd is not None:
        parts.processes.send_signal(fd, 9, wake=False)
        parts.processes.wait(fd, _END_TIMEOUT_S)
        os.close(fd)

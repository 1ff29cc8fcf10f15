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
from bento.drivers.monitor.base import Launch, Launched
from bento.engine.base import place
from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.base.exit_owner import claim, exit_script, is_followed, release
from bento.engine.base.fd_limits import check_limits
from bento.engine.base.happened import tell_of
from bento.engine.base.order import required_first
from bento.engine.lifecycle import reconcile, sharing
from bento.engine.lifecycle.attachment import Attachment
from bento.engine.resources import beside, logs, networking, notify_socket, root_filesystem, units
from bento.engine.resources.rooted import root_of
from bento.engine.stop.erase import refuse_if_held
from bento.errors import BentoError, Conflict, RuntimeFailed, Unhealthy, WrongState
from bento.files.tree import remove_tree
from bento.lazy import LazyModule
from bento.model.container import Container, ProcessIdentity, Run, StartFailure, Status
from bento.model.event import Deed
from bento.model.health import Health
from bento.model.terminal import AttachOptions, WindowSize
from bento.units import SIGKILL

if TYPE_CHECKING:
    from pathlib import Path

    from bento.drivers.runtime.base import RuntimeDriver
    from bento.engine.base.drivers import Drivers
    from bento.engine.health import checks, presence
    from bento.engine.lifecycle import healthy
    from bento.engine.resources import names, proxies
else:  # few containers have a check
    checks, presence = LazyModule("bento.engine.health.checks"), LazyModule("bento.engine.health.presence")
    healthy = LazyModule("bento.engine.lifecycle.healthy")
    names, proxies = LazyModule("bento.engine.resources.names"), LazyModule("bento.engine.resources.proxies")

_END_TIMEOUT_S = 10.0


class Started(Struct, frozen=True):
    """A container that runs, and what the caller follows it by.

    ``attachment``: its streams, the caller's to close; None: not attached. ``owns_exit``: the caller looks after what
    is to follow its end.
    """

    container: Container
    attachment: Attachment | None = None
    main_fd: int | None = None  # a pidfd of PID 1, when attached; the caller's to close
    owns_exit: bool = False


def start(
    drivers: Drivers,
    container_id: str,
    *,
    attach: AttachOptions | None = None,
    owns_exit: bool = True,
    only_if: Status | None = None,
    deeds: tuple[Deed, ...] = (),
) -> Started:
    """Start a container that was created or has stopped. One that runs already is left alone.

    ``owns_exit``: of one that is attached to, the caller is to look after what follows its end. ``only_if``: leave it
    alone unless this is its state, once it can be looked at. ``deeds``: what is logged besides.

    Blocks until the program is about to run. Raises WrongState, Conflict (a process still holds the root filesystem of
    its last run, rule S21), CommandNotFound, CommandNotExecutable,
    RuntimeFailed, UsageError (user, mount source); then the container is as it was before.
    """
    check_limits()
    _wait_for_end_of_last(drivers, container_id)
    with drivers.locks.hold(container_id, LOCK_TIMEOUT_S):
        before = drivers.store.get(container_id)
        if before.status is Status.RUNNING or (only_if is not None and before.status is not only_if):
            return Started(before)
        if before.status.is_live:
            raise WrongState(f"container {before.name} is {before.status.value}", hint="wait until it has stopped")
        place.refuse_elsewhere(drivers, before)
        refuse_if_held(drivers, before)
        runtime = drivers.runtime(before.spec.runtime)
        number = before.run.number + 1 if before.run else 1
        run = Run(
            number=number,
            runtime=str(runtime.path),
            shows_processes=runtime.shows_processes,
            place=place.here(drivers),
            shared=sharing.ready_pod(drivers, before).connections if before.spec.pod else (),
        )
        place.refuse_namesake(drivers, before, run)
        container = drivers.store.modify(
            container_id,
            lambda c: _starting(c, run, is_restart=only_if is not None),
            deeds=(Deed(action="attach"),) if attach else (),
        )
        try:
            started = _launch(drivers, container, run, runtime, attach=attach, deeds=deeds)
        except BaseException as error:
            _undo(drivers, before, runtime, error)
            raise
    if attach is None or not owns_exit:
        started = replace(started, owns_exit=False)
        release(drivers, container_id)
        if is_followed(container) and not reconcile.is_alive(drivers, started.container.run):
            reconcile.follow_exit(
                drivers, started.container
            )  # it ended while we owned its exit, so its monitor ran no helper
    return started


def leave_started(drivers: Drivers, started: Started) -> None:
    """Look after the end of an attached container no more: from now on its monitor's helper does. Closes its pidfd.

    What it is attached by is the caller's still.
    """
    if started.main_fd is not None:
        os.close(started.main_fd)
    tell_of(drivers, started.container, "detach")
    if not started.owns_exit:
        return
    release(drivers, started.container.id)
    reconcile.refresh(drivers, [started.container])  # it may have ended while we owned its exit, and no helper was run


def _wait_for_end_of_last(drivers: Drivers, container_id: str) -> None:
    """Where PID 1 is gone and a process is recording that, the record says running for a moment more."""
    container = drivers.store.get(container_id)
    fd = drivers.processes.open(container.run.init) if container.run and container.run.init else None
    if fd is not None:
        os.close(fd)
    elif container.status is Status.RUNNING and not drivers.locks.wait_stop(container_id, LOCK_TIMEOUT_S):
        holder = drivers.locks.stop_holder(container_id) or "another bento process"
        raise Conflict(f"container {container.name} has ended, which {holder} is recording", hint="stop it first")


def start_required(drivers: Drivers, container: Container) -> None:
    """Start what a container requires, and what that requires, in order; what runs is left alone.

    Blocks until those are healthy that are to be. Raises RuntimeFailed, which names the container that could not be
    started, or is not healthy, and for which; NotFound.
    """
    if not container.spec.requires:
        return
    in_order = required_first(container.id, lambda one: drivers.store.get(one).spec.requires)
    to_be_healthy = {needed for one in in_order for needed in drivers.store.get(one).spec.requires_healthy}
    for container_id in in_order[:-1]:
        needed = reconcile.find(drivers, container_id)
        try:
            if needed.status not in (Status.RUNNING, Status.PAUSED):
                start(drivers, container_id)
            if container_id in to_be_healthy:
                healthy.wait_until_healthy(drivers, container_id)
        except Unhealthy as error:
            raise RuntimeFailed(
                f"{error.message}, and container {container.name} requires that it is healthy", hint=error.hint
            ) from error
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
        health=None,
        restart_boot_s=None,
    )


def _launch(
    drivers: Drivers,
    container: Container,
    run: Run,
    runtime: RuntimeDriver,
    *,
    attach: AttachOptions | None,
    deeds: tuple[Deed, ...],
) -> Started:
    with networking.reserved(drivers, container) as reservation:
        if reservation is not None:
            container, connections = networking.allot(drivers, container, reservation.ports)
            run = replace(run, connections=connections)
        kept_fds = reservation.fds if reservation else ()
        size = attach.size if attach is not None else None
        launched, notes, scope = _create_sandbox(drivers, container, runtime, kept_fds, size)
    run, init = _identified(drivers, container, replace(run, scope=scope), launched)
    created = drivers.store.modify(container.id, lambda c: replace(c, run=run, notes=(*c.spec.notes, *notes)))
    _surround(drivers, created, run, init.pid)
    bundle = drivers.storage.bundle(container.id)
    with root_of(drivers, container.id, run) as root:
        if root is not None:
            runtime.check_program(bundle / "config.json", root=root)
        if container.spec.health.is_checked:
            checks.prepare(drivers, container, runtime, root)
    health = Health() if container.spec.health.is_checked else None
    attachment = None if attach is None else Attachment(drivers, container, attach)
    root_filesystem.open_streams(drivers, created, init)
    # Before it begins: by this its exit code is known also when it is over at once, and removed by another command.
    main_fd = None if attach is None else drivers.processes.open(init)
    try:
        runtime.start(container.id)
        started = drivers.store.modify(
            container.id, lambda c: replace(c, status=Status.RUNNING, health=health), deeds=deeds
        )
        networking.announce(drivers, started)
        if health is not None:
            presence.announce(drivers, container.id)
    except BaseException:
        if main_fd is not None:
            os.close(main_fd)
        if attachment is not None:
            attachment.close()
        raise
    return Started(started, attachment, main_fd, owns_exit=attach is not None)


def _surround(drivers: Drivers, created: Container, run: Run, init_pid: int) -> None:
    """Make what others do for a container that is about to run."""
    logs.keep(drivers, created)
    units.have_stop(drivers, created)
    if run.connections:
        networking.connect(drivers, created, init_pid)
    if run.has_names:
        names.publish(drivers, created)
    if run.proxied_ports:
        proxies.publish(drivers, created)


def _identified(drivers: Drivers, container: Container, run: Run, launched: Launched) -> tuple[Run, ProcessIdentity]:
    """Return the run with what the kernel knows of it, and its PID 1. Raises RuntimeFailed: it has ended already."""
    init = drivers.processes.identify(launched.init_pid)
    monitor = drivers.processes.identify(launched.monitor_pid)
    if init is None or monitor is None:
        raise RuntimeFailed(f"container {container.name} ended before it was started", hint="see its log")
    known = replace(
        run,
        init=init,
        monitor=monitor,
        cgroups=drivers.processes.cgroups(init.pid, container.id),
        started_unix_ns=clock.wall_ns(),
        started_boot_s=clock.boot_s(),
    )
    return known, init


def _create_sandbox(
    drivers: Drivers,
    container: Container,
    runtime: RuntimeDriver,
    kept_fds: tuple[int, ...],
    size: WindowSize | None,
) -> tuple[Launched, tuple[str, ...], str]:
    """Mount the root filesystem and have the monitor create the container, all in one private mount namespace.

    The last that is returned is the scope that systemd has made for it, or "".
    """
    bundle = drivers.storage.prepare(container.id)
    run_dir = drivers.run_dir(container.id)
    remove_tree(run_dir)  # of an earlier run that the machine did not survive
    run_dir.mkdir(parents=True, mode=0o700)
    if runtime.knows(container.id):  # of a run whose delete was killed
        runtime.discard(container.id, container.spec.cgroup_parent)
    claim(drivers, container.id)  # while we are at it, so that the monitor of a failed start runs no helper
    needs_cgroup2 = container.spec.system and not runtime.sees_cgroup2
    with (
        units.enclosed(drivers, container) as unit,
        sharing.shared(drivers, container) as shared,
        beside.reaching_host(drivers, container) as peers,
    ):
        # One that systemd gives a scope of its own is moved nowhere else.
        monitor_cgroup = (
            None
            if unit.is_unit
            else drivers.processes.monitor_cgroup(
                container.id, needs_cgroup2=needs_cgroup2, parent=container.spec.cgroup_parent
            )
        )
        enter = monitor_cgroup.enter if monitor_cgroup else None
        try:
            launched, notes = drivers.in_private_mounts(
                lambda: _create_inside(drivers, unit, runtime, bundle, shared, peers, enter, kept_fds, size)
            )
            if monitor_cgroup is not None:
                monitor_cgroup.leave(launched.monitor_pid)
        finally:
            if monitor_cgroup is not None:
                monitor_cgroup.close()
        return launched, notes, unit.container.run.scope if unit.container.run else ""


def _create_inside(
    drivers: Drivers,
    unit: units.Enclosed,
    runtime: RuntimeDriver,
    bundle: Path,
    shared: sharing.Shared,
    peers: dict[str, int],
    enter: Callable[[int], None] | None,
    kept_fds: tuple[int, ...],
    size: WindowSize | None,
) -> tuple[Launched, tuple[str, ...]]:
    """What happens in the private mount namespace."""
    container = notify_socket.with_socket(drivers, unit.container)
    runtime.enter()
    with root_filesystem.ready(drivers, container, shm_fd=shared.shm_fd, peers=peers) as ready:
        notes = runtime.write_bundle(
            ready.container,
            bundle=bundle,
            rootfs=ready.rootfs,
            namespaces=[*drivers.network.namespaces(container.spec.network), *shared.namespaces],
            masked=(str(drivers.root), str(drivers.run_root)),
            size=size if container.spec.streams.tty else None,
            hooks=ready.hooks,
            place=ready.place,
        )
    launch = Launch(
        container_id=container.id,
        name=container.name,
        runtime=runtime,
        bundle=bundle,
        run_dir=drivers.run_dir(container.id),
        **logs.of_launch(container.spec, bundle / "log"),
        has_terminal=container.spec.streams.tty,
        has_input=container.spec.streams.stdin_open,
        has_own_ids=container.spec.namespaces.ids is not None,
        keeps_input=container.spec.streams.stdin_open and not container.spec.streams.stdin_once,
        command=container.spec.argv[0],
        exit_command=exit_script(drivers, container),
        cgroup_parent=container.spec.cgroup_parent,
        enter=enter,
        words_before=unit.monitor_words,
        notify_socket=notify_socket.relayed_to(drivers, container),
        kept_fds=kept_fds,
    )
    return drivers.monitor.launch(launch), notes


def _undo(drivers: Drivers, before: Container, runtime: RuntimeDriver, reason: BaseException) -> None:
    """End what a failed start has left, and put the record back. Keeps the error that is on its way."""
    failure = StartFailure(code=reason.exit_code, message=str(reason)) if isinstance(reason, BentoError) else None
    init_pid, monitor_pid = drivers.monitor.pids(drivers.run_dir(before.id))
    for pid in (init_pid, monitor_pid):
        _end(drivers, pid, before.id)
    with suppress(BentoError):  # the error that led here is the one to report
        runtime.discard(before.id, before.spec.cgroup_parent)
    units.discard(drivers, before)
    with suppress(BentoError):
        networking.release(drivers, drivers.store.get(before.id))
    remove_tree(drivers.run_dir(before.id))
    drivers.store.modify(before.id, lambda c: _as_before(c, before, failure))


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
        health=before.health,
        start_failure=failure,
    )


def _end(drivers: Drivers, pid: int | None, mark: str) -> None:
    identity = drivers.processes.identify(pid, mark=mark) if pid else None
    fd = drivers.processes.open(identity) if identity else None
    if fd is not None:
        drivers.processes.send_signal(fd, SIGKILL, wake=False)
        drivers.processes.wait(fd, _END_TIMEOUT_S)
        os.close(fd)

"""``kill``, ``pause`` and ``unpause``: one touch each, to a process or cgroup whose identity was checked."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import log
from bento.engine.base import freezing, holdup
from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.base.happened import tell_of
from bento.engine.lifecycle import reconcile
from bento.engine.lifecycle.wait import wait_for_exit
from bento.engine.stop.preconditions import record_joined_intent
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.errors import Conflict, NotFound, RuntimeFailed, StuckProcess, WrongState
from bento.model.container import Container, Run, Status
from bento.model.stop import OnPaused
from bento.stop.process import Disposition
from bento.units import SIGKILL, SIGTERM

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_KILL_LIMIT_S = 30.0


def kill(drivers: Drivers, ref: str, number: int, *, for_good: bool = False) -> Container:
    """Send a signal to PID 1 of a container. SIGKILL also waits for the end, and hurries a stop under way (rule S5).

    It is no stop: a restart policy still applies (rule S4), unless ``for_good``, which SIGKILL and the container's
    stop signal are in Docker: nothing is restarted then, also where a restart is due.
    Raises NotFound, WrongState when nothing runs.
    """
    container = reconcile.find(drivers, ref)
    for_good = for_good and number in (SIGKILL, container.spec.stop.signal or SIGTERM)
    is_due = for_good and container.status is Status.RESTARTING
    if is_due or (container.status is Status.STOPPING and number == SIGKILL):
        return _hurry(drivers, container)
    run = container.run
    fd = drivers.processes.open(run.init) if run and run.init and container.status.is_live else None
    if run is None or fd is None:
        is_gone = container.status.is_live  # and another process is about to record that
        state = "has just ended" if is_gone else f"is {container.status.value}"
        raise WrongState(f"cannot kill container {container.name}: it {state}", hint="only what runs gets signals")
    try:
        if for_good:
            record_joined_intent(drivers, container.id)
        _send(drivers, container, run, fd, number)
        tell_of(drivers, container, "kill", signal=str(number))
        if number != SIGKILL:
            return container
        if not drivers.processes.wait(fd, _KILL_LIMIT_S):
            stuck = "; ".join(drivers.processes_for(container).name_stuck(run))
            raise StuckProcess(f"container {container.name} does not end: {stuck}", hint="wait for what it waits for")
        with suppress(Conflict, StuckProcess):  # its end is recorded under this lock
            holdup.hold(drivers, container.id, container.name, log.warning).release()
    finally:
        os.close(fd)
    with suppress(NotFound):  # it was made with --rm: its end was its removal
        return wait_for_exit(drivers, container.id)
    return container


def pass_on(drivers: Drivers, container: Container, number: int) -> None:
    """Send a signal to PID 1 of a run that was started; no error when it has ended. Does not look at the record."""
    run = container.run
    fd = drivers.processes.open(run.init) if run and run.init else None
    if run is not None and fd is not None:
        with suppress(RuntimeFailed):  # it has ended just now
            _send(drivers, container, run, fd, number)
            tell_of(drivers, container, "kill", signal=str(number))
        os.close(fd)


def drops(drivers: Drivers, container: Container, number: int) -> bool:
    """Whether PID 1 of a container would not even get to know of a signal. False also where that cannot be known."""
    run = container.run
    if run is None or not run.shows_processes:
        return False
    main = next((process for process in drivers.processes.look(run, number) if process.is_main), None)
    return main is not None and main.disposition in (Disposition.DROPPED, Disposition.IGNORED)


def _send(drivers: Drivers, container: Container, run: Run, fd: int, number: int) -> None:
    """Send a signal to PID 1; SIGKILL reaches a frozen one, too. Raises RuntimeFailed where a runtime has to do it."""
    if not run.shows_processes:
        if number == SIGKILL:
            drivers.processes.thaw(run)  # a frozen sandbox answers no runtime
        drivers.runtime(run.runtime).signal(container.id, number)
        return
    drivers.processes.send_signal(fd, number, wake=False)
    if number == SIGKILL:
        drivers.processes.thaw(run)  # on cgroup v1 not even SIGKILL ends a frozen process


def _hurry(drivers: Drivers, container: Container) -> Container:
    now = StopOptions(grace_s=0.0, on_paused=OnPaused.KILL)
    for outcome in stop_containers(drivers, [container.id], now):
        if outcome.error is not None:
            raise outcome.error
    with suppress(NotFound):
        return drivers.store.get(container.id)
    return container


def pause(drivers: Drivers, ref: str) -> Container:
    """Freeze a running container. Raises WrongState when it is not running, or paused already; DeadlineExceeded.

    One that Bento has frozen for a time, such as for a commit, stays frozen afterwards.
    """
    container = reconcile.find(drivers, ref)
    with drivers.locks.hold(container.id, LOCK_TIMEOUT_S):
        now = drivers.store.get(container.id)
        if freezing.is_paused(drivers, now):
            now = replace(now, status=Status.PAUSED)
        freezing.pause(drivers, now, _run_if(now, "pause", Status.RUNNING))
        tell_of(drivers, now, "pause")
    return container


def unpause(drivers: Drivers, ref: str) -> Container:
    """Thaw a paused container. Raises WrongState when it is not paused."""
    container = reconcile.find(drivers, ref)
    with drivers.locks.hold(container.id, LOCK_TIMEOUT_S):
        now = reconcile.with_pause(drivers, drivers.store.get(container.id))
        freezing.unpause(drivers, now, _run_if(now, "unpause", Status.PAUSED))
        tell_of(drivers, now, "unpause")
    return container


def _run_if(now: Container, verb: str, wanted: Status) -> Run:
    """Return the run of a container that is in this state now, under its lock. Raises WrongState."""
    if now.status is not wanted or now.run is None:
        raise WrongState(
            f"cannot {verb} container {now.name}: it is {now.status.value}", hint=f"it would have to be {wanted.value}"
        )
    return now.run

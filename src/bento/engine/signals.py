"""``kill``, ``pause`` and ``unpause``: one touch each, to a process or cgroup whose identity was checked."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import log
from bento.engine import freezing, holdup, reconcile
from bento.engine.parts import LOCK_TIMEOUT_S
from bento.engine.request import StopOptions
from bento.engine.stop import stop_containers
from bento.engine.wait import wait_for_exit
from bento.errors import Conflict, NotFound, RuntimeFailed, StuckProcess, WrongState
from bento.model.container import Container, Run, Status
from bento.model.stop import OnPaused

if TYPE_CHECKING:
    from bento.engine.parts import Parts

_SIGKILL = 9
_KILL_LIMIT_S = 30.0


def kill(parts: Parts, ref: str, number: int) -> Container:
    """Send a signal to PID 1 of a container. SIGKILL also waits for the end, and hurries a stop under way (rule S5).

    It is no stop: a restart policy is not told to stay away (rule S4).
    Raises NotFound, WrongState when nothing runs.
    """
    container = reconcile.find(parts, ref)
    if container.status is Status.STOPPING and number == _SIGKILL:
        return _hurry(parts, container)
    run = container.run
    fd = parts.processes.open(run.init) if run and run.init and container.status.is_live else None
    if run is None or fd is None:
        is_gone = container.status.is_live  # and somebody else is about to record that
        state = "has just ended" if is_gone else f"is {container.status.value}"
        raise WrongState(f"cannot kill container {container.name}: it {state}", hint="only what runs gets signals")
    try:
        _send(parts, container, run, fd, number)
        if number != _SIGKILL:
            return container
        if not parts.processes.wait(fd, _KILL_LIMIT_S):
            who = "; ".join(parts.processes_for(container).name_stuck(run))
            raise StuckProcess(f"container {container.name} does not end: {who}", hint="wait for what it waits for")
        with suppress(Conflict, StuckProcess):  # its end is recorded under this lock
            holdup.hold(parts, container.id, container.name, log.warning).release()
    finally:
        os.close(fd)
    with suppress(NotFound):  # it was made with --rm: its end was its removal
        return wait_for_exit(parts, container.id)
    return container


def pass_on(parts: Parts, container: Container, number: int) -> None:
    """Send a signal to PID 1 of a run that was started; no error when it has ended. Does not look at the record."""
    run = container.run
    fd = parts.processes.open(run.init) if run and run.init else None
    if run is not None and fd is not None:
        with suppress(RuntimeFailed):  # it has ended just now
            _send(parts, container, run, fd, number)
        os.close(fd)


def _send(parts: Parts, container: Container, run: Run, fd: int, number: int) -> None:
    """Send a signal to PID 1; SIGKILL reaches a frozen one, too. Raises RuntimeFailed where a runtime has to do it."""
    if not run.shows_processes:
        if number == _SIGKILL:
            parts.processes.thaw(run)  # a frozen sandbox hears no runtime
        parts.runtime(run.runtime).signal(container.id, number)
        return
    parts.processes.send_signal(fd, number, wake=False)
    if number == _SIGKILL:
        parts.processes.thaw(run)  # on cgroup v1 a frozen process does not even die


def _hurry(parts: Parts, container: Container) -> Container:
    now = StopOptions(grace_s=0.0, on_paused=OnPaused.KILL)
    for outcome in stop_containers(parts, [container.id], now):
        if outcome.error is not None:
            raise outcome.error
    with suppress(NotFound):
        return parts.store.get(container.id)
    return container


def pause(parts: Parts, ref: str) -> Container:
    """Freeze a running container. Raises WrongState when it is not running, or paused already; DeadlineExceeded.

    One that Bento has frozen for a time, such as for a commit, stays frozen afterwards.
    """
    container = reconcile.find(parts, ref)
    with parts.locks.hold(container.id, LOCK_TIMEOUT_S):
        now = parts.store.get(container.id)
        if freezing.is_paused(parts, now):
            now = replace(now, status=Status.PAUSED)
        freezing.pause(parts, now, _run_if(now, "pause", Status.RUNNING))
    return container


def unpause(parts: Parts, ref: str) -> Container:
    """Thaw a paused container. Raises WrongState when it is not paused."""
    container = reconcile.find(parts, ref)
    with parts.locks.hold(container.id, LOCK_TIMEOUT_S):
        now = reconcile.with_pause(parts, parts.store.get(container.id))
        freezing.unpause(parts, now, _run_if(now, "unpause", Status.PAUSED))
    return container


def _run_if(now: Container, verb: str, wanted: Status) -> Run:
    """Return the run of a container that is in this state now, under its lock. Raises WrongState."""
    if now.status is not wanted or now.run is None:
        raise WrongState(
            f"cannot {verb} container {now.name}: it is {now.status.value}", hint=f"it would have to be {wanted.value}"
        )
    return now.run

"""One look at a container for a check: processes with evidence, masks, zombies, and what Bento's own stop would do."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from bento import clock
from bento.check.observed import Observation
from bento.check.seeing import seen
from bento.engine.stop.request import known_programs
from bento.engine.stop.snapshot import also_receives, steady_look
from bento.model.check import CheckRun, WithBento
from bento.model.container import Run
from bento.model.stop import OnPaused, Scope, StopRequest
from bento.model.waits import ProcessState
from bento.stop.forecast.forecast import Forecast, forecast
from bento.stop.process import Process

if TYPE_CHECKING:
    from bento.drivers.processes.base import ProcessDriver

ZOMBIE_S: Final = 1.0
"""So long a process that has ended stays a zombie before it counts for one: its parent may be about to reap it."""


class Target(Struct, frozen=True):
    """What is looked at: a run of a container, or a PID namespace by its PID 1. ``look`` takes a signal's number."""

    processes: ProcessDriver
    run: Run
    pid: int
    look: Callable[[int], tuple[Process, ...]]


def target_of(processes: ProcessDriver, run: Run) -> Target:
    """Return what is looked at of a run."""
    pid = run.init.pid if run.init else 0
    return Target(processes, run, pid, lambda number: processes.look(run, number))


def observe(
    target: Target, run: CheckRun, request: StopRequest, *, name: str, is_settled: bool = False
) -> tuple[Observation, WithBento]:
    """Look, and foresee what Bento's own stop would do. Waits for a second where there are zombies.

    ``is_settled``: it is ready, and what it will be once it is older than the start window (rule S14) is foreseen.
    """
    look = target.processes.examine(target.run, steady_look(target.look, request.signal))
    states = target.processes.states(target.pid)
    others = also_receives(target.look, request.signal)
    main = next((process for process in look if process.is_main), None)
    age_s = max(0.0, clock.boot_s() - main.start_ticks / os.sysconf("SC_CLK_TCK")) if main else 0.0
    age_s = max(age_s, 2 * request.start_window_s) if is_settled else age_s
    auto = replace(request, scope=Scope.AUTO, on_paused=OnPaused.THAW)
    programs = known_programs(target.processes, look)
    ahead = forecast(name, auto, look, age_s=age_s, also_receives=others, programs=programs)
    observation = Observation(
        run=replace(run, processes=seen(look, states, ahead)),
        request=request,
        look=look,
        states=states,
        zombies=_zombies(target, states),
        also_receives=others,
        programs=programs,
    )
    return observation, _with_bento(ahead)


def _with_bento(ahead: Forecast) -> WithBento:
    return WithBento(verdict=ahead.verdict, cause=ahead.cause, duration_s=ahead.duration_s, otherwise=ahead.otherwise)


def _zombies(target: Target, states: tuple[ProcessState, ...]) -> tuple[ProcessState, ...]:
    """Return the processes that have ended and are still zombies a second later."""
    first = {(state.pid, state.start_ticks): state for state in states if state.state == "Z"}
    main = target.run.init
    fd = target.processes.open(main) if first and main is not None else None
    if fd is None:
        return ()
    try:
        target.processes.wait(fd, ZOMBIE_S)  # nothing tells that a process is not reaped
    finally:
        os.close(fd)
    later = {(state.pid, state.start_ticks) for state in target.processes.states(target.pid) if state.state == "Z"}
    return tuple(state for key, state in first.items() if key in later)

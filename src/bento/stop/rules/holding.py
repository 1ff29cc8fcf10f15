"""What a stop has the tracer do: hold processes, and let all of them go again (rules S13, S13a). Pure.

The tracer is a process of its own. When it ends, or the driver does, everything that was held goes on: what is held is
never a fact that outlives them, and a driver that resumes a stop begins with nothing held.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from bento.model.stop import Held
from bento.stop.actions import Action, HoldBack, LetGo, Persist
from bento.stop.process import Disposition, Key, Process
from bento.stop.rules.signalling import left_s, note
from bento.stop.rules.tree import program
from bento.stop.states import Hold, StopState, Timer, Trace

TRACER_LIMIT_S: Final = 2.0
"""Bento waits for the tracer this long at most, or a quarter of the remaining grace if that is less."""

ENDED_AT_EXIT: Final = "PID 1 had been held at its exit and ended"
"""For the notes: nothing had let it go."""


def limit_s(state: StopState, now_s: float) -> float:
    """Return how long the tracer may take to answer: while it does, PID 1 has not been signalled."""
    return min(TRACER_LIMIT_S, left_s(state, now_s) / 4)


def ask_to_hold(
    state: StopState, processes: Iterable[Process], why: str, now_s: float, *, thaw: bool = False, hang_up: bool = False
) -> tuple[StopState, tuple[Action, ...]]:
    """Have these held. They are written down as held before: after a crash the report says what went on."""
    wanted = [process for process in processes if process.key not in state.hold.held | state.hold.refused]
    keys = tuple(process.key for process in wanted)
    lines = tuple(
        Held(pid=process.pid, comm=program(process), why=why, at_s=now_s - state.began_s) for process in wanted
    )
    state = replace(
        state,
        hold=replace(state.hold, asked=keys),
        held=(*state.held, *lines),
        timers=state.timers | {Timer.TRACER_LIMIT: now_s + limit_s(state, now_s)},
    )
    return state, (Persist(), HoldBack(keys, thaw, hang_up))


def held_back(state: StopState, keys: Iterable[Key], refused: Iterable[Key], error: str) -> StopState:
    """Take the tracer's answer. One that comes after its time changes nothing: it was asked to let everything go."""
    if Timer.TRACER_LIMIT not in state.timers:
        return state
    hold, got, not_got = state.hold, frozenset(keys), frozenset(refused)
    lost = {pid for pid, _ in not_got}
    state = replace(
        state,
        hold=replace(
            hold,
            asked=(),
            held=hold.held | got,
            refused=hold.refused | not_got,
            is_settled=hold.is_settled or hold.at_exit_s is not None,
        ),
        held=tuple(one for one in state.held if one.pid not in lost),
        timers={name: at for name, at in state.timers.items() if name is not Timer.TRACER_LIMIT},
    )
    return note(state, f"could not be held: {error}") if error else state


def is_dying(process: Process) -> bool:
    """Whether a process ends by the stop signal before it runs any more of its program: another process has sent it."""
    return process.is_pending and process.disposition is Disposition.DEFAULT


def let_dying_go(state: StopState, processes: Iterable[Process]) -> tuple[StopState, tuple[Action, ...]]:
    """Let those that are held and dying go: what has signalled them waits for their end."""
    dying = tuple(one.key for one in processes if one.key in state.hold.held and is_dying(one))
    if not dying:
        return state, ()
    hold = replace(state.hold, held=state.hold.held - frozenset(dying))
    return replace(state, hold=hold), (LetGo(dying),)


def let_go(state: StopState) -> tuple[StopState, tuple[Action, ...]]:
    """Let everything go; nothing to do where nothing was held or watched."""
    hold = state.hold
    is_nothing = hold.at_exit_s is None and not hold.held and not hold.asked
    if hold.trace in (Trace.NONE, Trace.OFF) and is_nothing:
        return state, ()
    timers = {t: at for t, at in state.timers.items() if t not in (Timer.TRACER_LIMIT, Timer.EXIT_HOLD)}
    return replace(state, hold=Hold(trace=Trace.OFF), timers=timers), (LetGo(),)


def release_init(state: StopState) -> tuple[StopState, tuple[Action, ...]]:
    """Let PID 1 end that is held at its exit; nothing to do where it is not. The others stay held until they are gone.

    SIGKILL does not wake a process at its exit, and a runtime that sends it waits in vain. While the container is still
    frozen for the exit, everything is let go, and it is thawed: what is frozen does not die with PID 1 (cgroup v1).
    """
    main = state.watch.main
    if state.hold.at_exit_s is None:
        return state, ()
    if not state.hold.is_settled or main is None:
        return let_go(state)
    timers = {name: at for name, at in state.timers.items() if name is not Timer.EXIT_HOLD}
    hold = replace(state.hold, at_exit_s=None, trace=Trace.OFF, is_settled=True)
    return replace(state, hold=hold, timers=timers), (LetGo((main.key,)),)


def lost(state: StopState, reason: str, *, is_resumed: bool = False) -> StopState:
    """Nothing is held any more, and no rule has decided that: say what may have gone on."""
    hold = state.hold
    held = {one.pid: one.comm for one in state.held}
    went_on = [f"{held.get(pid, 'a process')} ({pid})" for pid, _ in sorted(hold.held | frozenset(hold.asked))]
    if went_on:
        state = note(state, f"{reason}: {', '.join(went_on)} had been held and went on")
    elif hold.at_exit_s is not None:
        state = note(state, f"{reason}: {ENDED_AT_EXIT}")
    has_lost = state.has_lost_hold or bool(went_on) or hold.at_exit_s is not None
    # One that did not even begin is not asked again: PID 1 would wait for its signal, again and again.
    trace = Trace.OFF if hold.trace is Trace.ASKED and not is_resumed else Trace.NONE
    timers = {t: at for t, at in state.timers.items() if t not in (Timer.TRACER_LIMIT, Timer.EXIT_HOLD)}
    return replace(state, hold=Hold(trace=trace), timers=timers, has_lost_hold=has_lost)

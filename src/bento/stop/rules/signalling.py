"""How a stop sends its signal: written down first, to each process once (rules S4, S13). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from bento.model.stop import Occasion, Scope, Signalled
from bento.stop.actions import Action, AskEngine, Look, Persist, SendSignal
from bento.stop.process import Process
from bento.stop.rules.tree import program
from bento.stop.states import Ask, KillCause, StopState, Timer
from bento.units import SIGHUP, SIGTERM, signal_name

SESSION_SIGNAL: Final = SIGTERM
"""Exec sessions get SIGTERM: the stop signal is agreed between the image and its own program (rule S16)."""

WHY: Final = {
    Occasion.INIT: "PID 1",
    Occasion.PROGRAM: "PID 1 does not receive the signal, and leaves it to this program to end",
    Occasion.FOREGROUND: "a shell has noted the signal, and runs its trap when this program has ended",
    Occasion.EXIT_HOLD: "PID 1 was leaving, and this program would have been killed with it",
    Occasion.LAST_CALL: "last call: no other process can have passed the signal on to it",
    Occasion.DEFAULT_ACTION: "nothing in the container could wake before the deadline",
    Occasion.LEFT_BEHIND: "PID 1 has gone and left it behind",
    Occasion.LAST_SIGNAL: "it has not ended by its own stop signal, and the grace is nearly over",
    Occasion.PROMPT: "PID 1 has its signal, and nothing else is left",
}
_HANGUP: Final = "a shell at its prompt ends by SIGHUP, as when its terminal closes"

Outcome = tuple[StopState, tuple[Action, ...], KillCause | None]
"""The state, what to do, and why PID 1 is to be ended now; None: it is not."""


def signal(state: StopState, targets: Iterable[Process], occasion: Occasion, now_s: float) -> Outcome:
    """Signal these processes. Persist before sending: after a crash in between, none is signalled twice."""
    found = [process for process in targets if process.key not in state.signalled_keys]
    if not found:
        return state, (), None
    sends: list[Action] = []
    for process in found:
        if process.is_main and state.request.by_engine and state.ask is Ask.NO:
            sends.append(AskEngine())
            state = replace(state, ask=Ask.ASKED, asked_s=now_s)
        else:
            number = _number(state, process)
            sends.append(SendSignal(process.pid, process.start_ticks, number, process.is_halted))
        state = told(state, process, occasion, now_s)
    return state, (Persist(), *sends), None


def told(state: StopState, process: Process, occasion: Occasion, now_s: float) -> StopState:
    """Write down that a process has the signal."""
    line = Signalled(
        pid=process.pid,
        start_ticks=process.start_ticks,
        comm=program(process),
        at_s=now_s - state.began_s,
        why=f"{WHY[occasion]}: {_HANGUP}" if process.is_at_prompt else WHY[occasion],
        receives=process.disposition.value,
        occasion=occasion,
        session=process.key in state.watch.sessions,
        signal=signal_name(_number(state, process)),
    )
    return replace(state, signalled=(*state.signalled, line))


def _number(state: StopState, process: Process) -> int:
    if process.is_at_prompt:
        return SIGHUP
    return SESSION_SIGNAL if process.key in state.watch.sessions else state.request.signal


def look_again(state: StopState, pause_s: float, now_s: float) -> StopState:
    """Have the next look come after this pause."""
    return replace(state, timers=state.timers | {Timer.LOOK: now_s + pause_s})


def look(state: StopState) -> Look:
    """Return the next look: with evidence of what can wake wherever a rule may ask for it."""
    main = state.watch.main
    if state.request.scope is Scope.MAIN:
        return Look()
    is_plain = main is None or (main.disposition.receives and main.key in state.signalled_keys)
    needs = (
        not is_plain
        or state.watch.has_shells
        or state.hold.at_exit_s is not None
        or bool(state.hold.noted)
        or is_last_call(state)
    )
    return Look(examine=needs)


def is_examined(processes: tuple[Process, ...]) -> bool:
    """Whether a look shows what threads wait for. Of one that has ended meanwhile it cannot: it may do anything."""
    return not processes or any(process.evidence is not None for process in processes)


def is_last_call(state: StopState) -> bool:
    """Whether the last call is due and has not been made: its mark is there and that of its end is not."""
    called = any(mark.name == "last call" for mark in state.marks)
    return called and not any(mark.name == "last call made" for mark in state.marks)


def left_s(state: StopState, now_s: float) -> float:
    """Return how much of the grace is left; infinity without a deadline."""
    return float("inf") if state.deadline_s is None else max(0.0, state.deadline_s - now_s)


def note(state: StopState, text: str) -> StopState:
    """Add a line to the report's notes, once."""
    return state if text in state.notes else replace(state, notes=(*state.notes, text))

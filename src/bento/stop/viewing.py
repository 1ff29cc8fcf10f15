"""A stop in the middle of it, for an observer that wants to see its processes (rule S26). Loaded for that alone."""

from __future__ import annotations

from typing import Final

from bento.model.stop import StopView, ViewedProcess
from bento.stop.methods import METHODS, describe
from bento.stop.process import Key, Process
from bento.stop.rules.tree import Tree, entered, program
from bento.stop.rules.wake import process_wake
from bento.stop.states import Phase, StopState, Timer
from bento.units import signal_name

PROCESSES_MAX: Final = 64
_NAMED_MAX: Final = 3


def view_of(
    name: str, state: StopState, alive: tuple[Process, ...], gone: tuple[Process, ...], before: dict[Key, Process]
) -> StopView:
    """Return a stop as it is seen. ``before``: the processes of the look before, by which it shows what has run."""
    is_killing = state.phase is Phase.KILLING
    shown = (*alive, *gone)
    sessions = entered(shown) | state.watch.sessions
    ended = {process.key for process in gone}
    ordered = _parents_first(shown)
    return StopView(
        name=name,
        phase=state.phase.value,
        signal=_signal(state),
        until_s=state.timers.get(Timer.KILL_LIMIT if is_killing else Timer.DEADLINE),
        last_call_s=state.timers.get(Timer.LAST_CALL),
        waits=_waits(state, alive),
        processes=tuple(
            _viewed(
                process,
                state,
                before.get(process.key),
                is_session=process.key in sessions,
                has_ended=process.key in ended,
            )
            for process in ordered[:PROCESSES_MAX]
        ),
        more=max(0, len(ordered) - PROCESSES_MAX),
    )


def _signal(state: StopState) -> str:
    return describe(state.method) if state.method in METHODS else signal_name(state.request.signal)


def _viewed(
    process: Process, state: StopState, before: Process | None, *, is_session: bool, has_ended: bool
) -> ViewedProcess:
    told, told_s = _told(process, state)
    is_held = process.key in state.hold.held or (process.is_main and state.hold.at_exit_s is not None)
    return ViewedProcess(
        pid=process.pid,
        ppid=process.ppid,
        comm=program(process),
        receives=process.disposition.value,
        does="" if has_ended else _does(process, before),
        told=told,
        told_s=told_s,
        is_held=is_held and not has_ended,
        is_session=is_session,
        has_ended=has_ended,
    )


def _told(process: Process, state: StopState) -> tuple[str, float]:
    """Return the signal that a process got from the stop, or the request that PID 1 got, and when; "" for neither."""
    for sent in state.signalled:
        if (sent.pid, sent.start_ticks) == process.key:
            return sent.signal or signal_name(state.request.signal), state.began_s + sent.at_s
    for request in reversed(state.init_requests):
        if process.is_main and not request.error:
            return describe(request.method), state.began_s + request.at_s
    return "", 0.0


def _parents_first(processes: tuple[Process, ...]) -> list[Process]:
    tree, found = Tree(processes), []
    waiting = [process for process in reversed(processes) if not tree.ancestors(process)]
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += reversed(tree.children(process))
    known = {process.key for process in found}
    return found + [process for process in processes if process.key not in known]


def _does(process: Process, before: Process | None) -> str:
    if process.is_halted:
        return "is halted"
    if process.evidence is not None:
        return process_wake(process, process.evidence).reason.removeprefix(f"{process.comm} ({process.pid}) ")
    if before is None:
        return ""
    if process.cpu_ticks > before.cpu_ticks:
        return "works"
    return "runs now and then" if process.switches != before.switches else "sleeps"


def _waits(state: StopState, alive: tuple[Process, ...]) -> str:
    """Return for what the stop waits, and why."""
    match state.phase:
        case Phase.DRAINING:
            return "until new connections are refused"
        case Phase.HOOKING:
            count = len(state.request.pre_stop)
            return f"for hook {min(state.hooks_begun, count)} of {count}: nothing is signalled before it has ended"
        case Phase.KILLING:
            return f"for {_names(alive) or 'what is left'} to die of SIGKILL"
        case Phase.CLEANING:
            return f"for the clean-up: {state.step.value}" if state.step else "for the clean-up"
        case Phase.GRACE:
            return _waits_in_grace(state, alive)
        case _:
            return ""


def _waits_in_grace(state: StopState, alive: tuple[Process, ...]) -> str:
    told = [process for process in alive if _told(process, state)[0]]
    main = next((process for process in alive if process.is_main), None)
    others = _names(tuple(process for process in told if not process.is_main))
    if state.hold.at_exit_s is not None:
        rest = others or _names(
            tuple(process for process in alive if not process.is_main and process.disposition.receives)
        )
        return f"for {rest or 'a last look'}, and PID 1 is held at its exit until then"
    if main is not None and main in told:
        what = "been asked" if state.init_requests else "got the signal"
        return f"for {_name(main)}: PID 1 has {what}, and ends by itself"
    if others:
        return f"for {others}: PID 1 does not receive the signal, and waits for {'it' if len(told) == 1 else 'them'}"
    if main is None or main.disposition.receives:
        return "for PID 1 to be ready for the signal"
    if main.age_s < state.request.start_window_s:
        return f"for {_name(main)}: it does not receive the signal, but was started only now, and may yet"
    return f"for {_name(main)}: it does not receive the signal; is anything at work that may end by itself?"


def _name(process: Process) -> str:
    return f"{program(process)} ({process.pid})"


def _names(processes: tuple[Process, ...]) -> str:
    named = ", ".join(_name(process) for process in processes[:_NAMED_MAX])
    more = len(processes) - _NAMED_MAX
    return f"{named} and {more} more" if more > 0 else named

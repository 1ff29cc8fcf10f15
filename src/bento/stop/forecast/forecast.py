"""What a stop would do, in words, before anything is sent. Pure: the machine is asked, not its rules repeated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, assert_never

from msgspec import Struct

from bento.model.stop import Occasion, OnPaused, Scope, Signalled, StopRequest, Verdict
from bento.programs.advice import describe
from bento.programs.facts import Program
from bento.stop.forecast.advice import advice
from bento.stop.forecast.cast import SWALLOWERS, Assumed, Event, is_forwarder
from bento.stop.forecast.doubts import doubts, waits_of
from bento.stop.forecast.rehearsal import Rehearsal, rehearse
from bento.stop.process import Disposition, Process
from bento.stop.rules.signalling import SESSION_SIGNAL
from bento.stop.rules.tree import Tree, entered, is_shell, named, program
from bento.stop.rules.wrapping import waits_for, waits_for_jobs
from bento.stop.states import KillCause
from bento.stop.verdict import Judgement, judge
from bento.units import signal_name

_SESSION_SIGNAL: Final = signal_name(SESSION_SIGNAL)


class ProcessForecast(Struct, frozen=True, kw_only=True):
    """One process, what the stop signal would do to it, and its part in the stop."""

    pid: int
    ppid: int
    comm: str
    argv: tuple[str, ...]
    receives: str  # the disposition
    why: str  # what that means for this process
    part: str  # what the stop does about it
    waits: str  # what it waits for, as "polls a socket" (rule S14); "" where that was not read
    wakes_in_s: float | None  # nothing of its own wakes it before; None: nothing ever does, or it was not read
    is_resting: bool  # nothing can wake it before the deadline, or it is a listener at rest
    session: bool = False  # of an exec session: the signal is SIGTERM (rule S16)
    known: str = ""  # what it is and does at the signal, where the table of programs has it


class StepForecast(Struct, frozen=True):
    """Something that would happen, so many seconds after the stop has begun."""

    at_s: float
    text: str


class Forecast(Struct, frozen=True, kw_only=True):
    """A stop as it is expected to go. ``verdict`` None: it would be refused, or never end."""

    name: str
    signal: str
    grace_s: float
    age_s: float
    is_paused: bool
    processes: tuple[ProcessForecast, ...]
    steps: tuple[StepForecast, ...]
    verdict: Verdict | None
    duration_s: float | None
    cause: str
    otherwise: str = ""  # how else it may end, and when it does
    unsure: tuple[str, ...] = ()  # what shows only once the stop is under way, or never
    advice: tuple[str, ...] = ()
    choice: str = ""  # with a stop signal that the program may choose: what was chosen, and why (rule S30)


def forecast(
    name: str,
    request: StopRequest,
    processes: tuple[Process, ...],
    *,
    age_s: float,
    is_frozen: bool = False,
    also_receives: tuple[int, ...] = (),
    programs: Mapping[int, Program] | None = None,
) -> Forecast:
    """Say what a stop of these processes would do.

    ``also_receives``: other signals that PID 1 has a handler for. ``programs``: those that are known, by pid.
    """
    programs = programs or {}
    is_refused = is_frozen and request.on_paused is OnPaused.REFUSE
    shown = rehearse(request, processes, age_s=age_s, is_frozen=is_frozen)
    judgement = _judge(shown)
    return Forecast(
        name=name,
        signal=signal_name(request.signal),
        grace_s=request.grace_s,
        age_s=age_s,
        is_paused=is_frozen,
        processes=tuple(
            _process(process, processes, shown, _own_program(process, programs), is_refused=is_refused)
            for process in _in_tree_order(processes)
        ),
        steps=() if is_refused else _steps(request, processes, shown),
        verdict=None if is_refused or judgement is None else judgement.verdict,
        duration_s=shown.state.exited_s if shown.is_over and not is_refused else None,
        cause=_cause(judgement, is_refused),
        otherwise=_otherwise(request, processes, judgement, age_s=age_s, is_frozen=is_frozen),
        unsure=() if is_refused else doubts(request, processes, shown, age_s=age_s),
        choice=request.choice,
        advice=advice(request, processes, shown, judgement, also_receives, programs),
    )


def _judge(shown: Rehearsal) -> Judgement | None:
    return judge(shown.state, exit_code=shown.exit_code, oom_kills=0, ends=shown.ends) if shown.is_over else None


def _otherwise(
    request: StopRequest,
    processes: tuple[Process, ...],
    judgement: Judgement | None,
    *,
    age_s: float,
    is_frozen: bool,
) -> str:
    for assumed, words in _alternatives(processes):
        other = _judge(rehearse(request, processes, age_s=age_s, is_frozen=is_frozen, assumed=assumed))
        if other is not None and judgement is not None and other.verdict is not judgement.verdict:
            return f"{other.verdict.value}, {words}"
    return ""


def _alternatives(processes: tuple[Process, ...]) -> list[tuple[Assumed, str]]:
    """Return what else may be the case, as far as that can be rehearsed."""
    found = []
    handled = [process for process in processes if process.disposition is Disposition.HANDLED]
    if any(program(process) in SWALLOWERS for process in handled):
        found.append((Assumed(swallows=True), "if the handler shown is node's own and not the program's"))
    tree = Tree(processes)
    if any(is_shell(process) and not waits_for_jobs(tree, process) for process in handled):
        found.append((Assumed(traps_at_once=True), "if the shell is in its wait builtin and runs its trap at once"))
    return found


def _cause(judgement: Judgement | None, is_refused: bool) -> str:
    if is_refused:
        return "it is paused and would not get the signal: stop refuses, unless given --paused thaw or --paused kill"
    return "nothing would end it, and it is never to be killed" if judgement is None else judgement.cause


# -- processes -----------------------------------------------------------------------------------


def _in_tree_order(processes: tuple[Process, ...]) -> list[Process]:
    """Each process after its parent; PID 1 first, and last those whose parents are not in the container."""
    tree = Tree(processes)
    main = tree.main()
    roots = [p for p in processes if p.ppid not in tree.by_pid or p.is_main]
    stack = sorted(roots, key=lambda process: process is main)
    found: dict[int, Process] = {}
    while stack:
        process = stack.pop()
        if process.pid not in found:
            found[process.pid] = process
            stack += reversed(tree.children(process))
    found.update((process.pid, process) for process in processes if process.pid not in found)
    return list(found.values())


def _process(
    process: Process,
    processes: tuple[Process, ...],
    shown: Rehearsal,
    known: Program | None,
    *,
    is_refused: bool,
) -> ProcessForecast:
    tree = Tree(processes)
    is_session = process.key in entered(processes)
    request = shown.state.request
    waits = waits_of(process, request.grace_s if request.may_kill else math.inf)
    return ProcessForecast(
        pid=process.pid,
        ppid=process.ppid,
        comm=program(process),
        argv=process.argv,
        receives=process.disposition.value,
        why=_why(process, tree, _SESSION_SIGNAL if is_session else signal_name(request.signal)),
        part="not signalled" if is_refused else _part(process, tree, shown),
        waits=waits.words if waits else "",
        wakes_in_s=waits.wakes_in_s if waits else None,
        is_resting=bool(waits and waits.is_resting),
        session=is_session,
        known=_known(known, process, SESSION_SIGNAL if is_session else request.signal),
    )


def _own_program(process: Process, programs: Mapping[int, Program]) -> Program | None:
    """Return the known program of a process; None for a worker, whose parent is of the same."""
    found = programs.get(process.pid)
    return None if found is programs.get(process.ppid) else found


def _known(program: Program | None, process: Process, number: int) -> str:
    """Say what a known program is, and what it does at the signal, where it gets that."""
    if program is None:
        return ""
    return describe(program, number if process.disposition.receives else None)


def _why(process: Process, tree: Tree, name: str) -> str:
    match process.disposition:
        case Disposition.HANDLED if is_shell(process):
            busy = waits_for(tree, process) if process.evidence is not None else tree.children(process)
            return f"it has a trap for {name}" + (", which it runs when its foreground child ends" if busy else "")
        case Disposition.HANDLED if program(process) in SWALLOWERS:
            return f"a handler for {name} is set, but node sets one of its own that only gives up: see what it does"
        case Disposition.HANDLED:
            return f"it has a handler for {name}" + (", to pass it on" if is_forwarder(process) else "")
        case Disposition.BLOCKED:
            return f"it blocks {name}, as programs do that read their signals from a queue"
        case Disposition.WAITING:
            return f"it sleeps until {name} comes (sigwait)"
        case Disposition.IGNORED:
            return f"it ignores {name}: the kernel drops it"
        case Disposition.DEFAULT:
            return f"it has no handler: {name} ends it at once"
        case Disposition.DROPPED:
            return f"it has no handler, and to PID 1 the kernel delivers no {name} without one"
        case Disposition.UNKNOWN:
            return "it is being traced, or may not be read: nothing is assumed"
        case _:
            assert_never(process.disposition)


_PARTS: Final = {
    Occasion.INIT: "signalled",
    Occasion.PROGRAM: "signalled in the place of PID 1",
    Occasion.FOREGROUND: "signalled, so that the shell runs its trap",
    Occasion.EXIT_HOLD: "signalled while PID 1 is held at its exit",
    Occasion.LAST_CALL: "signalled at the last call",
    Occasion.DEFAULT_ACTION: "signalled: it ends by the default action",
    Occasion.LEFT_BEHIND: "signalled when PID 1 has gone",
    Occasion.LAST_SIGNAL: "signalled once more",
    Occasion.PROMPT: "signalled when nothing else is left",
}


def _part(process: Process, tree: Tree, shown: Rehearsal) -> str:
    request = shown.state.request
    held = any(event.kind == "held" and process.pid in event.pids for event in shown.events)
    sent = next((one for one in shown.state.signalled if one.pid == process.pid), None)
    if sent is not None:
        hangup = ", with SIGHUP: it is at its prompt" if sent.signal == "SIGHUP" != signal_name(request.signal) else ""
        return _PARTS[sent.occasion] + hangup + (", and held at its exit" if _is_leaving(process, shown) else "")
    by = next((event.pids[0] for event in shown.events if _is_passed_on(event, process.pid)), None)
    if by is not None:
        return f"gets the signal from {named(tree.by_pid[by])}"
    if held:
        return "held: it goes no further"
    above = next((parent for parent in tree.ancestors(process) if parent.disposition.receives), None)
    return "not signalled" if above is None else f"left to {named(above)}"


def _is_leaving(process: Process, shown: Rehearsal) -> bool:
    return any(event.kind == "leaving" and process.pid in event.pids for event in shown.events)


def _is_passed_on(event: Event, pid: int) -> bool:
    return event.kind == "passed-on" and event.pids[1] == pid


# -- steps ---------------------------------------------------------------------------------------


def _steps(request: StopRequest, processes: tuple[Process, ...], shown: Rehearsal) -> tuple[StepForecast, ...]:
    names = {process.pid: f"{program(process)} ({process.pid})" for process in processes}
    before = tuple(event for event in shown.events if _comes_before(event, request))
    steps = _happenings(shown, before, names)
    if request.grace_s == 0:
        steps.append(StepForecast(0.0, "a grace of 0: no process is signalled"))
    elif not shown.state.signalled and any(event.kind == "end-main" and event.at_s > 0.1 for event in shown.events):
        text = "nothing is sent: PID 1 does not receive the signal, and what is in the container is watched"
        steps.append(StepForecast(0.0, text))
    steps += _signals(shown.state.signalled, names)
    steps += _happenings(shown, tuple(event for event in shown.events if event not in before), names)
    steps.sort(key=lambda step: step.at_s)  # stable: what is held stands before what is signalled, and that before ends
    end_s = shown.state.exited_s if shown.is_over else None
    if any(event.kind in ("end-main", "kill-all") for event in shown.events):  # it is not left to the programs
        return tuple(steps)
    last_call_s = shown.last_call_s if request.scope is Scope.AUTO else None
    if last_call_s is not None and (end_s is None or end_s < last_call_s):
        signal = signal_name(request.signal)
        text = f"last call, if it lives on: {signal} to what receives it and cannot have got it before"
        steps.append(StepForecast(last_call_s, text))
    if shown.deadline_s is not None and (end_s is None or end_s < shown.deadline_s):
        steps.append(StepForecast(shown.deadline_s, "the grace is over: SIGKILL to whatever lives on"))
    return tuple(steps)


def _comes_before(event: Event, request: StopRequest) -> bool:
    """Whether an event of the same moment comes before the signal."""
    is_hook = event.kind == "hook" and event.number < len(request.pre_stop)
    return is_hook or event.kind in ("drained", "held", "leaving")


def _signals(signalled: tuple[Signalled, ...], names: dict[int, str]) -> list[StepForecast]:
    groups: dict[tuple[float, str, str], list[str]] = {}
    for one in signalled:
        groups.setdefault((one.at_s, one.signal, one.why), []).append(names[one.pid])
    return [
        StepForecast(at_s, f"{signal} to {', '.join(which)}: {why}") for (at_s, signal, why), which in groups.items()
    ]


def _happenings(shown: Rehearsal, events: tuple[Event, ...], names: dict[int, str]) -> list[StepForecast]:
    request, why_ended = shown.state.request, _why_ended(shown)
    steps: list[StepForecast] = []
    for event in events:
        which = ", ".join(names[pid] for pid in event.pids)
        match event.kind:
            case "passed-on":
                text = f"{names[event.pids[0]]} passes it on to {names[event.pids[1]]}"
            case "ended":
                text = f"{which} ends"
            case "held":
                text = f"{which} is held, and goes no further"
            case "leaving":
                text = f"{which} is about to exit, and is held there: the kernel would end the rest with it"
            case "trapped":
                text = f"{which} runs its trap, and ends"
            case "left":
                text = f"{which} leaves, with the status of what it ran"
            case "thawed":
                text = "it is thawed, and wakes up into its shutdown"
            case "drained":
                text = "new connections are refused; those under way live on"
            case "end-main":
                text = f"Bento ends {which}: {why_ended}"
            case "hook":
                hook = request.hooks[event.number]
                when = "" if event.number < len(request.pre_stop) else ", after the clean-up"
                what = f"sleep {hook.seconds:g}" if hook.kind == "sleep" else f"{hook.kind}: {hook.command}"
                text = f"hook{when}, {what}"
            case _:
                text = f"SIGKILL to {which}"
        steps.append(StepForecast(event.at_s, text))
    return steps


def _why_ended(shown: Rehearsal) -> str:
    """Return why PID 1 is ended, in the machine's own words where it has noted some."""
    state = shown.state
    if state.kill_cause is KillCause.WRAPPED:
        return "what it waited for has ended, and what it has started is at rest"
    if state.kill_cause in (KillCause.DEFAULT_ACTION, KillCause.PROMPT) and state.notes:
        return state.notes[-1].partition(":")[0]
    return "it has shut everything down, and stays"

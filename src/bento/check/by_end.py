"""How it ends: in time, by itself, with all its processes, with which exit code. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bento.check import remedies
from bento.check.finding import finding
from bento.check.observed import Observation
from bento.model.check import Finding
from bento.model.stop import UNSEEN, ProcessEnd, StopReport, Verdict
from bento.programs.advice import fact_of
from bento.stop.forecast.cast import is_forwarder
from bento.stop.methods import HALTED_CODE, REBOOT_CODE, SIGNAL
from bento.stop.process import Process
from bento.stop.rules.tree import named, program
from bento.units import SIGKILL, signal_name

_RECEIVED = frozenset({"handled", "blocked", "waiting", UNSEEN})
_CRASHES = {128 + number for number in (4, 6, 7, 8, 11)}  # ILL ABRT BUS FPE SEGV
_EARLIER_S = 0.5
"""What was gone so long before PID 1 was not killed by the kernel with it, but by another process, on purpose."""
_GO_UNHANDLED = 2
_HALTED = (HALTED_CODE, REBOOT_CODE)


def judge_end(seen: Observation) -> Iterator[Finding]:
    """Yield what is wrong with the end of a run that was stopped once it was ready, and received the signal."""
    report, main = seen.run.report, seen.main
    if report is None or main is None or report.verdict is Verdict.ALREADY_EXITED:
        return
    if report.verdict is Verdict.KILLED and _was_killed_by_us(report):
        yield _too_long(seen, report)
        return
    if report.is_slow:
        detail = f"it took {_ended_s(report):.1f} s of a grace of {report.grace_s:g} s"
        yield finding("BG011", seen, detail, remedies.more_time(_round_up(2 * _ended_s(report))), about=[main.pid])
    yield from _killed_with_it(seen, report)
    yield from _exit_code(seen, report)


def was_killed(report: StopReport) -> bool:
    """Whether it had to be killed."""
    return report.verdict is Verdict.KILLED and _was_killed_by_us(report)


def _was_killed_by_us(report: StopReport) -> bool:
    return any(phase.name == "kill" for phase in report.phases)


def _ended_s(report: StopReport) -> float:
    """When PID 1 was seen gone, since the stop began."""
    main = report.processes[0] if report.processes else None
    return main.ended_s if main is not None and main.ended_s is not None else report.duration_s


def _too_long(seen: Observation, report: StopReport) -> Finding:
    main, last = seen.main, seen.last
    assert main is not None
    name = signal_name(seen.request.signal)
    alive = ", ".join((named(main), *(last.alive[:4] if last else ())))
    detail = f"{named(main)} received {name}; after the grace of {report.grace_s:g} s there still ran {alive}"
    remedy = remedies.more_time(_round_up(3 * report.grace_s))
    killed = [end.pid for end in report.processes if end.how == "killed-by-us"]
    return finding("BG010", seen, detail, remedy, about=[main.pid, *killed[:8]])


def _round_up(seconds: float) -> float:
    return float(max(1, math.ceil(seconds)))


def _killed_with_it(seen: Observation, report: StopReport) -> Iterator[Finding]:
    """PID 1 ended by itself; the kernel killed these, which receive the signal and had not ended."""
    main = seen.main
    assert main is not None
    left_s = _ended_s(report)
    cut = [
        end
        for end in report.processes
        if end.how == "killed-with-pid-1"
        and end.receives in _RECEIVED
        and end.pid != main.pid
        and (end.ended_s is None or left_s - end.ended_s < _EARLIER_S)
    ]
    apart = _apart(seen, main)
    far = [end for end in cut if end.pid in apart]
    if far:
        name = _names(far)
        detail = f"{named(main)} passes the signal on to its own child; {name}, in another session, got none: killed"
        remedy = remedies.wait_for_children(far[0].comm)
        yield finding("BG021", seen, detail, remedy, about=[main.pid, *(end.pid for end in far)])
    rest = [end for end in cut if end not in far]
    if rest:
        detail = f"{named(main)} left after {left_s:.2f} s, while {_names(rest)} had not ended: killed by the kernel"
        remedy = remedies.wait_for_children("it" if rest[0].comm == UNSEEN else rest[0].comm)
        yield finding("BG020", seen, detail, remedy, about=[main.pid, *(end.pid for end in rest)])


def _apart(seen: Observation, main: Process) -> set[int]:
    """Return what is in another session than an init and its own children, which alone it passes the signal on to."""
    if not is_forwarder(main):
        return set()
    sessions = {state.pid: state.session for state in seen.states if state.session}
    near = {sessions.get(main.pid)} | {sessions.get(child.pid) for child in seen.tree.children(main)}
    return {pid for pid, session in sessions.items() if session not in near}


def judge_sessions(seen: Observation) -> Finding | None:
    """Say, of what runs, whether an init has a daemon that it will never tell."""
    main, apart = seen.main, set[int]()
    if main is not None and main.disposition.receives:
        apart = _apart(seen, main)
    daemons = [one for one in seen.look if one.pid in apart and one.disposition.receives and not one.is_entered]
    if main is None or not daemons:
        return None
    names = ", ".join(map(named, daemons[:5]))
    detail = f"{named(main)} passes the signal on to its own child; {names}, in another session, gets none"
    remedy = remedies.wait_for_children(program(daemons[0]))
    return finding("BG021", seen, detail, remedy, about=[main.pid, *(one.pid for one in daemons)])


def _names(ends: list[ProcessEnd]) -> str:
    words = [
        "a process that began during the stop" if end.comm == UNSEEN else f"{end.comm} ({end.pid})" for end in ends
    ]
    return ", ".join(dict.fromkeys(words[:5])) + (f" and {len(words) - 5} more" if len(words) > 5 else "")


def _exit_code(seen: Observation, report: StopReport) -> Iterator[Finding]:
    main, code, signal = seen.main, report.exit_code, seen.request.signal
    assert main is not None
    if code is None or code in (0, 128 + signal) or (seen.request.method != SIGNAL and code in _HALTED):
        return
    if code in _CRASHES or code == 128 + SIGKILL:
        by = signal_name(code - 128)
        detail = f"{named(main)} was ended by {by} after it had got {report.signal}"
        text = "give it more memory" if "OOM" in report.cause else "mend the crash: the shutdown was not completed"
        yield finding("BG031", seen, detail, remedies.in_program(text), about=[main.pid])
        return
    detail = f"{named(main)} ended by itself with exit code {code}; 0 or {128 + signal} say that a stop was expected"
    known, more = seen.programs.get(main.pid), ""
    fact = fact_of(known, signal) if known is not None else None
    if known is not None and fact is not None and code in fact.exit_codes:
        detail += f". That is how {known.name} ends in order"
    if code == _GO_UNHANDLED and main.catches_all:
        detail += ". Go's runtime ends so, without any shutdown, where the program does not ask for the signal"
        more = f"ctx, stop := signal.NotifyContext(context.Background(), syscall.{report.signal})"
    text = f"have {program(main)} exit with 0 after an orderly shutdown: restart policies take others for failures"
    yield finding("BG030", seen, detail, remedies.in_program(text, more), about=[main.pid])

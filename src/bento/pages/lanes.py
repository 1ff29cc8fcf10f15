"""From the report of a stop to its timeline: phases, hooks, and a lane for the life of each process."""

from __future__ import annotations

from typing import Final

from bento.model.check import Requests, SeenRequest
from bento.model.stop import Held, HookResult, PhaseTiming, ProcessEnd, Signalled, StopReport
from bento.pages import words
from bento.pages.text import NAME_MAX, fitted, seconds
from bento.pages.timeline import Bar, BarKind, Group, Lane, Mark, MarkKind, Moment, Timeline
from bento.pages.tree import with_depth

PROCESSES_MAX: Final = 60
"""Lanes of processes in one picture; the table below has them all."""
_INDENT_MAX: Final = 4
_EXIT: Final = "exit"
_ENDS: Final = {
    "exited": MarkKind.EXITED,
    "signalled": MarkKind.BY_SIGNAL,
    "killed-by-us": MarkKind.KILLED,
    "killed-with-pid-1": MarkKind.KILLED,
    "alive": MarkKind.ALIVE,
}


def timeline(report: StopReport, requests: Requests | None = None) -> Timeline:
    """Return the timeline of a stop; with the requests that were sent meanwhile, where there were any."""
    count = len(report.processes)
    groups = [Group("What the stop did", (*_phases(report), *(_hook(hook) for hook in report.hooks)))]
    if requests is not None:
        groups.append(_requests(requests, report.duration_s))
    if count:
        groups.append(_processes(report))
    return Timeline(
        title=f"Timeline of the stop of {fitted(report.name or report.id[:12], NAME_MAX)}",
        text=(
            f"{seconds(report.duration_s)} from left to right: the phases of the stop, then {count}"
            f" process{'es' * (count != 1)}, each from its beginning to its end. In the end {words.verdict(report)}."
        ),
        duration_s=report.duration_s,
        groups=tuple(group for group in groups if group.lanes),
        moments=_moments(report),
    )


def _requests(requests: Requests, duration_s: float) -> Group:
    """Return a lane for those of each outcome. Those that were under way before the stop come from the left edge."""
    meanwhile = [one for one in requests.seen if one.from_s <= duration_s]
    counts = {
        "answered": requests.answered,
        "lost": requests.unanswered + requests.unanswered_late,
        "refused": requests.refused,
    }
    return Group(
        "Requests",
        tuple(
            Lane(
                label=f"requests {how}",
                result=str(counts.get(how, len(found))),
                bars=tuple(_request(one) for one in found),
                marks=tuple(
                    Mark(MarkKind.FAILED, one.until_s, f"{how} at {seconds(one.until_s)}")
                    for one in found
                    if how != "answered"
                ),
            )
            for how in dict.fromkeys((*counts, *(one.how for one in meanwhile)))
            if (found := [one for one in meanwhile if one.how == how])
        ),
    )


def _request(one: SeenRequest) -> Bar:
    begin = f"from {seconds(one.from_s)} on" if one.from_s >= 0 else "under way when the stop began"
    return Bar(BarKind.REQUEST, one.from_s, one.until_s, f"a request {one.how}, {begin}, until {seconds(one.until_s)}")


def _moments(report: StopReport) -> tuple[Moment, ...]:
    found = []
    if 0 < report.grace_s <= report.duration_s:
        found.append(Moment(report.grace_s, "grace over"))
    found += [Moment(phase.start_s, "PID 1 has ended") for phase in report.phases if phase.name == _EXIT][:1]
    return tuple(found)


def _phases(report: StopReport) -> list[Lane]:
    """Return a lane for each phase; what follows the exit of PID 1 is one: those steps are short, and none is odd."""
    names = [phase.name for phase in report.phases]
    first = names.index(_EXIT) if _EXIT in names else len(names)
    lanes = [_phase(phase) for phase in report.phases[:first]]
    if rest := report.phases[first:]:
        bars = tuple(_bar(BarKind.CLEANUP, phase) for phase in rest)
        total_s = sum(phase.duration_s for phase in rest)
        lanes.append(Lane(label="clean-up", result=seconds(total_s), bars=bars))
    return lanes


def _phase(phase: PhaseTiming) -> Lane:
    return Lane(label=phase.name, result=seconds(phase.duration_s), bars=(_bar(BarKind.PHASE, phase),))


def _bar(kind: BarKind, phase: PhaseTiming) -> Bar:
    meaning = words.phase(phase.name)
    title = f"{phase.name}: {seconds(phase.duration_s)}, from {seconds(phase.start_s)} on{meaning and f' ({meaning})'}"
    return Bar(kind, phase.start_s, phase.start_s + phase.duration_s, title)


def _hook(hook: HookResult) -> Lane:
    end_s = hook.start_s + hook.duration_s
    title = f"{hook.when} hook, {hook.kind}: {hook.command}; {seconds(hook.duration_s)}"
    marks = (Mark(MarkKind.FAILED, end_s, hook.error),) if hook.error else ()
    return Lane(
        label=f"{hook.when} hook",
        result="failed" if hook.error else seconds(hook.duration_s),
        bars=(Bar(BarKind.HOOK, hook.start_s, end_s, title),),
        marks=marks,
    )


def _processes(report: StopReport) -> Group:
    signalled = {one.pid: one for one in report.signalled}
    held = {one.pid: one for one in report.held}
    order = [process for process, _ in with_depth(report.processes)]
    wanted = set(map(id, sorted(order, key=lambda one: _rank(one, signalled, held))[:PROCESSES_MAX]))
    lanes = tuple(
        _process(process, depth, signalled.get(process.pid), held.get(process.pid), report)
        for process, depth in with_depth(report.processes)
        if id(process) in wanted
    )
    left_out = len(order) - len(lanes)
    more = f"and {left_out} more, in the table of processes" if left_out else ""
    return Group("Processes of the container", lanes, more)


def _rank(process: ProcessEnd, signalled: dict[int, Signalled], held: dict[int, Held]) -> int:
    """Those come first of which there is something to say."""
    if process.pid in signalled or process.pid in held:
        return 0
    if process.how in ("alive", "killed-with-pid-1", "killed-by-us"):
        return 1
    return 2


def _process(
    process: ProcessEnd, depth: int, signalled: Signalled | None, held: Held | None, report: StopReport
) -> Lane:
    begin_s = process.began_s or 0.0
    end_s = max(begin_s, report.duration_s if process.ended_s is None else process.ended_s)
    name = f"{process.comm} ({process.pid})"
    is_open = process.ended_s is None and process.how != "alive"
    bars = [Bar(BarKind.UNKNOWN if is_open else BarKind.PROCESS, begin_s, end_s, f"{name}: {words.ending(process)}")]
    held_s, why = (held.at_s, held.why) if held else (words.at_exit_s(signalled, report), "PID 1, at its exit")
    if held_s is not None and held_s < end_s:
        bars.append(Bar(BarKind.HELD, held_s, end_s, f"{name} is held from {seconds(held_s)} on: {why}"))
    marks = []
    if signalled:
        marks.append(Mark(MarkKind.SIGNAL, signalled.at_s, f"{told(signalled, report)} to {name}: {signalled.why}"))
    if (kind := _ENDS.get(process.how)) is not None and not is_open:
        marks.append(Mark(kind, end_s, f"{name}: {words.ending(process)} at {seconds(end_s)}"))
    return Lane(
        label=f"{process.pid} {process.comm}",
        result=words.short_ending(process),
        indent=min(depth, _INDENT_MAX),
        bars=tuple(bars),
        marks=tuple(marks),
    )


def told(signalled: Signalled, report: StopReport) -> str:
    """Return the signal that was sent, and when."""
    name = signalled.signal or ("SIGTERM" if signalled.session else report.signal)
    return f"{name} at {seconds(signalled.at_s)}"

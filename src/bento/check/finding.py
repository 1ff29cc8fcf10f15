"""A finding put together: its kind, what was seen, and what it rests on. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from bento.check.catalogue import BY_ID
from bento.check.observed import Observation
from bento.model.check import Evidence, Finding, Moment, Remedy, SeenProcess
from bento.model.stop import StopReport

_TIMELINE_MAX = 24


def finding(
    kind_id: str,
    seen: Observation,
    detail: str,
    remedy: Remedy,
    *,
    about: Iterable[int] = (),
    facts: Iterable[str] = (),
) -> Finding:
    """Return a finding. ``about``: the pids of the processes that it is about."""
    kind, pids = BY_ID[kind_id], set(about)
    return Finding(
        id=kind.id,
        name=kind.name,
        severity=kind.severity,
        title=kind.title,
        detail=detail,
        evidence=Evidence(
            facts=tuple(facts),
            processes=tuple(process for process in seen.run.processes if process.pid in pids),
            timeline=timeline(seen),
        ),
        remedy=remedy,
        runs=(seen.run.number,),
    )


def timeline(seen: Observation) -> tuple[Moment, ...]:
    """Return what happened in the stop of a run, in order."""
    report = seen.run.report
    if report is None:
        return ()
    moments = [*_of_report(report), *_of_samples(seen, report)]
    moments.sort(key=lambda moment: moment.at_s)
    return tuple(moments[:_TIMELINE_MAX])


def _of_report(report: StopReport) -> Iterable[Moment]:
    for sent in report.signalled:
        yield Moment(sent.at_s, f"{sent.signal or report.signal} to {sent.comm} ({sent.pid}): {sent.receives}")
    for phase in report.phases:
        if phase.name in ("drain", "kill"):
            words = {"drain": "new connections are refused", "kill": "SIGKILL: the grace is over"}
            yield Moment(phase.start_s, words[phase.name])
    for end in report.processes:
        if end.ended_s is not None:
            yield Moment(end.ended_s, f"{end.comm} ({end.pid}) {_how(end.how, end.code)}")


def _of_samples(seen: Observation, report: StopReport) -> Iterable[Moment]:
    """What changed of PID 1 between two looks."""
    main = seen.main
    if main is None:
        return
    before = main.disposition
    ended_s = next((end.ended_s for end in report.processes if end.pid == main.pid), None)
    for sample in seen.samples:
        if ended_s is not None and sample.at_s >= ended_s:  # its clock began a little earlier
            return
        if sample.main is not None and sample.main is not before:
            yield Moment(sample.at_s, f"{report.signal} would now be {sample.main.value} by PID 1 ({main.pid})")
            before = sample.main


def _how(how: str, code: int | None) -> str:
    match how:
        case "exited":
            return f"exited with {code}"
        case "signalled":
            return f"was ended by signal {code}"
        case "killed-by-us":
            return "was killed: the grace was over"
        case "killed-with-pid-1":
            return "was killed by the kernel along with PID 1"
        case _:
            return how


def words_of(process: SeenProcess) -> str:
    """Return the masks and calls of a process in a line."""
    masks = f"SigBlk {process.blocked:016x} SigIgn {process.ignored:016x} SigCgt {process.caught:016x}"
    calls = f", in {', '.join(process.calls)}" if process.calls else ""
    return (
        f"state Z: it has ended, and process {process.ppid} has not reaped it"
        if process.state == "Z"
        else masks + calls
    )

"""Runs of a check as they are observed, put together by hand."""

from __future__ import annotations

from msgspec.structs import replace

from bento.check.observed import Observation, Sample
from bento.check.seeing import seen
from bento.model.check import CheckRun, RunKind
from bento.model.stop import AskedBy, PhaseTiming, ProcessEnd, Signalled, StopReport, StopRequest, Verdict
from bento.model.waits import ProcessState
from bento.programs.facts import Program
from bento.stop.forecast.forecast import forecast
from bento.stop.process import Process


def end(
    process: Process, how: str, code: int | None = None, *, at_s: float | None = None, comm: str = ""
) -> ProcessEnd:
    """How one process has ended."""
    return ProcessEnd(
        pid=process.pid,
        comm=comm or process.comm,
        how=how,
        code=code,
        receives=process.disposition.value,
        ended_s=at_s,
    )


def report(
    *ends: ProcessEnd,
    verdict: Verdict = Verdict.GRACEFUL,
    exit_code: int | None = 0,
    duration_s: float = 0.1,
    grace_s: float = 10.0,
    killed: bool = False,
    cause: str = "",
) -> StopReport:
    """What a plain stop has come to; PID 1 is the first of the ends."""
    names = ("signal", "kill") if killed else ("signal", "drain")
    sent = [
        Signalled(pid=one.pid, start_ticks=7, comm=one.comm, at_s=0.0, why="", receives=one.receives) for one in ends
    ]
    return StopReport(
        asked_by=AskedBy.USER,
        method="signal",
        signal="SIGTERM",
        grace_s=grace_s,
        started_unix_ns=0,
        duration_s=duration_s,
        verdict=Verdict.KILLED if killed else verdict,
        cause=cause,
        remedy="",
        exit_code=137 if killed else exit_code,
        disposition="",
        is_slow=duration_s > grace_s / 2,
        phases=tuple(PhaseTiming(name=name, start_s=0.0, duration_s=0.0) for name in names),
        signalled=tuple(sent[:1]),
        processes=ends,
    )


def state(process: Process, *, session: int = 1, letter: str = "S") -> ProcessState:
    """What the kernel says of a process."""
    return ProcessState(
        pid=process.pid,
        ppid=process.ppid,
        comm=process.comm,
        state=letter,
        start_ticks=7,
        session=session,
        blocked=0,
        ignored=0,
        caught=1 << 14,
    )


def observed(
    *look: Process,
    kind: RunKind = RunKind.SETTLED,
    came: StopReport | None = None,
    samples: tuple[Sample, ...] = (),
    states: tuple[ProcessState, ...] = (),
    zombies: tuple[ProcessState, ...] = (),
    also_receives: tuple[int, ...] = (),
    request: StopRequest | None = None,
    programs: dict[int, Program] | None = None,
    **run,
) -> Observation:
    """One run."""
    request = request or StopRequest()
    states = states or tuple(map(state, look))
    ahead = forecast("web", request, look, age_s=100.0)
    run.setdefault("number", 1)
    made = CheckRun(kind=kind, report=came, processes=seen(look, (*states, *zombies), ahead), **run)
    return Observation(
        run=made,
        request=request,
        look=look,
        states=states,
        zombies=zombies,
        also_receives=also_receives,
        samples=samples,
        programs=programs or {},
    )


def numbered(one: Observation, number: int) -> Observation:
    """The same, as another run."""
    return replace(one, run=replace(one.run, number=number))

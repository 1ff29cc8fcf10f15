"""From observations to findings, and to the verdict of a check. Pure: no clock, no file, no process.

Theory. Everything is judged by the plain stop, which others do: the signal to PID 1 alone, the grace, SIGKILL. A
finding needs a fact of the kernel's (a mask, a pending signal, how a process has ended) and not a duration alone,
wherever there is such a fact: so that it is the same in each run, whatever else the machine does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from bento.check.by_end import judge_end, judge_sessions, was_killed
from bento.check.by_program import judge_program
from bento.check.by_signal import judge_signal
from bento.check.by_start import judge_rest, judge_start, judge_twice
from bento.check.by_work import judge_after, judge_load
from bento.check.observed import Observation
from bento.model.check import CheckVerdict, Finding, RunKind, Severity
from bento.model.stop import Verdict


def judge(observations: Sequence[Observation]) -> tuple[Finding, ...]:
    """Return the findings of all runs, each kind once, the heaviest first."""
    found = [one for seen in observations for one in _of_run(seen)]
    settled = [seen for seen in observations if seen.run.kind is RunKind.SETTLED]
    if settled:
        found += judge_start(settled[0], [seen for seen in observations if seen.run.kind is RunKind.START_UP])
        whole = next((seen.run.report for seen in settled if _is_whole(seen)), None)
        twice = [seen for seen in observations if seen.run.kind is RunKind.TWICE]
        if whole is not None:
            found += [one for seen in twice if (one := judge_twice(whole, seen)) is not None]
    return merged(found)


def is_hopeless(seen: Observation) -> bool:
    """Whether stops at other moments can show nothing more: the signal does not reach the program, or it is killed."""
    report = seen.run.report
    return judge_signal(seen) is not None or (report is not None and was_killed(report))


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return each kind once, with the runs that show it, the heaviest first."""
    by_id: dict[str, Finding] = {}
    for one in findings:
        first = by_id.get(one.id)
        by_id[one.id] = one if first is None else replace(first, runs=tuple(sorted({*first.runs, *one.runs})))
    return tuple(sorted(by_id.values(), key=lambda one: (-one.severity.weight, one.id)))


def verdict_of(findings: Iterable[Finding], fail_on: Severity) -> CheckVerdict:
    """Return what they come to."""
    fails = any(one.severity.weight >= fail_on.weight for one in findings)
    return CheckVerdict.FAILED if fails else CheckVerdict.PASSED


def _of_run(seen: Observation) -> Iterator[Finding]:
    match seen.run.kind:
        case RunKind.SETTLED:
            yield from _of_settled(seen)
        case RunKind.LOOK:
            yield from (
                one
                for one in (judge_signal(seen), judge_program(seen), judge_sessions(seen), judge_rest(seen))
                if one is not None
            )
        case RunKind.LOAD | RunKind.DRAIN:
            yield from judge_load(seen)
        case RunKind.AFTER:
            yield from (one for one in (judge_after(seen),) if one is not None)
        case _:  # judged beside the others
            return


def _of_settled(seen: Observation) -> Iterator[Finding]:
    by_signal, by_program, at_rest = judge_signal(seen), judge_program(seen), judge_rest(seen)
    if by_signal is not None:
        yield by_signal
    else:
        yield from judge_end(seen)
    if by_program is not None:
        yield by_program
    if at_rest is not None:
        yield at_rest


def _is_whole(seen: Observation) -> bool:
    report = seen.run.report
    return report is not None and not was_killed(report) and report.verdict is not Verdict.ALREADY_EXITED

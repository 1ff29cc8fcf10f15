"""Work under way when the stop comes, and what is left in the volumes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bento.check import remedies
from bento.check.finding import finding
from bento.check.observed import Observation
from bento.model.check import Finding, RunKind

_LATE_MIN = 2
"""Late requests that were lost, before that counts: one may have met the very moment at which the socket was closed."""


def judge_load(seen: Observation) -> Iterator[Finding]:
    """Yield what became of the work in a run with load."""
    run, pids = seen.run, [process.pid for process in seen.look[:4]]
    if run.requests is not None:
        counted = run.requests
        how = ", though new connections were refused first (--drain)" if run.kind is RunKind.DRAIN else ""
        if counted.unanswered:
            under_way = counted.unanswered + counted.answered
            detail = f"{counted.unanswered} of {under_way} requests, under way when the stop began, got no answer{how}"
            text = "at the signal, finish the requests that were accepted, and only then end"
            yield finding("BG040", seen, detail, remedies.in_program(text), about=pids)
        if counted.unanswered_late >= _LATE_MIN:
            detail = (
                f"{counted.unanswered_late} connections were accepted after the stop had begun, and got no answer{how}"
            )
            yield finding("BG041", seen, detail, remedies.drain(), about=pids)
    if run.command is not None and run.command.exit_code != 0:
        code = run.command.exit_code
        ended = "did not end" if code is None else f"ended with exit code {code}"
        facts = (run.command.output,) if run.command.output else ()
        text = "at the signal, finish the work that was accepted, and only then end"
        yield finding(
            "BG042", seen, f"{run.command.command!r} {ended}", remedies.in_program(text), about=pids, facts=facts
        )


def judge_after(seen: Observation) -> Finding | None:
    """Judge the next start with the volumes of the run before."""
    run = seen.run
    if run.ready_s is None:
        detail = f"the next container with the same volumes did not become ready: {run.note}"
        text = "remove locks and pid files at the end, and at the start take no notice of stale ones"
        return finding("BG051", seen, detail, remedies.in_program(text))
    if run.command is not None and run.command.exit_code != 0:
        code = run.command.exit_code
        ended = "did not end" if code is None else f"ended with exit code {code}"
        facts = (run.command.output,) if run.command.output else ()
        text = "write everything out and mark the state as clean before the end; give it the time for that"
        return finding("BG050", seen, f"{run.command.command!r} {ended}", remedies.in_program(text), facts=facts)
    return None

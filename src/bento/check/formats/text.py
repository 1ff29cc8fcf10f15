"""A check for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bento.check.finding import words_of
from bento.check.formats import words
from bento.model.check import Check, Evidence, Finding


def draw(found: Check) -> list[str]:
    """Return a check as lines."""
    own = words.with_bento(found)
    lines = [
        f"{found.subject}: {words.headline(found)}",
        f"  judged by   the plain stop: {words.asked(found)}",
        *([f"  with Bento  {own}"] if own else []),
        *(f"  run {run.number:<3}     {words.run_line(run)}" for run in found.runs),
    ]
    for one in found.findings:
        lines += ["", *finding_lines(one, len(found.runs))]
    return lines


def finding_lines(one: Finding, runs: int = 1) -> Iterator[str]:
    """Yield one finding; ``runs``: how many there were."""
    seen = f"  (run{'s' * (len(one.runs) > 1)} {', '.join(map(str, one.runs))})" if runs > 1 else ""
    yield f"{one.id} {one.severity.value}: {one.title}{seen}"
    yield f"    {one.detail}"
    yield from (f"    {line}" for line in evidence_lines(one.evidence))
    yield from (f"    {line}" for line in remedy_lines(one))


def remedy_lines(one: Finding) -> Iterator[str]:
    """Yield what to do about it, with the lines to change."""
    yield f"to do: {one.remedy.text}"
    for place, text in words.changes(one):
        first, *rest = text.splitlines()
        yield f"  {place + ':':<13} {first}"
        yield from (f"  {'':<13} {line}" for line in rest)


def evidence_lines(evidence: Evidence) -> Iterator[str]:
    """Yield what it rests on."""
    for fact in evidence.facts:
        yield from fact.splitlines()
    for process in evidence.processes:
        yield f"{process.pid} {words.shown(process.argv, process.comm)}"
        if process.receives:
            yield f"  {process.receives}: {process.why}"
        yield f"  {words_of(process)}{f'; it {process.waits}' if process.waits else ''}"
    for moment in evidence.timeline:
        yield f"{moment.at_s:7.2f} s  {moment.text}"

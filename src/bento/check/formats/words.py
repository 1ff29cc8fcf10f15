"""The words that the formats of a check share. Pure."""

from __future__ import annotations

from typing import Final

from bento.model.check import Check, CheckRun, CheckVerdict, Finding, RunKind, Severity
from bento.model.stop import StopReport
from bento.stop.methods import SIGNAL

PLACES: Final = {
    "dockerfile": "Dockerfile",
    "script": "script",
    "program": "program",
    "compose": "compose file",
    "unit": "Quadlet unit",
    "pod": "pod",
    "command": "run",
}
KINDS: Final = {
    RunKind.SETTLED: "stopped when ready",
    RunKind.START_UP: "stopped during its start",
    RunKind.TWICE: "signalled twice",
    RunKind.LOAD: "stopped under load",
    RunKind.DRAIN: "stopped under load, drained",
    RunKind.AFTER: "next start",
    RunKind.LOOK: "looked at",
}


def headline(found: Check) -> str:
    """Return the check in a line."""
    if found.verdict is CheckVerdict.UNJUDGED:
        return f"could not be judged: {found.error}"
    if not found.findings:
        return "passed: no findings"
    counts = [(severity, sum(one.severity is severity for one in found.findings)) for severity in reversed(Severity)]
    words = ", ".join(f"{count} {severity.value}{'s' * (count > 1)}" for severity, count in counts if count)
    return f"{found.verdict.value}: {words}"


def asked(found: Check) -> str:
    """Return what was asked: the plain stop. The init of a system container is asked by what it obeys."""
    methods = (run.report.method for run in found.runs if run.report is not None)
    method = next(methods, SIGNAL)
    how = f"{found.signal} to PID 1" if method == SIGNAL else f"its init asked by method {method}"
    return f"{how}, a grace of {found.grace_s:g} s, SIGKILL"


def run_line(run: CheckRun) -> str:
    """Return what a run was, and what came of it."""
    return ": ".join(filter(None, (KINDS[run.kind], run_words(run))))


def run_words(run: CheckRun) -> str:
    """Return what came of a run, in a line."""
    parts = []
    if run.ready:
        parts.append(f"ready after {run.ready_s or 0.0:.2f} s ({run.ready})")
    if run.report is not None:
        parts.append(_stopped(run, run.report))
    elif run.kind is RunKind.START_UP:
        main = next(iter(run.processes), None)
        parts.append(f"at {run.stopped_s or 0.0:.2f} s the signal is {main.receives if main else 'lost'}: not sent")
    if run.requests is not None:
        counted = run.requests
        lost = counted.unanswered + counted.unanswered_late
        rest = counted.sent - counted.answered - lost - counted.refused
        parts.append(
            f"{counted.sent} requests, {counted.answered} answered, {lost} lost, {counted.refused} refused"
            f"{f', {rest} more without an answer' if rest > 0 else ''}"
        )
    if run.command is not None:
        code = run.command.exit_code
        parts.append(f"{run.command.command!r}: {'killed' if code is None else f'exit code {code}'}")
    if run.note:
        parts.append(run.note)
    return "; ".join(parts)


def _stopped(run: CheckRun, report: StopReport) -> str:
    at = f"stopped at {run.stopped_s:.2f} s, " if run.kind is RunKind.START_UP and run.stopped_s is not None else ""
    code = "not known" if report.exit_code is None else str(report.exit_code)
    return f"{at}{report.verdict.value} after {report.duration_s:.2f} s, exit code {code}"


def with_bento(found: Check) -> str:
    """Return what Bento's own stop would make of it; "" where that is not known."""
    own = found.with_bento
    if own is None:
        return ""
    verdict = "no end" if own.verdict is None else own.verdict.value
    after = "" if own.duration_s is None else f" in {own.duration_s:.2f} s"
    more = f" (or {own.otherwise})" if own.otherwise else ""
    return f"{verdict}{after}: {own.cause}{more}"


def changes(one: Finding) -> list[tuple[str, str]]:
    """Return the lines to change, each with the name of its place."""
    return [(PLACES[change.place], change.text) for change in one.remedy.changes]


def shown(argv: tuple[str, ...], comm: str, limit: int = 60) -> str:
    """Return a command in a line; control characters are the program's own, and not for a reader."""
    text = " ".join(argv) or f"[{comm}]"
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."

"""The page of a check: its verdict, each finding with its remedy and evidence, and every run with its timeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from bento.check.formats import words as check_words
from bento.model.check import Check, CheckRun, CheckVerdict, Evidence, Finding, SeenProcess, Severity
from bento.pages.lanes import timeline
from bento.pages.page import Column, facts, figure, page, table
from bento.pages.stop_page import moment, record
from bento.pages.text import NAME_MAX, html, seconds, sentence
from bento.pages.words import BAD, FAIR, GOOD, SIGNS
from bento.units import signal_name

_LEVELS: Final = {CheckVerdict.PASSED: GOOD, CheckVerdict.FAILED: BAD, CheckVerdict.UNJUDGED: FAIR}
_SEVERITIES: Final = {Severity.ERROR: BAD, Severity.WARNING: FAIR, Severity.INFO: GOOD}
_ARGV_MAX: Final = 300
_SIGNALS_MAX: Final = 6


def check_page(*found: Check) -> str:
    """Return a check as a page of its own, or several of one file, one after the other."""
    if len(found) != 1:
        return _several(found)
    (one,) = found
    head = f"<h1>Check of {_name(one.subject)}</h1>{_verdict(one)}"
    foot = f"Made by Bento: a check of {html(one.kind.value)}, begun {html(moment(one.started_unix_ns))}."
    return page(f"Check of {one.subject}: {one.verdict.value}", head, _body(one, rank=2, key=""), foot=foot)


def _several(found: Sequence[Check]) -> str:
    worst = max(found, key=lambda one: list(_LEVELS).index(one.verdict), default=None)
    level = _LEVELS[worst.verdict] if worst else GOOD
    counts = ", ".join(
        f"{sum(one.verdict is verdict for one in found)} {verdict.value}"
        for verdict in _LEVELS
        if any(one.verdict is verdict for one in found)
    )
    rows = [
        (one.subject, f"{SIGNS[_LEVELS[one.verdict]]} {check_words.headline(one)}", ", ".join(_ids(one)))
        for one in found
    ]
    columns = (("What", Column.NAME), ("Verdict", Column.WORDS), ("Findings", Column.WORDS))
    head = (
        f'<h1>Checks</h1><p class="verdict {level}"><b>{SIGNS[level]} {html(counts or "nothing was checked")}</b></p>'
    )
    body = table("All of them", columns, rows, rank=2) + "\n".join(
        f"<h2>{_name(one.subject)}</h2>{_verdict(one)}{_body(one, rank=3, key=f'-{number}')}"
        for number, one in enumerate(found, 1)
    )
    return page("Checks", head, body, foot=f"Made by Bento: {len(found)} checks.")


def _ids(found: Check) -> list[str]:
    return list(dict.fromkeys(one.id for one in found.findings))


def _name(subject: str) -> str:
    return f"<code><bdi>{html(subject, most=NAME_MAX)}</bdi></code>"


def _verdict(found: Check) -> str:
    level = _LEVELS[found.verdict]
    return f'<p class="verdict {level}"><b>{SIGNS[level]} {html(check_words.headline(found))}</b></p>'


def _body(found: Check, *, rank: int, key: str) -> str:
    """Return all below the verdict, with headings from this rank on. ``key``: what sets it apart on its page."""
    return "\n".join(
        (
            f"<h{rank}>Findings</h{rank}>{''.join(_finding(one, rank + 1) for one in found.findings) or _NONE}",
            f"<h{rank}>The check</h{rank}>{facts(_facts(found))}",
            f"<h{rank}>Runs</h{rank}>{_runs(found.runs, rank + 1)}",
            *(_run(run, rank + 1, key) for run in found.runs),
        )
    )


_NONE: Final = "<p>None.</p>"


def _facts(found: Check) -> list[tuple[str, str]]:
    rows = [
        ("Judged by", f"the plain stop: {check_words.asked(found)}"),
        ("Command of PID 1", " ".join(found.command)[:_ARGV_MAX] or "not known"),
        ("Took", seconds(found.duration_s)),
        ("Fails on", f"findings of severity {found.fail_on.value} and above"),
    ]
    if own := check_words.with_bento(found):
        rows.append(("Bento's own stop would be", own))
    return rows


# -- findings -----------------------------------------------------------------------------------------


def _finding(one: Finding, rank: int) -> str:
    level = _SEVERITIES[one.severity]
    runs = f" Seen in run{'s' * (len(one.runs) > 1)} {', '.join(map(str, one.runs))}." if one.runs else ""
    return (
        f'<section class="finding"><h{rank}>'
        f'<span class="tag {level}">{SIGNS[level]} {html(one.severity.value)}</span>'
        f" {html(one.id)}: {html(one.title)}</h{rank}><p>{html(sentence(one.detail))}{html(runs)}</p>"
        f'<div class="todo"><p><b>To do:</b> {html(sentence(one.remedy.text))}</p>{_changes(one)}</div>'
        f"<details><summary>What it rests on</summary>{_evidence(one.evidence, rank + 1)}</details></section>"
    )


def _changes(one: Finding) -> str:
    found = check_words.changes(one)
    if not found:
        return ""
    rows = "".join(
        f"<div><dt>{html(place)}</dt><dd><pre>{'<br>'.join(map(html, text.split(chr(10))))}</pre></dd></div>"
        for place, text in found
    )
    return f'<p>{"Any one of these" if len(found) > 1 else "Such as"}:</p><dl class="changes">{rows}</dl>'


def _evidence(evidence: Evidence, rank: int) -> str:
    lines = [line for fact in evidence.facts for line in fact.splitlines()]
    items = "".join(f"<li>{html(line)}</li>" for line in lines)
    return f"{f'<ul>{items}</ul>' * bool(lines)}{_processes(evidence.processes, rank)}" + table(
        "What happened",
        (("At", Column.TIME), ("What", Column.WORDS)),
        [(_at(one.at_s), one.text) for one in evidence.timeline],
        rank=4,
    )


def _at(at_s: float) -> str:
    return seconds(at_s) if at_s >= 0 else f"{seconds(-at_s)} before"


def _processes(processes: tuple[SeenProcess, ...], rank: int) -> str:
    columns = (
        ("PID", Column.NUMBER),
        ("Parent", Column.NUMBER),
        ("Command", Column.NAME),
        ("State", Column.TIME),
        ("Stop signal", Column.WORDS),
        ("Catches", Column.WORDS),
        ("Blocks", Column.WORDS),
        ("Ignores", Column.WORDS),
        ("It", Column.WORDS),
        ("In", Column.WORDS),
    )
    rows = [
        (
            one.pid,
            one.ppid or "",
            check_words.shown(one.argv, one.comm, _ARGV_MAX),
            one.state,
            f"{one.receives}: {one.why}" if one.receives else "",
            _signals(one.caught),
            _signals(one.blocked),
            _signals(one.ignored),
            one.waits,
            ", ".join(one.calls),
        )
        for one in processes
    ]
    return table("Processes before the signal", columns, rows, rank=rank)


def _signals(mask: int) -> str:
    """Return the signals of a mask by their names, some of them where they are many."""
    names = [signal_name(number).removeprefix("SIG") for number in range(1, 65) if mask >> (number - 1) & 1]
    more = len(names) - _SIGNALS_MAX
    return f"{', '.join(names[:_SIGNALS_MAX])} and {more} more" if more > 1 else ", ".join(names)


# -- runs ---------------------------------------------------------------------------------------------


def _runs(runs: tuple[CheckRun, ...], rank: int) -> str:
    columns = (("Run", Column.NUMBER), ("What was done", Column.WORDS), ("What came of it", Column.WORDS))
    rows = [(run.number, check_words.KINDS[run.kind], check_words.run_words(run)) for run in runs]
    return table("All runs", columns, rows, rank=rank) or _NONE


def _run(run: CheckRun, rank: int, key: str) -> str:
    """Return what there is to be seen of a run; "" where it is no more than its line in the table."""
    parts = []
    if run.report is not None:
        shown = timeline(run.report, run.requests)
        title = f"Timeline of run {run.number}, {check_words.KINDS[run.kind]}"
        parts.append(figure(replace(shown, title=title), key=f"{key}-{run.number}"))
    parts.append(_processes(run.processes, rank + 1))
    if run.report is not None:
        parts.append(f"<details><summary>The record of its stop</summary>{record(run.report, rank=rank + 1)}</details>")
    if run.command is not None and run.command.output:
        lines = "<br>".join(map(html, run.command.output.split("\n")))
        parts.append(f"<h{rank + 1}>Output of the command</h{rank + 1}><pre>{lines}</pre>")
    whole = "".join(parts)
    return f"<h{rank}>Run {run.number}: {html(check_words.KINDS[run.kind])}</h{rank}>{whole}" if whole else ""

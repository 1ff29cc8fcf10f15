"""The page of one stop."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from bento.model.stop import StopReport
from bento.pages import words
from bento.pages.lanes import timeline, told
from bento.pages.page import Column, facts, figure, page, picture, table
from bento.pages.text import NAME_MAX, html, seconds, sentence
from bento.pages.tree import tree, with_depth

EVENTS_MAX: Final = 500
"""Rows of what happened in order; the other tables have the rest."""


def stop_page(report: StopReport) -> str:
    """Return the report of a stop as a page of its own."""
    name = report.name or report.id[:12]
    body = "\n".join(
        (
            f'<h2 id="why">Why</h2><p>{html(sentence(report.cause))}</p>',
            _to_do(report),
            f'<h2 id="timeline">Timeline</h2>{figure(timeline(report))}',
            '<p class="muted">The same in words: <a href="#record">the record</a>.</p>',
            f'<h2 id="facts">The stop</h2>{facts(_facts(report))}',
            _tree(report),
            f'<h2 id="record">The record</h2>{record(report)}',
        )
    )
    level = words.level(report)
    head = (
        f"<h1>Stop of <code><bdi>{html(name, most=NAME_MAX)}</bdi></code></h1>"
        f'<p class="verdict {level}"><b>{words.SIGNS[level]} {html(report.verdict.value)}</b>: '
        f"{html(words.verdict(report))}, in {seconds(report.duration_s)}"
        f"{' (slow: over half of its grace)' * report.is_slow}; exit code {html(words.exit_code(report))}.</p>"
    )
    foot = f"Made by Bento from the report of container <code>{html(report.id, most=NAME_MAX)}</code>."
    return page(f"Stop of {name}: {report.verdict.value}", head, body, foot=foot)


def stop_picture(report: StopReport) -> str:
    """Return the timeline of a stop as an SVG file."""
    return picture(timeline(report))


def record(report: StopReport, *, rank: int = 3) -> str:
    """Return everything that the report has, as tables with headings of this rank."""
    phases = [(seconds(one.start_s), seconds(one.duration_s), one.name, words.phase(one.name)) for one in report.phases]
    hooks = [
        (
            seconds(hook.start_s),
            seconds(hook.duration_s),
            f"{hook.when}, {hook.kind}",
            hook.command,
            hook.error or "succeeded",
        )
        for hook in report.hooks
    ]
    tables = (
        ("In order of time", (("At", Column.TIME), ("What", Column.WORDS)), _events(report)),
        ("Processes", _PROCESS, _processes(report)),
        ("Phases", _PHASE, phases),
        ("Hooks", _HOOK, hooks),
        ("Notes", (("Note", Column.WORDS),), [(note,) for note in report.notes]),
        ("Errors of the clean-up", (("Error", Column.WORDS),), [(error,) for error in report.errors]),
    )
    return "".join(table(title, columns, rows, rank=rank) for title, columns, rows in tables)


_PHASE: Final = (("From", Column.TIME), ("Took", Column.TIME), ("Phase", Column.TIME), ("What it is", Column.WORDS))
_HOOK: Final = (
    ("From", Column.TIME),
    ("Took", Column.TIME),
    ("When", Column.WORDS),
    ("Command", Column.NAME),
    ("Result", Column.WORDS),
)
_PROCESS: Final = (
    ("PID", Column.NUMBER),
    ("Parent", Column.NUMBER),
    ("Name", Column.NAME),
    ("Stop signal", Column.WORDS),
    ("At first it", Column.WORDS),
    ("Was told", Column.TIME),
    ("Held", Column.TIME),
    ("End", Column.WORDS),
    ("At", Column.TIME),
)


def _to_do(report: StopReport) -> str:
    if not report.remedy:
        return ""
    todo = sentence(f"{report.remedy[0].upper()}{report.remedy[1:]}")
    return f'<h2 id="todo">What to do</h2><div class="todo"><p>{html(todo)}</p></div>'


def _facts(report: StopReport) -> list[tuple[str, str]]:
    return [
        ("Began", moment(report.started_unix_ns)),
        ("Took", seconds(report.duration_s)),
        ("Grace", words.grace(report)),
        ("Asked for by", report.asked_by.value),
        ("Stop signal", f"{report.signal}, by method {report.method}"),
        ("PID 1 and the signal", f"PID 1 {words.receives(report.disposition)}"),
        ("Exit code", words.exit_code(report)),
        ("Graceful, as --strict asks", "yes" if report.is_graceful else "no"),
    ]


def moment(unix_ns: int) -> str:
    """Return a moment of the wall clock."""
    try:
        return f"{datetime.fromtimestamp(unix_ns // 10**9, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):  # a clock that was set to no date at all
        return f"{unix_ns} ns after 1970 began"


def _tree(report: StopReport) -> str:
    if not report.processes:
        return ""
    return f'<h2 id="processes">Processes</h2>{tree(report)}'


def _events(report: StopReport) -> list[tuple[str, str]]:
    """Return all that has a time, in order: the timeline in words."""
    found: list[tuple[float, int, str]] = []
    for phase in report.phases:
        found.append((phase.start_s, 0, f"Phase: {phase.name}"))
    for hook in report.hooks:
        found.append((hook.start_s, 1, f"Hook, {hook.when}: {hook.command}"))
    for sent in report.signalled:
        name = sent.signal or ("SIGTERM" if sent.session else report.signal)
        found.append((sent.at_s, 2, f"{name} to {sent.comm} ({sent.pid}): {sent.why}"))
    for held in report.held:
        found.append((held.at_s, 3, f"{held.comm} ({held.pid}) is held: {held.why}"))
    for process in report.processes:
        if process.began_s is not None:
            found.append((process.began_s, 4, f"{process.comm} ({process.pid}) begins"))
        if process.ended_s is not None:
            found.append((process.ended_s, 5, f"{process.comm} ({process.pid}): {words.ending(process)}"))
    found.sort()
    rows = [(seconds(at_s), text) for at_s, _, text in found[:EVENTS_MAX]]
    if len(found) > EVENTS_MAX:
        rows.append(("", f"and {len(found) - EVENTS_MAX} more"))
    return rows


def _processes(report: StopReport) -> list[tuple[object, ...]]:
    signalled = {one.pid: one for one in report.signalled}
    held = {one.pid: one for one in report.held}
    rows: list[tuple[object, ...]] = []
    for process, _ in with_depth(report.processes):
        sent = signalled.get(process.pid)
        held_s = held[process.pid].at_s if process.pid in held else words.at_exit_s(sent, report)
        rows.append(
            (
                process.pid,
                process.ppid or "",
                process.comm,
                words.receives(process.receives),
                process.waited,
                told(sent, report) if sent else "",
                "" if held_s is None else f"from {seconds(held_s)}",
                words.ending(process),
                "" if process.ended_s is None else seconds(process.ended_s),
            )
        )
    return rows

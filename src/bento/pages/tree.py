"""The processes of a report as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bento.model.stop import Held, ProcessEnd, Signalled, StopReport
from bento.pages.text import NAME_MAX, html, seconds
from bento.pages.words import ending, receives

_DEPTH_MAX: Final = 6
"""Nested lists; what is deeper stands beside its parent, and names it."""
_OPEN_MAX: Final = 12
"""So many processes are shown with all that is to be said of them; of more each is opened by hand."""


def with_depth(processes: tuple[ProcessEnd, ...]) -> list[tuple[ProcessEnd, int]]:
    """Return each process once, parents before their children, with its depth. Whatever the pids say: no loop."""
    first = {process.pid: index for index, process in reversed(list(enumerate(processes)))}
    children: dict[int, list[int]] = {}
    roots = []
    for index, process in enumerate(processes):
        parent = first.get(process.ppid)
        if parent is None or parent == index:
            roots.append(index)
        else:
            children.setdefault(parent, []).append(index)
    found: list[tuple[ProcessEnd, int]] = []
    seen: set[int] = set()
    for root in (*roots, *range(len(processes))):  # what is on a loop is below no root
        waiting = [(root, 0)]
        while waiting:
            index, depth = waiting.pop()
            if index not in seen:
                seen.add(index)
                found.append((processes[index], depth))
                waiting += [(child, depth + 1) for child in reversed(children.get(index, []))]
    return found


def tree(report: StopReport) -> str:
    """Return the tree as nested lists, each process with what was seen of it."""
    signalled: dict[int, list[Signalled]] = {}
    for sent in report.signalled:
        signalled.setdefault(sent.pid, []).append(sent)
    held = {one.pid: one for one in report.held}
    is_open = len(report.processes) <= _OPEN_MAX
    items = (
        (depth, _item(process, depth, signalled.get(process.pid, []), held.get(process.pid), report, is_open=is_open))
        for process, depth in with_depth(report.processes)
    )
    return "".join(_nested(items))


def _nested(items: Iterator[tuple[int, str]]) -> Iterator[str]:
    """Yield lists in lists. An item is closed when what is below it has been."""
    level = -1
    for depth, text in items:
        wanted = min(depth, _DEPTH_MAX, level + 1)
        if wanted > level:
            yield '<ul class="tree">' if wanted == 0 else "<ul>"
        else:
            yield "</li>" + "</ul></li>" * (level - wanted)
        level = wanted
        yield f"<li>{text}"
    if level >= 0:
        yield "</li></ul>" * (level + 1)


def _item(
    process: ProcessEnd, depth: int, sent: list[Signalled], held: Held | None, report: StopReport, *, is_open: bool
) -> str:
    rows = [("The stop signal", receives(process.receives))]
    if process.waited:
        rows.append(("At first it", process.waited))
    rows.append(("Was told", "; ".join(_told(one, report) for one in sent) or "nothing, by Bento"))
    if held:
        rows.append(("Was held", f"from {seconds(held.at_s)} on: {held.why}"))
    if process.session:
        rows.append(("Came", "by an exec session"))
    if process.began_s is not None:
        rows.append(("Began", f"during the stop, at {seconds(process.began_s)}"))
    if depth > _DEPTH_MAX:
        rows.append(("Is below", f"process {process.ppid}"))
    body = "".join(f"<div><dt>{html(name)}</dt><dd>{html(words)}</dd></div>" for name, words in rows)
    at = "" if process.ended_s is None else f" at {seconds(process.ended_s)}"
    return (
        f"<details{' open' * is_open}><summary><code><bdi>{html(process.comm, most=NAME_MAX)}</bdi></code>"
        f' <span class="pid">{process.pid}</span> {html(ending(process))}{at}</summary><dl>{body}</dl></details>'
    )


def _told(sent: Signalled, report: StopReport) -> str:
    name = sent.signal or ("SIGTERM" if sent.session else report.signal)
    return f"{name} at {seconds(sent.at_s)} ({sent.why})"

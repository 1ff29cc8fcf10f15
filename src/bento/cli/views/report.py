"""``bento report``: the last stop, drawn in the terminal or as a page."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from bento.cli.context import Context, say
from bento.cli.options import foreign
from bento.cli.output.page_file import check_page_file, write_page
from bento.errors import NotFound, UsageError
from bento.lazy import LazyModule
from bento.model.stop import Held, ProcessEnd, Signalled, StopReport
from bento.pages.words import at_exit_s, ending

if TYPE_CHECKING:
    from bento.pages import stop_page
else:  # only for a page
    stop_page = LazyModule("bento.pages.stop_page")

_NAME_WIDTH = 16
_WIDTH_LEAST, _WIDTH_MOST = 20, 60


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--format", choices=("text", "json"))
    parser.add_argument("--html", metavar="FILE", help="write a page for a browser; - for stdout")
    foreign.configure(parser)
    parser.add_argument("container", nargs="?", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    if args.html is not None:
        if args.format is not None:
            raise UsageError("report: --html and --format exclude each other")
        check_page_file("report", args.html)
    name, report = _find(args, context)
    if args.html is not None:
        write_page(args.html, stop_page.stop_page(report))
    elif args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        for line in draw(name, report, columns=_columns()):
            say("".join(letter if letter.isprintable() else "?" for letter in line))  # names are the container's
    return 0


def _find(args: argparse.Namespace, context: Context) -> tuple[str, StopReport]:
    """Return what was stopped, as it is called now, and the report."""
    wanted = foreign.read_one(args, args.container, "report") if foreign.is_meant(args) else None
    if args.container is None and wanted is None:
        raise UsageError("report: one container, or --pid", hint="see bento report --help")
    with context.engine() as engine:
        if wanted is not None:
            report = engine.foreign_report(wanted)
            return report.name, report
        container = engine.get(args.container)
    if container.report is None:
        raise NotFound(f"container {container.name} was never stopped", hint="a report is left by bento stop")
    return container.name, container.report


def _columns() -> int:
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 100


def draw(name: str, report: StopReport, *, columns: int) -> list[str]:
    """Return the report as lines: what was asked, the verdict, and phases and processes on one time axis."""
    axis = _Axis(report.duration_s, columns)
    grace = "never to be killed" if report.grace_s < 0 else f"a grace of {report.grace_s:g} s"
    code = "an unknown exit code" if report.exit_code is None else f"exit code {report.exit_code}"
    lines = [
        f"{name}: {report.verdict.value}, {code}, in {_time(report.duration_s)}{' (slow)' if report.is_slow else ''}",
        f"  why    {report.cause}",
    ]
    if report.remedy:
        lines.append(f"  to do  {report.remedy}")
    lines.append(
        f"  asked  by {report.asked_by.value}: {report.signal} by method {report.method}, {grace};"
        f" PID 1 was {report.disposition}"
    )
    lines += ["", "phases"]
    for phase in report.phases:
        bar = axis.bar(phase.start_s, phase.start_s + phase.duration_s)
        lines.append(f"  {phase.name:<{_NAME_WIDTH}} {bar} {_time(phase.duration_s):>8}")
    if report.processes:
        lines += ["", "processes"]
    signalled = {one.pid: one for one in reversed(report.signalled)}  # the first that it got
    held = {one.pid: one for one in report.held}
    for process in report.processes:
        lines.append(_process(process, signalled.get(process.pid), held.get(process.pid), report, axis))
    if held:
        lines += ["", "held", *(f"  {one.pid} {one.comm}: {one.why}" for one in report.held)]
    lines += [f"  note   {text}" for text in (*report.notes, *report.errors)]
    return lines


class _Axis:
    """The time axis: from the beginning of the stop to its end, over the width that is left."""

    def __init__(self, duration_s: float, columns: int) -> None:
        self.width = max(_WIDTH_LEAST, min(_WIDTH_MOST, columns - _NAME_WIDTH - 50))
        self._per_s = self.width / duration_s if duration_s > 0 else 0.0
        is_wide = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        self._full, self._held, self._mark, self._rest = ("█", "▒", "▼", "·") if is_wide else ("#", "=", "v", ".")

    def _cell(self, at_s: float) -> int:
        return min(self.width - 1, max(0, int(at_s * self._per_s)))

    def bar(self, start_s: float, end_s: float, *, mark_s: float | None = None, held_s: float | None = None) -> str:
        """Return the axis with what lasted from start to end filled in; at least one cell.

        ``mark_s``: a moment. ``held_s``: it was held from then to the end.
        """
        cells = [self._rest] * self.width
        for cell in range(self._cell(start_s), self._cell(end_s) + 1):
            cells[cell] = self._full if held_s is None or cell < self._cell(held_s) else self._held
        if mark_s is not None:
            cells[self._cell(mark_s)] = self._mark
        return "".join(cells)


def _process(
    process: ProcessEnd, signalled: Signalled | None, held: Held | None, report: StopReport, axis: _Axis
) -> str:
    end_s = report.duration_s if process.ended_s is None else process.ended_s
    held_s = held.at_s if held else at_exit_s(signalled, report)
    bar = axis.bar(0.0, end_s, mark_s=signalled.at_s if signalled else None, held_s=held_s)
    label = f"{process.pid} {process.comm}"[:_NAME_WIDTH]
    words = ["not signalled"]
    if signalled:
        other = f" with {signalled.signal}" if signalled.signal not in ("", report.signal) else ""
        words = [f"signalled{other} at {_time(signalled.at_s)}"]
    if held_s is not None:
        words.append(f"held{'' if held else ' at its exit'} from {_time(held_s)}")
    return f"  {label:<{_NAME_WIDTH}} {bar} {ending(process)}; {', '.join(words)}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"

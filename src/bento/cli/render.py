"""Tables and times for people."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from bento import clock, log
from bento.model.container import Container, Status
from bento.units import short_id

_DAY_S = 86400
# From so many seconds on, in units of so many: a week begins to count as such after two of them, as Docker has it.
_UNITS = (
    (730 * _DAY_S, 365 * _DAY_S, "year"),
    (60 * _DAY_S, 30 * _DAY_S, "month"),
    (14 * _DAY_S, 7 * _DAY_S, "week"),
    (_DAY_S, _DAY_S, "day"),
    (3600, 3600, "hour"),
    (60, 60, "minute"),
    (1, 1, "second"),
)
_COMMAND_MAX = 30


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return left-aligned columns, three blanks apart, as Docker prints them.

    What is in a cell may be an image's own words: it stays in its line, and gives a terminal no orders.
    """
    return aligned([header, *([log.printable(cell) for cell in row] for row in rows)])


def headless(text: str) -> str:
    """Return a table without its header."""
    return text.partition("\n")[2]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return the same of rows that need not be of the same length."""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def ago(unix_ns: int) -> str:
    """Return how long ago something was: ``3 minutes ago``."""
    return f"{span(clock.wall_ns() - unix_ns)} ago"


def span(duration_ns: int) -> str:
    """Return a duration in its largest unit: ``3 minutes``."""
    seconds = max(0, duration_ns // 10**9)
    for least, size, name in _UNITS:
        if seconds >= least:
            count = seconds // size
            return f"{count} {name}{'s' if count != 1 else ''}"
    return "Less than a second"


def status_text(container: Container) -> str:
    """Return Docker's words for a container's state."""
    match container.status:
        case Status.CREATED:
            return "Created"
        case Status.STARTING:
            return "Starting"
        case Status.RESTARTING:
            ended = container.exit
            return f"Restarting ({'?' if ended is None or ended.code is None else ended.code})"
        case Status.STOPPED:
            ended = container.exit
            code = "?" if ended is None or ended.code is None else str(ended.code)
            return f"Exited ({code}) {ago(ended.finished_unix_ns) if ended else ''}".rstrip()
        case Status.STOPPING:
            deadline_s = container.intent.deadline_boot_s if container.intent else None
            left = f" ({max(0.0, deadline_s - clock.boot_s()):.0f} s left)" if deadline_s is not None else ""
            return f"Stopping{left}"
        case Status.RUNNING | Status.PAUSED:
            up = span(clock.wall_ns() - container.run.started_unix_ns) if container.run else "?"
            return f"Up {up}" + (" (Paused)" if container.status is Status.PAUSED else "")


def command_text(container: Container, *, is_whole: bool = False) -> str:
    """Return the command in quotes, cut short unless ``is_whole``."""
    command = " ".join(container.spec.argv)
    return f'"{command if is_whole else cut(command, _COMMAND_MAX)}"'


def cut(text: str, longest: int) -> str:
    """Return a text, cut short where it is longer than so many characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def one_line(text: str) -> str:
    """Return a text of somebody else's as one line that gives a terminal no orders."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


def short_image_id(image_id: str) -> str:
    """Return the 12 digits that people read of an image's id."""
    return short_id(image_id.removeprefix("sha256:"))


def ports_text(container: Container) -> str:
    """Return where a container's ports are reached, as Docker writes it: ``0.0.0.0:8080->80/tcp``."""
    connection = container.run.connection if container.run and container.status.is_live else None
    return ", ".join(f"{port.outside}->{port.inside}" for port in connection.ports) if connection else ""


def size_text(size_bytes: int) -> str:
    """Return a size in decimal units, as Docker does."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.3g}{unit}" if value < 1000 else f"{value:.0f}{unit}"

"""What Bento says of its own doings, on stderr, on request (``--log-level``).

The standard logging package takes as long to import as the rest of a command line start; these few
lines do what a tool needs. A library user can take the lines over by setting ``sink``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error")

_threshold = LEVELS.index("warning")


def printable(text: str) -> str:
    """Return a text in one line that gives a terminal no orders: it may quote a stranger's words."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def harmless(text: str) -> str:
    """Return a text of any number of lines in which nothing gives a terminal orders; tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def _to_stderr(level: str, text: str) -> None:
    sys.stderr.write(f"bento[{os.getpid()}] {level}: {printable(text)}\n")


sink: Callable[[str, str], None] = _to_stderr


def set_level(level: str) -> None:
    """Show lines of this level and above. Raises ValueError for an unknown one."""
    global _threshold
    _threshold = LEVELS.index(level)


def is_debug() -> bool:
    """Whether debug lines are shown, for text that is costly to make."""
    return _threshold == 0


def debug(text: str) -> None:
    """For following what Bento does: commands as they could be pasted, steps of a stop."""
    if _threshold == 0:
        sink("debug", text)


def info(text: str) -> None:
    """For what has happened."""
    if _threshold <= 1:
        sink("info", text)


_warned: set[str] = set()


def warning_once(text: str) -> None:
    """A warning that a process gives only once, however often the same occurs."""
    if text not in _warned:
        _warned.add(text)
        warning(text)


def forget_warnings() -> None:
    """Have ``warning_once`` say it again: another piece of work begins in this process."""
    _warned.clear()


def warning(text: str) -> None:
    """For what a user should act on, though the command goes on."""
    if _threshold <= 2:
        sink("warning", text)

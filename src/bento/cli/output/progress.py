"""Several stops on a terminal: a line for each container with its phase and the time left, redrawn in place.

Below the lines that stay. Loaded only when stderr is a terminal, so no other use pays for it.
"""

from __future__ import annotations

import os
import sys

from bento import clock
from bento.engine.base.worker import Message

REDRAWN_EVERY_S = 0.2
_NAME_WIDTH = 24
_PHASES = {
    "waiting": "waits for those that require it",
    "joined": "is being stopped by another process",
    "requested": "is looked at",
    "hooking": "hooks run",
    "grace": "signalled",
    "killing": "SIGKILL",
    "cleaning": "has ended, is cleaned up",
    "stuck": "stuck",
}
_LEFT = {"hooking": "s until SIGKILL", "grace": "s until SIGKILL", "killing": "s until it is given up"}


class Screen:
    """The lines of the containers that have not ended yet, at the bottom of the terminal."""

    def __init__(self, *, columns: int, rows: int) -> None:
        self._columns, self._rows = columns, rows
        self._messages: dict[str, Message] = {}
        self._drawn = 0

    @classmethod
    def on_terminal(cls) -> Screen | None:
        """Return one for stderr, or None when that cannot move its cursor, or has no size."""
        size = os.get_terminal_size(2)
        if os.environ.get("TERM", "dumb") == "dumb" or size.columns < 40 or size.lines < 4:
            return None
        return cls(columns=size.columns, rows=size.lines)

    def take(self, message: Message) -> None:
        """Note what a worker has reported; make room for whatever is printed because of it."""
        if message.kind == "phase":
            self._messages[message.name] = message
        elif message.kind in ("ended", "failed"):
            self._messages.pop(message.name, None)
            self.erase()

    def draw(self) -> None:
        """Draw all lines anew."""
        lines = self._lines(self._rows - 2)
        text = self._back()
        text += "".join(f"{line[: self._columns - 1]}\x1b[K\n" for line in lines)
        self._write(f"{text}\x1b[J", drawn=len(lines))

    def erase(self) -> None:
        """Remove the lines; the cursor stands where they began."""
        if self._drawn:
            self._write(f"{self._back()}\x1b[J", drawn=0)

    def _lines(self, most: int) -> list[str]:
        lines = [line_of(message) for message in self._messages.values()]
        if len(lines) > most:
            lines = [*lines[: most - 1], f"... and {len(lines) - most + 1} more"]
        return lines

    def _back(self) -> str:
        return f"\x1b[{self._drawn}A\r" if self._drawn else ""

    def _write(self, text: str, *, drawn: int) -> None:
        """Write, and note how many lines are there then: Ctrl-C comes right after what it has waited for."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        finally:
            self._drawn = drawn


def line_of(message: Message) -> str:
    """Return the line of one container: its phase, and the time left."""
    text = _PHASES.get(message.phase, message.phase)
    if message.phase in _LEFT:
        left_s = None if message.until_s is None else max(0.0, message.until_s - clock.mono_s())
        text += ", is never killed" if left_s is None else f", {left_s:.0f} {_LEFT[message.phase]}"
    return f"{message.name:<{_NAME_WIDTH}} {text}"

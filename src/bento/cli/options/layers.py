"""An image on its way, for a person: a line for each layer, on a terminal redrawn in place, else once it is there."""

from __future__ import annotations

import os
import sys
import threading

from bento import clock
from bento.docker.words import size_text
from bento.model.transfer import TransferProgress

_REDRAWN_EVERY_S = 0.1
_BAR_WIDTH = 24
_WORDS = {"waiting": "waits", "present": "is here already", "moved": "transferred", "unpacking": "unpacking",
          "done": "done"}  # fmt: skip


class LayerScreen:
    """Shows what ``on_progress`` gets, from any thread, on stderr. Call ``close`` at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, TransferProgress] = {}
        self._drawn = 0
        self._next_s = 0.0
        self._columns, self._rows = _terminal()

    def __call__(self, progress: TransferProgress) -> None:
        """Take a report."""
        with self._lock:
            before = self._lines.get(progress.digest)
            self._lines[progress.digest] = progress
            is_news = before is None or before.phase != progress.phase
            if self._columns:
                now_s = clock.mono_s()
                if now_s >= self._next_s:
                    self._next_s = now_s + _REDRAWN_EVERY_S
                    self._draw()
            elif is_news and progress.phase in ("present", "moved"):
                self._write(f"{_short(progress)}: {_text(progress)}\n")

    def close(self) -> None:
        """Draw the end of it."""
        with self._lock:
            if self._columns and self._lines:
                self._draw()

    def _draw(self) -> None:
        shown = list(self._lines.values())
        most = self._rows - 2
        if len(shown) > most:  # what moves is what people look for
            shown = sorted(shown, key=lambda each: each.phase in ("done", "present", "waiting"))[:most]
        text = f"\x1b[{self._drawn}A\r" if self._drawn else ""
        for progress in shown:
            text += f"{_short(progress)}  {_text(progress)}"[: self._columns - 1] + "\x1b[K\n"
        self._write(f"{text}\x1b[J")
        self._drawn = len(shown)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _terminal() -> tuple[int, int]:
    """Return columns and rows of the terminal on stderr; (0, 0) when there is none that can be drawn on."""
    if not os.isatty(2) or os.environ.get("TERM", "dumb") == "dumb":
        return 0, 0
    size = os.get_terminal_size(2)
    return (size.columns, size.lines) if size.columns >= 40 and size.lines >= 4 else (0, 0)


def _short(progress: TransferProgress) -> str:
    return progress.digest.partition(":")[2][:12]


def _text(progress: TransferProgress) -> str:
    total = progress.total_bytes
    if progress.phase != "moving":
        return f"{_WORDS[progress.phase]}, {size_text(total)}"
    filled = _BAR_WIDTH * progress.done_bytes // total if total else 0
    bar = ("=" * filled + ">")[:_BAR_WIDTH].ljust(_BAR_WIDTH)
    return f"[{bar}] {size_text(progress.done_bytes)} / {size_text(total)}"

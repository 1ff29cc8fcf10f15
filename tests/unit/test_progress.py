"""The lines of several stops on a terminal: what is drawn is erased, whenever Ctrl-C comes."""

from __future__ import annotations

import io
import sys

import pytest

from bento.cli.output.progress import Screen
from bento.engine.base.worker import Message


class Interrupted(io.StringIO):
    """Ctrl-C comes while a text is written: its handler runs when that is done."""

    def write(self, text: str) -> int:
        super().write(text)
        raise KeyboardInterrupt


def test_s06_lines_that_were_drawn_when_ctrl_c_came_are_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(columns=80, rows=24)
    for name in ("a", "b", "c"):
        screen.take(Message(kind="phase", name=name, phase="grace"))
    monkeypatch.setattr(sys, "stderr", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        screen.draw()
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    screen.erase()
    assert written.getvalue() == "\x1b[3A\r\x1b[J"

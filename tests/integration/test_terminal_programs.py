"""Programs that draw the screen, seen as in a terminal emulator: tmux, with a server of the test's own."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import procs
from support.cli import BentoCli
from support.workload import ONE_RUNTIME


class Screen:
    """One pane of tmux."""

    def __init__(self, socket: Path) -> None:
        self._tmux = ["tmux", "-u", "-S", str(socket), "-f", "/dev/null"]

    def start(self, words: list[str], *, columns: int, rows: int) -> None:
        size = ["-x", str(columns), "-y", str(rows)]
        self("new-session", "-d", "-s", "t", *size, shlex.join(words))

    def __call__(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def type(self, *keys: str) -> None:
        self("send-keys", "-t", "t", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self("resize-window", "-t", "t", "-x", str(columns), "-y", str(rows))

    def lines(self) -> list[str]:
        return self("capture-pane", "-p", "-t", "t").split("\n")[:-1]

    def wait_for_line(self, number: int, text: str) -> None:
        """Until this line of the screen, counted from the last one where negative, has the text."""
        procs.wait_until(
            lambda: len(self.lines()) >= abs(number) and text in self.lines()[number],
            what=f"{text!r} in line {number}", every_s=0.05,
        )  # fmt: skip

    def wait_for(self, text: str) -> None:
        """Until any line of the screen has the text."""
        procs.wait_until(lambda: any(text in line for line in self.lines()), what=repr(text), every_s=0.05)

    def end(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, timeout=60, check=False)


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    made = Screen(tmp_path / "tmux")
    yield made
    made.end()


@ONE_RUNTIME
def test_programs_draw_the_screen_anew_after_a_resize(bento: BentoCli, screen: Screen) -> None:
    prepare = "seq -f 'line %.0f grün' 200 > /tmp/text; export LC_ALL=C.UTF-8 PS1='ready> '; exec bash --norc"
    words = [*bento.prefix, "run", "-it", "--rm", "-e", "TERM=screen-256color", "host", "/bin/bash", "-c", prepare]
    screen.start(words, columns=80, rows=24)
    screen.wait_for_line(0, "ready>")
    screen.type("vim -u NONE -c 'set laststatus=2 | set statusline=the-end' /tmp/text", "Enter")
    screen.wait_for_line(0, "line 1 grün")
    screen.wait_for_line(-2, "the-end")
    screen.resize(60, 12)
    screen.wait_for_line(-2, "the-end")
    assert [line for line in screen.lines()[:10] if line] == [f"line {n} grün" for n in range(1, 11)]
    screen.type(":q!", "Enter")
    screen.wait_for("ready>")
    screen.type("clear; less /tmp/text", "Enter")
    screen.wait_for_line(10, "line 11 grün")
    screen.resize(70, 20)
    screen.wait_for_line(18, "line 19 grün")
    screen.type("q")
    screen.wait_for("ready>")
    screen.type("clear; top", "Enter")
    screen.wait_for_line(0, "top - ")
    screen.resize(90, 10)
    screen.wait_for_line(0, "top - ")
    screen.type("q")
    screen.wait_for("ready>")
    screen.type("clear; stty size; printf '\\033[31mred\\033[0m\\n'", "Enter")
    screen.wait_for_line(0, "10 90")
    screen.wait_for_line(1, "red")
    assert "\033[31mred" in screen("capture-pane", "-e", "-p", "-t", "t")
    screen.type("exit", "Enter")
    procs.wait_until(lambda: bento("ps", "-aq").stdout == "", what="the end", every_s=0.1)

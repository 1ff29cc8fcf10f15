"""A command at a pseudo-terminal of its own, as at a keyboard and a screen."""

from __future__ import annotations

import fcntl
import os
import termios
from typing import Any

from support.cli import BentoCli
from support.terminal import Terminal

DETACH = b"\x10\x11"  # Ctrl-P Ctrl-Q


PROMPT = "ready> "


class Console(Terminal):
    """A command that has this terminal as its controlling one. A context: what still runs at the end is killed."""

    def __init__(self, bento: BentoCli, *args: str, rows: int = 24, columns: int = 80, **options: Any) -> None:
        super().__init__(rows=rows, columns=columns)
        self.before = termios.tcgetattr(self.slave)
        streams = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave} | options

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        self.process = bento.start(*args, preexec_fn=take_terminal, **streams)

    def type(self, keys: str | bytes) -> None:
        os.write(self.master, keys if isinstance(keys, bytes) else keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self.master, (rows, columns))

    def ask(self, keys: str, answer: str) -> None:
        """Type a line; return once the answer is there, which what was typed does not hold, and the next prompt.

        What is typed before the prompt is the terminal's: it echoes it at once, and flushes it at Ctrl-C (termios(3)).
        """
        begin = len(self.text)
        self.type(f"{keys}\n")
        self.read_until_after(begin, answer)
        self.read_until_after(self.text.index(answer, begin) + len(answer), PROMPT)

    def is_restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def end(self, timeout_s: float = 40.0) -> int:
        """Wait for the command's end, reading meanwhile; return its exit status. The terminal is as it was."""
        self.read_until_end(self.process, timeout_s=timeout_s)
        status = self.process.wait(timeout_s)
        assert self.is_restored(), self.text
        return status

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.close()

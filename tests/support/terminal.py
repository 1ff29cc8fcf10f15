"""A pseudo-terminal, and what a person sees on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time


class Terminal:
    """A pseudo-terminal of so many rows and columns, and what is written to it."""

    def __init__(self, *, rows: int = 24, columns: int = 100) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.text = ""

    def read_until_end(self, process, *, timeout_s: float = 30.0) -> str:
        """Read until the process has ended and everything was read."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._read(0.05):
                continue
            if process.poll() is not None and not self._read(0.0):
                return self.text
        raise AssertionError(f"not over after {timeout_s} s: {self.text!r}")

    def read_until(self, word: str, *, timeout_s: float = 40.0) -> None:
        self.read_until_after(0, word, timeout_s=timeout_s)

    def read_until_after(self, begin: int, word: str, *, timeout_s: float = 40.0) -> None:
        """Read until the word comes after so many characters that were read before."""
        deadline = time.monotonic() + timeout_s
        while word not in self.text[begin:]:
            assert time.monotonic() < deadline, self.text
            self._read(0.05)

    def read_more(self, timeout_s: float) -> bool:
        """Read what comes, at most so long after; return whether anything did."""
        return self._read(timeout_s)

    def read_until_shown(self, pattern: str, *, timeout_s: float = 40.0) -> None:
        """Read until the lines of the screen, all together, have this."""
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, "\n".join(self.screen()), re.DOTALL):
            assert time.monotonic() < deadline, self.screen()
            self._read(0.05)

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self.master], [], [], timeout_s)[0]:
            return False
        self.text += os.read(self.master, 65536).decode(errors="replace")
        return True

    def screen(self) -> list[str]:
        """What a person sees: the lines that are left after all cursor movements that Bento uses."""
        lines, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[\d*[AJK]|\r|\n|[^\x1b\r\n]+", self.text):
            if token == "\n":
                row += 1
                column = 0
                lines += [""] * (row + 1 - len(lines))
            elif token == "\r":
                column = 0
            elif token.endswith("A") and token.startswith("\x1b"):
                row -= int(token[2:-1])
                assert row >= 0, "above the first line"
            elif token == "\x1b[K":
                lines[row] = lines[row][:column]
            elif token == "\x1b[J":
                lines[row:] = [lines[row][:column]]
            else:
                lines[row] = lines[row][:column] + token + lines[row][column + len(token) :]
                column += len(token)
        return [line for line in lines if line]

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)

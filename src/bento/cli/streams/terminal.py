"""The terminal that this process was started at, while it stands for one in a container."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from bento.model.terminal import WindowSize

_FD = 0
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CC = 0, 1, 2, 3, 6


def is_terminal() -> bool:
    """Whether our standard input is one."""
    return os.isatty(_FD)


def window_size() -> WindowSize | None:
    """Return the size of our terminal's window; None: we have no terminal."""
    for fd in (1, 0, 2):
        with suppress(OSError):
            columns, rows = os.get_terminal_size(fd)
            return WindowSize(rows, columns)
    return None


@contextmanager
def resized(on_size: Callable[[WindowSize], None]) -> Iterator[None]:
    """Call ``on_size`` with each new size of our window."""

    def changed(*_: object) -> None:
        size = window_size()
        if size is not None:
            on_size(size)

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextmanager
def raw() -> Iterator[None]:
    """Have our terminal pass on every key as it is, and show every byte as it is, and put it back at the end.

    Also after a stop of this process, which leaves the terminal to the shell that has set it for itself.
    """
    saved = termios.tcgetattr(_FD)

    def make_raw(*_: object) -> None:
        with suppress(termios.error):  # it is gone
            termios.tcsetattr(_FD, termios.TCSANOW, _raw(saved))

    before = signal.signal(signal.SIGCONT, make_raw)
    try:
        make_raw()
        yield
    finally:
        signal.signal(signal.SIGCONT, before)
        with suppress(termios.error):
            termios.tcsetattr(_FD, termios.TCSANOW, saved)


def _raw(saved: list[int | list[bytes | int]]) -> list[int | list[bytes | int]]:
    """As cfmakeraw(3)."""
    modes = list(saved)
    flags = [modes[index] for index in (_IFLAG, _OFLAG, _CFLAG, _LFLAG)]
    iflag, oflag, cflag, lflag = (flag if isinstance(flag, int) else 0 for flag in flags)
    modes[_IFLAG] = iflag & ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
        | termios.ICRNL | termios.IXON
    )  # fmt: skip
    modes[_OFLAG] = oflag & ~termios.OPOST
    modes[_CFLAG] = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    modes[_LFLAG] = lflag & ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    characters = modes[_CC]
    if isinstance(characters, list):
        characters = list(characters)
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        modes[_CC] = characters
    return modes

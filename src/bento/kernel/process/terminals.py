"""How the terminal of another process gives what is typed (termios(3)), from a copy of its descriptor.

Nothing is opened, read or changed: the copy is of the process's own open file (pidfd_getfd(2), Linux 5.6), and only a
pseudo-terminal is asked.
"""

from __future__ import annotations

import os
import stat
import termios
from contextlib import suppress
from typing import Final

from bento.errors import KernelError
from bento.kernel import libc
from bento.model.waits import TerminalMode

_PTY_MAJORS: Final = range(136, 144)  # linux/major.h: UNIX98_PTY_SLAVE_MAJOR, and how many there are
_LFLAG, _CC = 3, 6  # of tcgetattr's list
_OFF: Final = b"\0"  # _POSIX_VDISABLE


def mode(tid: int, number: int) -> TerminalMode:
    """Return how the terminal behind this descriptor of a process gives what is typed; "" when it cannot be known.

    ``tid``: its leader thread.
    """
    try:
        pidfd = os.pidfd_open(tid)
    except OSError:
        return ""
    try:
        fd = libc.pidfd_getfd(pidfd, number)
    except KernelError:
        return ""
    finally:
        os.close(pidfd)
    try:
        return _mode(fd)
    finally:
        os.close(fd)


def _mode(fd: int) -> TerminalMode:
    info = os.fstat(fd)
    if not stat.S_ISCHR(info.st_mode) or os.major(info.st_rdev) not in _PTY_MAJORS:
        return ""
    with suppress(termios.error):  # EIO: it has hung up
        attributes = termios.tcgetattr(fd)
        flags, keys = attributes[_LFLAG], attributes[_CC]
        if flags & termios.ICANON:
            return "lines"
        is_left_to_program = not flags & termios.ISIG or keys[termios.VLNEXT] == _OFF
        return "edited" if is_left_to_program and not flags & termios.ECHO else "keys"
    return ""

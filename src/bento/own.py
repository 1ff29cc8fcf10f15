"""Which processes are Bento's own command line, and nothing else: those may be ended when they block others.

Each has a lock on one byte of one file below the run root, the byte of its number. The kernel knows the process that
has it, and drops it with the process: nothing has to be written down, nor removed (fcntl(2), F_GETLK).
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

_NAME: Final = "commands"
_FLOCK: Final = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux: type, whence, start, length, pid

# Kept open: to close any descriptor of the file would drop the lock (fcntl(2)).
_marks: dict[str, tuple[int, int]] = {}


def mark(run_root: Path) -> None:
    """Say that this process is one, until its end. Idempotent; no error where that cannot be said."""
    path = os.fspath(run_root / _NAME)
    if _marks.get(path, (0, 0))[0] == os.getpid():  # a fork is another process
        return
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        _marks[path] = (os.getpid(), fd)
        fcntl.fcntl(fd, fcntl.F_SETLK, _lock_of(os.getpid()))


def is_own(run_root: Path, pid: int) -> bool:
    """Whether this living process is one of this run root. False where it cannot be known."""
    path = os.fspath(run_root / _NAME)
    kept = _marks.get(path)
    try:
        fd = kept[1] if kept else os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            kind, _, _, _, holder = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, _lock_of(pid)))
        finally:
            if not kept:
                os.close(fd)
    except OSError:
        return False
    return bool(kind != fcntl.F_UNLCK and holder == pid)


def _lock_of(pid: int) -> bytes:
    return _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, pid, 1, 0)

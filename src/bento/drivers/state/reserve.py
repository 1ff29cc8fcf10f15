"""Room kept for the worst moment: what frees a full disk must itself be written down.

SQLite takes its -wal and -shm files away with the last connection and needs room to make them again, so a disk that a
container has filled would refuse every verb, ``stop`` and ``rm`` too. A file of a fixed size stands beside the
database; it is shortened step by step while there is no room, and filled up as soon as there is. By steps, because a
program that goes on writing may be quicker to take what was set free.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

SIZE_BYTES: Final = 2 << 20
"""Dozens of commands, each of which loses all it has set free to a program that never stops writing."""

_ROOMY_FACTOR: Final = 2
"""Room is taken from a filesystem only while it has this many times as much."""

_CRUMB_BYTES: Final = 1 << 14


class Reserve:
    """The file ``path``. Safe between processes; every method is short and raises nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_spent = False

    def spend(self, amount_bytes: int) -> bool:
        """Give some room back to the filesystem; False when there is none left."""
        try:
            size = os.stat(self._path).st_size
            if size == 0:
                return False
            os.truncate(self._path, max(0, size - amount_bytes))
        except OSError:
            return False
        self._is_spent = True
        return True

    def fill(self) -> None:
        """Take room again: all of it when there is plenty, what can be had when this process has spent some."""
        with suppress(OSError):
            size = _size(self._path)
            if size >= SIZE_BYTES or not (self._is_spent or _is_roomy(self._path.parent)):
                return
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if not _is_roomy(self._path.parent):
                    for offset in range(size, SIZE_BYTES, _CRUMB_BYTES):
                        os.posix_fallocate(fd, offset, _CRUMB_BYTES)
                os.posix_fallocate(fd, 0, SIZE_BYTES)
                self._is_spent = False
            finally:
                os.close(fd)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _is_roomy(directory: Path) -> bool:
    return free_bytes(directory) >= _ROOMY_FACTOR * SIZE_BYTES


def free_bytes(directory: Path) -> int:
    """Return how much may be written there, without what ext4 keeps for root, who does not get it all either."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize

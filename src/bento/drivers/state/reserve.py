"""Room kept for the worst moment: what frees a full disk must itself be written down.

SQLite removes its -wal and -shm files with the last connection and needs room to make them again, so a disk that a
container has filled would refuse every verb, ``stop`` and ``rm`` too. A file stands beside the database, larger the
more containers there are; it is shortened step by step while there is no room, and filled up as soon as there is. By
steps, because a program that goes on writing may be quicker to take what was set free.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from bento.errors import is_shortage

SIZE_BYTES: Final = 2 << 20
"""Dozens of commands, each of which loses all it has set free to a program that never stops writing."""

PER_CONTAINER_BYTES: Final = 64 << 10
"""The record of a stop makes the database grow by 4 to 20 KiB."""

_ROOMY_FACTOR: Final = 2
"""Room is taken from a filesystem only while it has this many times as much."""

_PIECE_BYTES: Final = 16 << 10
"""Taken at a time: btrfs gives back whole what was taken at once, or nothing."""


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
            try:
                os.truncate(self._path, max(0, size - amount_bytes))
            except OSError:  # a full btrfs may have no room to note that; it keeps some for deletions
                os.unlink(self._path)
        except OSError:
            return False
        self._is_spent = True
        return True

    def fill(self, containers: int) -> None:
        """Take room again for so many: all of it when there is plenty, else what can be had if some was spent here.

        What is too much, because there are fewer containers than before, is given back.
        """
        wanted = SIZE_BYTES + containers * PER_CONTAINER_BYTES
        with suppress(OSError):
            size = _size(self._path)
            if size > wanted:
                os.truncate(self._path, wanted)
            is_roomy = free_bytes(self._path.parent) >= _ROOMY_FACTOR * (wanted - size)
            if size >= wanted or not (self._is_spent or is_roomy):
                return
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                for offset in range(size, wanted, _PIECE_BYTES):
                    os.posix_fallocate(fd, offset, min(_PIECE_BYTES, wanted - offset))
                self._is_spent = False
            finally:
                os.close(fd)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def free_bytes(directory: Path) -> int:
    """Return how much may be written there, without what ext4 keeps for root, of which root does not get all either."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def shortage() -> OSError | None:
    """Return what says that this process may open no more files: SQLite does not say it."""
    try:
        for fd in [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(2)]:
            os.close(fd)
    except OSError as error:
        return error if is_shortage(error) else None
    return None

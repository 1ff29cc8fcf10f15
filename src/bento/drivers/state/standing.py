"""A database that is kept as it is between connections: what commands have written stays in the -wal file.

The last connection of all takes the -wal file into the database when it is closed, syncs both, and removes it; the
next one makes it anew. For a series of commands that is most of what they do with the disk. A connection is the last
one when it gets SQLite's exclusive lock (wal.c, sqlite3WalClose), and it does not while another process has the shared
one (os_unix.c, unixLock). That lock is taken here without a connection, so that it can be held across fork(2).
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from bento.drivers.state import shared

_SHARED_FIRST: Final = 0x40000002  # SHARED_FIRST: PENDING_BYTE + 2 (os.h)
_SHARED_BYTES: Final = 510
_MODES_AT: Final = 18
_WAL: Final = b"\2\2"  # fileformat.html, 1.3.3
_FLOCK: Final = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid


class Standing:
    """Locks on one database, of open file descriptions (fcntl(2)). Of a process that has no connection to it.

    A child that is forked has them, too, until it ends; it must not close them while it has a connection.
    """

    def __init__(self, database: Path) -> None:
        self._path = os.fspath(database)
        self._fd = -1

    def hold(self) -> None:
        """Hold the database that is there now; nothing where there is none yet, or it is in use. Idempotent."""
        with suppress(OSError):
            there = os.stat(self._path)
            if self._fd >= 0:
                ours = os.fstat(self._fd)
                if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino):
                    return
                self.close()
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if os.pread(fd, 2, _MODES_AT) != _WAL:  # it is being made, which takes an exclusive lock
                    raise BlockingIOError
                wanted = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_BYTES, 0)
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
                shared.hold(self._path, 0.0)
            except OSError:
                os.close(fd)
                raise
            self._fd = fd

    def close(self) -> None:
        """Let go of it: the next connection that is closed as the last one takes the -wal file in. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            shared.release(self._path)

    def sync(self) -> None:
        """Have what was committed written to the disk. Blocks for that; no error where nothing stands."""
        with suppress(OSError):
            fd = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)

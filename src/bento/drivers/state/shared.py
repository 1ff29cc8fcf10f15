"""The file through which SQLite's processes share their index of the -wal file: all of it is there before it is mapped.

SQLite makes ``-shm`` by one byte per 4096, and maps it. Where blocks are smaller (ext4 with 1 KiB), or where what is
written again needs new blocks (btrfs), the first write to a page of it on a full disk is a SIGBUS, and no error. So
the file is made and filled here, and SQLite is kept from making it anew: it does so only when no other has its lock on
the byte ``DMS`` (os_unix.c, unixLockSharedMemory; walformat.html, 2.3.1), and a lock of an open file description
(fcntl(2)), which this takes on that byte, counts as another's also in the same process. A process that finds the byte
free clears the file as SQLite would, since what a crash has left in it may be stale: an empty index is rebuilt from the
-wal file. That is made here, too: of a full disk SQLite says no more than that it cannot open it.

On btrfs the files are made NOCOW (chattr(1), +C): what is written again stays in its place. Mappings obey that from
Linux 6.16 on; before, a full btrfs can still be a SIGBUS.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from _thread import allocate_lock
from contextlib import suppress
from typing import Final

BYTES: Final = 32 << 10
"""What SQLite makes at first, enough for 4062 frames of the -wal file; it is written back after 1000."""

_DMS: Final = 128  # UNIX_SHM_DMS: (22 + SQLITE_SHM_NLOCK) * 4 + SQLITE_SHM_NLOCK
_FLOCK: Final = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid
_PAUSE_S: Final = 0.001

# linux/fs.h
_FS_IOC_GETFLAGS: Final = 0x80086601
_FS_IOC_SETFLAGS: Final = 0x40086602
_FS_NOCOW_FL: Final = 0x00800000
_INT: Final = struct.Struct("i")


class _Held:
    """The files that this process holds for one database, and for how many connections."""

    __slots__ = ("count", "fds")

    def __init__(self) -> None:
        self.count = 0
        self.fds: list[int] = []


# One for all connections of the process: to close any descriptor of a file drops all of the process's locks on it that
# SQLite has (fcntl(2)), so they are closed when the last connection is.
_held: dict[str, _Held] = {}
_mutex = allocate_lock()


def hold(database: str, timeout_s: float) -> None:
    """Have the shared files of a database ready, and keep them so until ``release``. Call it before SQLite opens it.

    What cannot be made for another reason than a full disk is left to SQLite to complain of. Raises OSError (ENOSPC,
    EDQUOT). Blocks for ``timeout_s`` at most, and that only when a process stands still in the middle of this.
    """
    with _mutex:
        held = _held.setdefault(database, _Held())
        try:
            if not held.count and not _is_wal(database):  # new, or not ours: there is nothing to share
                held.count += 1
                return
            while not _is_current(database, held):
                held.fds.append(_make(database, timeout_s))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                if not held.count:
                    _let_go(database)
                raise
        held.count += 1


def release(database: str) -> None:
    """Let go of what ``hold`` has taken, after SQLite's connection was closed."""
    with _mutex:
        held = _held[database]
        held.count -= 1
        if not held.count:
            _let_go(database)


def make_in_place(path: str | os.PathLike[str], mode: int) -> None:
    """Make a file, empty, which is written in its place where the filesystem can do that; one that is there stays."""
    flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, mode)
    try:
        _write_in_place(fd)
    finally:
        os.close(fd)


def _let_go(database: str) -> None:
    for fd in _held.pop(database).fds:
        os.close(fd)


def _is_wal(database: str) -> bool:
    """Whether the file's header says so (fileformat.html, 1.3.3). Not for a process that has a connection to it."""
    fd = os.open(database, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, 2, 18) == b"\2\2"
    finally:
        os.close(fd)


def _is_current(database: str, held: _Held) -> bool:
    """Whether the file that is held is the one that is there: the last connection of all removes it."""
    if not held.fds:
        return False
    ours = os.fstat(held.fds[-1])
    try:
        there = os.stat(f"{database}-shm", follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _make(database: str, timeout_s: float) -> int:
    """Return a descriptor of the file, which is whole, with a shared lock."""
    fd = os.open(f"{database}-shm", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline_mono_s = time.monotonic() + timeout_s
        while True:
            if _lock(fd, fcntl.F_WRLCK):  # no process has it: what is in it is stale
                _fill(fd)
                make_in_place(f"{database}-wal", 0o600)
            if _lock(fd, fcntl.F_RDLCK):
                return fd
            if time.monotonic() > deadline_mono_s:
                raise TimeoutError(errno.ETIMEDOUT, "another process is making it", f"{database}-shm")
            time.sleep(_PAUSE_S)
    except BaseException:
        os.close(fd)
        raise


def _fill(fd: int) -> None:
    size = os.fstat(fd).st_size
    if not size:
        _write_in_place(fd)
    os.posix_fallocate(fd, 0, BYTES)
    if size:
        os.pwrite(fd, bytes(max(size, BYTES)), 0)


def _lock(fd: int, kind: int) -> bool:
    """Take the lock, or change it at once to another kind; False: others have it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, _DMS, 1, 0))
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, fcntl(2)
        return False
    return True


def _write_in_place(fd: int) -> None:
    """Only of an empty file; no error where there is no such thing."""
    with suppress(OSError):
        (flags,) = _INT.unpack(fcntl.ioctl(fd, _FS_IOC_GETFLAGS, _INT.pack(0)))
        if not flags & _FS_NOCOW_FL and os.fstat(fd).st_size == 0:
            fcntl.ioctl(fd, _FS_IOC_SETFLAGS, _INT.pack(flags | _FS_NOCOW_FL))

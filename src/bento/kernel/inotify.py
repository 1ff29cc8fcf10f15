"""Being woken when a file grows or a filesystem goes (inotify(7))."""

from __future__ import annotations

import errno
import math
import os
import select
import struct
import time
from contextlib import suppress
from pathlib import Path

from bento.errors import KernelError
from bento.kernel import libc
from bento.kernel.process import proc

_READ_BYTES = 1 << 16
_NONE_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM)
"""This user has as many instances or watches as it may, or too many open files (inotify_init(2))."""
_LOOK_EVERY_S = 0.2  # without a watch
_IN_MODIFY = 0x2
_IN_ATTRIB = 0x4
_IN_CLOSE_WRITE = 0x8
_IN_MOVED_TO = 0x80
_IN_DELETE_SELF = 0x400
_IN_UNMOUNT = 0x2000
LET_GO = _IN_CLOSE_WRITE | _IN_ATTRIB | _IN_DELETE_SELF
"""What ``watch_let_go`` waits for."""
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name after it


class Unmounts:
    """Tells which filesystems have no mount left anywhere, any number of them by one instance. Close it.

    One instance, because a user may have but few (fs.inotify.max_user_instances: 128), and many watches. The event is
    IN_UNMOUNT, sent with every watch when the superblock goes, and that goes with its last mount in the last mount
    namespace. A watch does not keep the filesystem busy.
    """

    def __init__(self) -> None:
        """Raises KernelError when there are too many instances, or open files."""
        self._fd = libc.inotify_init(os.O_NONBLOCK)

    def fileno(self) -> int:
        """Return the descriptor, readable when ``read`` has something to return."""
        return self._fd

    def add(self, pid: int) -> int | None:
        """Watch the root filesystem of a live process; None when it is gone, or no watch is left."""
        try:
            return libc.inotify_add_watch(self._fd, f"/proc/{proc.live_tid(pid)}/root", _IN_DELETE_SELF)
        except KernelError:
            return None

    def read(self) -> list[int]:
        """Return the watches whose filesystem has gone since the last call; the kernel has removed these."""
        gone = []
        try:
            while data := os.read(self._fd, _READ_BYTES):
                at = 0
                while at < len(data):
                    watch, mask, _, length = _EVENT.unpack_from(data, at)
                    at += _EVENT.size + length
                    if mask & _IN_UNMOUNT:
                        gone.append(watch)
        except BlockingIOError:
            pass
        return gone

    def remove(self, watch: int) -> None:
        """Watch it no more. No error when the kernel has removed it already."""
        with suppress(KernelError):
            libc.inotify_rm_watch(self._fd, watch)

    def close(self) -> None:
        """Close the instance. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def watch_let_go(path: str) -> int | None:
    """Return a descriptor that becomes readable when a writer closes the file, or the file is unlinked.

    Also a writer that is killed closes it. The caller closes the descriptor. None when no watch is left: then look
    again and again. Raises KernelError.
    """
    return _watch(path, LET_GO)


def _watch(path: str, mask: int) -> int | None:
    fd = -1
    try:
        fd = libc.inotify_init()
        libc.inotify_add_watch(fd, path, mask)
    except BaseException as error:
        if fd >= 0:
            os.close(fd)
        if isinstance(error, KernelError) and error.errno in _NONE_LEFT:
            return None
        raise
    return fd


def watch_arrivals(directory: str) -> int | None:
    """Return a descriptor that becomes readable when a file is renamed into the directory. The caller closes it.

    A program that writes beside the place and renames shows only whole files here. None when no watch is left.
    """
    fd = _watch(directory, _IN_MOVED_TO)
    if fd is not None:
        os.set_blocking(fd, False)
    return fd


def arrived(fd: int) -> list[str]:
    """Return the names that came since the last call, without waiting; of a ``watch_arrivals``.

    A queue that ran over (16384 events, inotify(7)) loses names: callers look at the directory once more at the end.
    """
    try:
        data = os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return []
    names = []
    at = 0
    while at < len(data):
        length = _EVENT.unpack_from(data, at)[3]
        at += _EVENT.size
        names.append(os.fsdecode(data[at : at + length].rstrip(b"\0")))
        at += length
    return [name for name in names if name]


class ArrivalWatch:
    """Tells when a file was renamed into a directory, or that is gone. Close it. Raises KernelError."""

    def __init__(self, directory: Path) -> None:
        self._fd = watch_arrivals(str(directory))

    def fileno(self) -> int | None:
        """Return a descriptor that is readable then; None: no watch is left."""
        return self._fd

    def read(self) -> None:
        """Take what was reported so far."""
        if self._fd is not None:
            arrived(self._fd)

    def close(self) -> None:
        """Watch it no more. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class GoneWatch:
    """Waits for the end of a file or directory. Close it. Raises KernelError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = _watch(str(path), _IN_DELETE_SELF)

    def fileno(self) -> int | None:
        """Return a descriptor that is readable once it is removed; None: no watch is left."""
        return self._fd

    def wait(self, timeout_s: float) -> bool:
        """Block until it is removed, at most so long; return whether it was."""
        deadline_mono_s = time.monotonic() + timeout_s
        poller = select.poll()
        if self._fd is not None:
            poller.register(self._fd, select.POLLIN)
        while True:
            left_s = max(0.0, deadline_mono_s - time.monotonic())
            pause_s = min(left_s, 3600.0 if self._fd is not None else _LOOK_EVERY_S)
            if poller.poll(math.ceil(pause_s * 1000)) or (self._fd is None and not self._path.exists()):
                return True
            if time.monotonic() >= deadline_mono_s:
                return False

    def close(self) -> None:
        """Watch it no more. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class FileWatch:
    """Waits for writes to one file, and for another one to take its place. A context; not for several threads at once.

    That one is the change of its number of names (IN_ATTRIB); that it is deleted would be reported after we have closed
    it.
    """

    def __init__(self, path: Path) -> None:
        self._fd = _watch(str(path), _IN_MODIFY | _IN_ATTRIB)

    def fileno(self) -> int | None:
        """Return a descriptor that is readable then; None: no watch is left."""
        return self._fd

    def clear(self) -> None:
        """Take what was reported so far, where ``fileno`` is readable."""
        if self._fd is not None:
            os.read(self._fd, 4096)

    def wait(self, other_fd: int) -> None:
        """Block until the file was written to, or lost its place, since the last call, or ``other_fd`` is readable.

        Where no watch was left, until a moment has passed: the caller looks.
        """
        poller = select.poll()  # select(2) knows no descriptor above 1023
        for fd in (self._fd, other_fd):
            if fd is not None:
                poller.register(fd, select.POLLIN)
        ready = poller.poll(None if self._fd is not None else _LOOK_EVERY_S * 1000)
        if any(fd == self._fd for fd, _ in ready):
            self.clear()

    def __enter__(self) -> FileWatch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)

"""Watches for writes to files, any number of them by one instance of inotify(7).

A user may have but few instances (fs.inotify.max_user_instances: 128), and many watches.
"""

from __future__ import annotations

import os
import select
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from bento.errors import KernelError
from bento.kernel import libc

_READ_BYTES: Final = 1 << 16
_IN_MODIFY: Final = 0x2
_IN_ATTRIB: Final = 0x4
_EVENT: Final = struct.Struct("iIII")
_OVERFLOWN: Final = -1  # the watch of an event that says that others were lost


class FileWatches:
    """All of them. What has ``fileno`` polled calls ``dispatch`` when it is readable. Safe between threads."""

    def __init__(self) -> None:
        """Raises KernelError when there are too many instances, or open files."""
        self._fd = libc.inotify_init(os.O_NONBLOCK)
        self._lock = threading.Lock()
        self._watches: dict[int, set[SharedWatch]] = {}  # of one file the kernel gives one number, however often

    def fileno(self) -> int:
        """Return the descriptor of the instance."""
        return self._fd

    def watch(self, path: Path) -> SharedWatch:
        """Watch a file; see ``inotify.FileWatch``. Raises KernelError."""
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            with self._lock:
                number = libc.inotify_add_watch(self._fd, str(path), _IN_MODIFY | _IN_ATTRIB)
                made = SharedWatch(self, number, fd)
                self._watches.setdefault(number, set()).add(made)
        except BaseException:
            os.close(fd)
            raise
        return made

    def dispatch(self) -> None:
        """Wake what waits for what has happened since the last call. Does not block."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        numbers, at = set(), 0
        while at < len(data):
            number, _, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            numbers.add(number)
        with self._lock:
            for number in self._watches.keys() if _OVERFLOWN in numbers else numbers & self._watches.keys():
                for each in self._watches[number]:
                    each.wake()

    def remove(self, watch: SharedWatch) -> None:
        """Watch it no more. Idempotent."""
        with self._lock:
            others = self._watches.get(watch.number, set())
            others.discard(watch)
            if not others and self._watches.pop(watch.number, None) is not None:
                with suppress(KernelError):  # the file has gone, and the watch with it
                    libc.inotify_rm_watch(self._fd, watch.number)

    def close(self) -> None:
        """Close the instance. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class SharedWatch:
    """One of them: a FileWatch. A context."""

    def __init__(self, watches: FileWatches, number: int, fd: int) -> None:
        self.number = number
        self._watches, self._fd = watches, fd

    def wake(self) -> None:
        """Make it readable."""
        with suppress(BlockingIOError):  # it is
            os.eventfd_write(self._fd, 1)

    def fileno(self) -> int | None:
        """See FileWatch."""
        return self._fd

    def clear(self) -> None:
        """See FileWatch."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._fd)

    def wait(self, other_fd: int) -> None:
        """See FileWatch."""
        poller = select.poll()
        for fd in (self._fd, other_fd):
            poller.register(fd, select.POLLIN)
        poller.poll()
        self.clear()

    def __enter__(self) -> SharedWatch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            self._watches.remove(self)
            os.close(self._fd)
            self._fd = -1

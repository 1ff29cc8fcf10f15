"""What wakes those that follow the log of events: a writer closes a file after its commit, and inotify(7) says so.

Not the -wal file: SQLite makes a commit visible after its last write to it, by shared memory, so a follower that was
woken by that write could look too early, and would not be woken again.

A user may have few inotify instances (fs.inotify.max_user_instances: 128), so all followers of a process share one for
each log. Whichever is woken first reads it, and wakes the others.
"""

from __future__ import annotations

import os
import select
from _thread import allocate_lock
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bento.errors import KernelError
from bento.kernel import inotify, libc

if TYPE_CHECKING:
    from pathlib import Path

_READ_BYTES: Final = 1 << 16


class _Hub:
    """The one watch of a process for one file."""

    def __init__(self, path: Path) -> None:
        self.fd = inotify.watch_let_go(os.fspath(path))
        if self.fd is not None:
            os.set_blocking(self.fd, False)
        self.followers: set[int] = set()  # an eventfd each
        self._path = path

    def pass_on(self, but: int) -> None:
        """Read what woke one follower, and wake the others. Under the mutex."""
        if self.fd is None:
            return
        with suppress(BlockingIOError):
            while os.read(self.fd, _READ_BYTES):
                for fd in self.followers - {but}:
                    os.eventfd_write(fd, 1)
        with suppress(OSError, KernelError):  # of a root that was deleted there is nothing more to come
            make(self._path)  # the file alone may have been deleted, too
            libc.inotify_add_watch(self.fd, os.fspath(self._path), inotify.LET_GO)  # no other one where it is watched

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)


_hubs: dict[Path, _Hub] = {}
_mutex = allocate_lock()


class EventWatch:
    """Wakes one follower of a log. Close it. Safe between threads, not across fork(2).

    Attributes:
        is_woken: False: this user has no inotify instance left, so the follower has to look now and then.
    """

    def __init__(self, path: Path) -> None:
        """Raises KernelError, OSError."""
        self._path = path
        self._closed = False
        self._epoll = select.epoll()
        self._own = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            make(path)
            with _mutex:
                hub = _hubs.get(path) or _Hub(path)
                _hubs[path] = hub
                hub.followers.add(self._own)
        except BaseException:
            self._epoll.close()
            os.close(self._own)
            raise
        self._hub = hub
        self.is_woken = hub.fd is not None
        self._epoll.register(self._own, select.EPOLLIN)
        if hub.fd is not None:
            self._epoll.register(hub.fd, select.EPOLLIN)

    def fileno(self) -> int:
        """Return the descriptor, readable when the log may have more since the last ``clear``."""
        return self._epoll.fileno()

    def clear(self) -> None:
        """Make the descriptor unreadable: what is committed from now on makes it readable again. Then read the log."""
        with _mutex:
            with suppress(BlockingIOError):
                os.eventfd_read(self._own)
            self._hub.pass_on(self._own)

    def close(self) -> None:
        """Watch no more. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with _mutex:
            self._epoll.close()  # before what is in it
            self._hub.followers.discard(self._own)
            os.close(self._own)
            if not self._hub.followers:
                self._hub.close()
                del _hubs[self._path]


def make(path: Path) -> None:
    """Make the file, so that it can be watched. Idempotent. Raises OSError."""
    # For reading: to close what was open for writing would wake others.
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))

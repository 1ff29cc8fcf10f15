"""Waiting for the kernel to delete the links of a container: it does so when no process is in its network any more."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Final

from bento.kernel import libc
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bento.kernel.net import links
    from bento.kernel.net.links import Link
else:  # mostly there is no link any more
    links = LazyModule("bento.kernel.net.links")

LIMIT_S: Final = 0.05  # mostly it has gone when it is asked for; else it takes 15 ms under load [measured]


class Vanishing:
    """Polls readable when a link has gone, or the time is over. Close it by ``kill``.

    Attributes:
        names: of those links that were there when it was last looked at.
        is_late: the time was over then.
    """

    def __init__(self, names: Iterable[str], limit_s: float = LIMIT_S) -> None:
        self.is_late = False
        self.names, self._limit_s = list(names), limit_s
        self._epoll: select.epoll | None = None
        self._events = self._timer = -1

    def wait(self) -> Iterator[Vanishing]:
        """Yield itself as often as it is to be waited for: until all have gone, or the time is over."""
        try:
            while self.left() and not self.is_late:
                yield self
        finally:
            self.kill()

    def left(self) -> list[str]:
        """Return those links that are there."""
        if self._epoll is not None:
            self._drain(self._epoll)
        found = self._look()
        if found and self._epoll is None:
            self._begin(found)
            self._look()  # one that has gone just before would not be reported any more
        return self.names

    def _look(self) -> list[Link]:
        # By netlink: asked by ioctl for a link that is not there, the kernel has a program look for a module of that
        # name (net/core/dev_ioctl.c, dev_load).
        found = [link for name in self.names if (link := links.find(name)) is not None]
        self.names = [link.name for link in found]
        return found

    def _begin(self, found: list[Link]) -> None:
        self._events = links.follow_end([link.index for link in found])
        self._timer = libc.timer(self._limit_s)
        self._epoll = select.epoll()
        for fd in (self._events, self._timer):
            self._epoll.register(fd, select.EPOLLIN)

    def _drain(self, epoll: select.epoll) -> None:
        for fd, _ in epoll.poll(0):
            if fd == self._timer:
                self.is_late = True
            else:
                _read_all(fd)

    def fileno(self) -> int:
        """Return a descriptor that polls readable when it is to be looked at again."""
        return self._epoll.fileno() if self._epoll else -1

    def finish(self, timeout_s: float) -> None:
        """Wait until then."""
        if self._epoll is not None:
            self._epoll.poll(timeout_s)

    def kill(self) -> None:
        """Wait no more. Idempotent."""
        for fd in (self._events, self._timer):
            if fd >= 0:
                os.close(fd)
        self._events = self._timer = -1
        epoll, self._epoll = self._epoll, None
        if epoll is not None:
            epoll.close()


def _read_all(fd: int) -> None:
    try:
        while os.read(fd, 1 << 16):
            pass
    except OSError:  # it is empty, or has lost some of it
        return

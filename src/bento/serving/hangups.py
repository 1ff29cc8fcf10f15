"""Clients that leave while nothing is written to them.

A client that has closed both directions looks to a reader like one that has ended its sending side alone, which
Docker's clients do at once when they have no input. The kernel tells the two apart: EPOLLHUP is that both directions
are shut (unix(7), epoll_ctl(2)). asyncio watches for readable and writable only: this has an epoll instance of its own.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress


class Hangups:
    """Calls back once when a connection is closed in both directions. One descriptor for any number of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], object]] = {}
        loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, fd: int, callback: Callable[[], object], *, is_whole: bool = False) -> None:
        """Watch a socket; the caller calls ``forget`` before it is closed.

        ``is_whole``: an end of its sending side is the end of both, as with TLS, which has an end of its own for that.
        """
        self._callbacks[fd] = callback
        events = select.EPOLLONESHOT | (select.EPOLLRDHUP if is_whole else 0)
        self._epoll.register(fd, events)  # HUP and ERR are always reported

    def forget(self, fd: int) -> None:
        """Watch it no more. Idempotent."""
        if self._callbacks.pop(fd, None) is not None:
            with suppress(OSError):
                self._epoll.unregister(fd)

    def _look(self) -> None:
        for fd, _ in self._epoll.poll(0):
            callback = self._callbacks.get(fd)
            if callback is not None:
                self.forget(fd)
                callback()

    def close(self) -> None:
        """Watch nothing any more. Idempotent."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

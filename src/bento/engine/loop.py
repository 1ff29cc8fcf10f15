"""One epoll loop for any number of stops: pidfds, child processes, sockets and timers. No thread, no polling."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TYPE_CHECKING

from bento import clock

if TYPE_CHECKING:
    from bento.engine.session import Session

Handler = Callable[[], None]


class Loop:
    """Waits for descriptors on behalf of sessions and calls them back. Single-threaded; close it when done."""

    def __init__(self) -> None:
        self._epoll = select.epoll()  # close-on-exec
        self._handlers: dict[int, Handler] = {}
        self.sessions: list[Session] = []

    def watch(self, fd: int, handler: Handler) -> None:
        """Call ``handler`` whenever ``fd`` is readable, until ``unwatch``."""
        self._epoll.register(fd, select.EPOLLIN)
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Stop watching, before the descriptor is closed. No error when it was not watched."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def turn(self) -> None:
        """Wait for the next events or timers and handle them."""
        due = [due_s for session in self.sessions if (due_s := session.due_s()) is not None]
        timeout_s = max(0.0, min(due) - clock.mono_s()) if due else None
        for fd, _ in self._epoll.poll(timeout_s):
            handler = self._handlers.get(fd)
            if handler is not None:  # else an earlier handler of this turn has closed it
                handler()
        for session in self.sessions:
            session.tick()

    def close(self) -> None:
        """Close the epoll descriptor, not those of sessions. Idempotent."""
        self._epoll.close()

"""poll(2) with changing interests."""

from __future__ import annotations

import select


class Poller:
    """What is waited for on each descriptor; the system call is told of changes alone."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._events: dict[int, int] = {}

    def want(self, fd: int, events: int | None) -> None:
        """Wait for these events; 0: for an error or a hangup alone; None: for nothing. Before ``fd`` is closed."""
        if self._events.get(fd) == events:
            return
        if events is None:
            self._poll.unregister(fd)
            del self._events[fd]
        else:
            self._poll.register(fd, events)
            self._events[fd] = events

    def wait(self) -> dict[int, int]:
        """Block until something has happened; return that. Signal handlers run meanwhile."""
        return dict(self._poll.poll())

"""One epoll loop for any number of stops: pidfds, child processes, sockets and timers. No thread, no polling.

What a turn costs depends on what happened in it, not on how many stops are under way.
"""

from __future__ import annotations

import select
from _heapq import heappop, heappush  # the C half: the other one costs an import
from collections import deque
from collections.abc import Callable
from typing import Protocol

from bento import clock

Handler = Callable[[], None]


class Watcher(Protocol):
    """What is handed to a part of a stop that has descriptors of its own to wait for; a Loop is one."""

    def watch(self, fd: int, handler: Handler) -> None:
        """See Loop."""

    def unwatch(self, fd: int) -> None:
        """See Loop."""


class Loop:
    """Waits for descriptors and times, and calls back. Single-threaded; close it when done."""

    def __init__(self) -> None:
        self._epoll = select.epoll()  # close-on-exec
        self._handlers: dict[int, Handler] = {}
        self._heap: list[tuple[float, int, Alarm]] = []
        self._pushes = 0  # keeps entries of the same time apart
        self._soon: deque[Handler] = deque()

    def watch(self, fd: int, handler: Handler) -> None:
        """Call ``handler`` whenever ``fd`` is readable, until ``unwatch``."""
        self._epoll.register(fd, select.EPOLLIN)
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Stop watching, before the descriptor is closed. No error when it was not watched."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def alarm(self, handler: Handler) -> Alarm:
        """Return a timer that is not set yet."""
        return Alarm(self, handler)

    def soon(self, handler: Handler) -> None:
        """Call ``handler`` once, in the next turn, from the loop itself."""
        self._soon.append(handler)

    @property
    def sleeps_s(self) -> float | None:
        """How long the next turn waits where nothing happens; None: for ever."""
        return self._timeout_s()

    def turn(self) -> None:
        """Wait for the next events or timers and handle them."""
        for fd, _ in self._epoll.poll(self._timeout_s()):
            handler = self._handlers.get(fd)
            if handler is not None:  # else an earlier handler of this turn has closed it
                handler()
        self._ring()
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def _timeout_s(self) -> float | None:
        if self._soon:
            return 0.0
        return max(0.0, self._heap[0][0] - clock.mono_s()) if self._heap else None

    def _ring(self) -> None:
        """Call those that are due now; one that sets its alarm anew for now is called in the next turn."""
        now_s = clock.mono_s()
        due = []
        while self._heap and self._heap[0][0] <= now_s:
            at_s, _, alarm = heappop(self._heap)
            if at_s == alarm.queued_s:
                alarm.queued_s = None
                due.append(alarm)
        for alarm in due:
            alarm.ring(now_s)

    def push(self, at_s: float, alarm: Alarm) -> None:
        """For alarms: look at this one at that time."""
        self._pushes += 1
        heappush(self._heap, (at_s, self._pushes, alarm))

    def close(self) -> None:
        """Close the epoll descriptor, not those that are watched. Idempotent."""
        self._epoll.close()


class Alarm:
    """One timer. It has one place in the heap at a time, but for those that were overtaken by an earlier one."""

    __slots__ = ("_due_s", "_handler", "_loop", "queued_s")

    def __init__(self, loop: Loop, handler: Handler) -> None:
        self._loop, self._handler = loop, handler
        self._due_s: float | None = None
        self.queued_s: float | None = None  # when the loop looks at it

    def set(self, due_s: float | None) -> None:
        """Have the handler called at this time (CLOCK_MONOTONIC), instead of any set before; None: not at all."""
        self._due_s = due_s
        if due_s is not None and (self.queued_s is None or due_s < self.queued_s):
            self.queued_s = due_s
            self._loop.push(due_s, self)

    def ring(self, now_s: float) -> None:
        """For the loop: call the handler if it is due by now; else wait on."""
        due_s, self._due_s = self._due_s, None
        if due_s is None:
            return
        if due_s > now_s:
            self.set(due_s)
        else:
            self._handler()

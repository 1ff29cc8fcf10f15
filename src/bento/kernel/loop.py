"""One epoll loop: descriptors, and times that are all as long."""

from __future__ import annotations

import select
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Timers:
    """What is to be called after a time, unless it is dropped before: ``act`` of each. The time is the same for all."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._due: dict[Callable[[], None], float] = {}  # in order, because each is put at the end

    def set(self, act: Callable[[], None]) -> None:
        """Call ``act`` once, from now on counted."""
        self._due.pop(act, None)
        self._due[act] = monotonic() + self._delay_s

    def drop(self, act: Callable[[], None]) -> None:
        """Do not call it. Idempotent."""
        self._due.pop(act, None)

    def next_s(self) -> float | None:
        """Return how long it is until the first is due; None: there is none."""
        for due_s in self._due.values():
            return max(0.0, due_s - monotonic())
        return None

    def fire(self) -> None:
        """Call what is due."""
        now_s = monotonic()
        for act, due_s in list(self._due.items()):
            if due_s > now_s:
                break
            if self._due.pop(act, None) is not None:  # else one before has dropped it
                act()


class Loop:
    """Calls what was registered for descriptors that are ready, and timers."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._acts: dict[int, Callable[[int], None]] = {}
        self._timers: list[Timers] = []

    def timers(self, delay_s: float) -> Timers:
        """Return timers of this loop."""
        made = Timers(delay_s)
        self._timers.append(made)
        return made

    def watch(self, fd: int, act: Callable[[int], None], events: int = READ) -> None:
        """Call ``act`` with what is ready, whenever something is. In the place of what was registered for it."""
        if fd in self._acts:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._acts[fd] = act

    def unwatch(self, fd: int) -> None:
        """Call it no more; before the descriptor is closed. Idempotent."""
        if self._acts.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def turn(self) -> None:
        """Wait until something is ready or due, and call it."""
        waits = [wait for timers in self._timers if (wait := timers.next_s()) is not None]
        ready = self._epoll.poll(min(waits) if waits else None)
        for act, fd, events in [(self._acts[fd], fd, events) for fd, events in ready]:
            if self._acts.get(fd) is act:  # else one before has closed it, and it may be another's by now
                act(events)
        for timers in self._timers:
            timers.fire()

"""``events``: what has happened, and what happens, from the log in the store."""

from __future__ import annotations

import math
import select
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from bento import clock, log
from bento.engine.events.ends import Ends, refreshed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from bento.engine.base.drivers import Drivers
    from bento.engine.events.filters import Passes
    from bento.model.event import Event

_LOOK_EVERY_S: Final = 0.2  # where nothing wakes
_LONGEST_S: Final = 3600.0  # the clock that ends it may be set


class EventStream:
    """Events in the order in which they were logged, none missed and none twice. Close it; not for several threads.

    Iterate over it, which blocks for the next one; or have ``fileno`` polled, and call ``read`` whenever it is
    readable. As long as it is open it also looks after containers that end by themselves: their end is recorded, and
    logged, at once, and not when the next command meets them.
    """

    def __init__(
        self, drivers: Drivers, passes: Passes, *, since_ns: int | None, until_ns: int | None, is_followed: bool
    ) -> None:
        """Raises KernelError, StorageUnusable."""
        self._drivers, self._passes = drivers, passes
        self._since_ns, self._until_ns = since_ns, until_ns
        self._is_followed = is_followed and (until_ns is None or until_ns > clock.wall_ns())
        self._watch = drivers.store.watch_events()
        self._ready: deque[Event] = deque()
        self._epoll = select.epoll()
        self._ends = Ends(drivers)
        for each in (self._watch, self._ends):
            self._epoll.register(each.fileno(), select.EPOLLIN)
        if self._is_followed:
            self._ends.begin()
        else:
            refreshed(drivers)
        # What is logged up to here is history, of which the time decides; what comes later is new whatever its time.
        self._boundary = drivers.store.newest_event()
        wants_history = since_ns is not None or until_ns is not None or not is_followed
        self._last = 0 if wants_history else self._boundary
        self._starts_ns = since_ns if since_ns is not None and since_ns > clock.wall_ns() else None

    def fileno(self) -> int:
        """Return a descriptor, readable when ``read`` may have something to return; only to be polled."""
        return self._epoll.fileno()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come: what was asked for has been returned, or its time is over."""
        is_read = self._last >= self._boundary and not self._ready
        return is_read and not (self._is_followed and self.left_s() != 0.0)

    def left_s(self) -> float | None:
        """Return how long it is until it is over, for a caller that polls; None: it goes on for ever."""
        if self._until_ns is None:
            return None
        return max(0.0, (self._until_ns - clock.wall_ns()) / 1e9)

    def read(self) -> list[Event]:
        """Return what has come since the last call, some hundreds at the most. Does not block."""
        while not self._ready and self._last < self._boundary:
            self._read_history()
        if not self._ready and self._is_followed:
            self._read_new()
        found = list(self._ready)
        self._ready.clear()
        return found

    def _read_history(self) -> None:
        page = self._drivers.store.events(self._last, since_ns=self._since_ns, until_ns=self._until_ns)
        self._last = page[-1].sequence if page else self._boundary
        self._ready.extend(event for event in page if event.sequence <= self._boundary and self._passes(event))
        self._last = min(self._last, self._boundary)

    def _read_new(self) -> None:
        self._watch.clear()
        while self._ends.look():  # what it logs wakes, too
            self._watch.clear()
        page = self._drivers.store.events(self._last)
        if page:
            self._ends.follow(page)
            lost = page[0].sequence - self._last - 1
            if lost and self._last:
                log.warning(f"{lost} events were deleted from the log before they could be read: see events_max")
            self._last = page[-1].sequence
        self._ready.extend(event for event in page if self._is_wanted(event))

    def _is_wanted(self, event: Event) -> bool:
        is_early = self._starts_ns is not None and event.unix_ns < self._starts_ns
        is_late = self._until_ns is not None and event.unix_ns > self._until_ns
        return bool(event.type) and not is_early and not is_late and self._passes(event)

    def __iter__(self) -> Iterator[Event]:
        """Yield events; block for more until ``is_over``."""
        poller = select.poll()
        poller.register(self.fileno(), select.POLLIN)
        while True:
            is_last = self.is_over  # asked before reading: what was logged until then is still read
            found = self.read()
            yield from found
            if is_last and not found:
                return
            if not found and not self.is_over:
                poller.poll(self.timeout_ms())

    def timeout_ms(self) -> int | None:
        """Return after how long to call ``read`` also where nothing was readable; None: never."""
        left_s = self.left_s()
        if left_s is None and self._watch.is_woken:
            return None
        return math.ceil(min(left_s or _LONGEST_S, _LONGEST_S if self._watch.is_woken else _LOOK_EVERY_S) * 1000)

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self._ends.close()
        self._epoll.close()
        self._watch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""The events of the engine, followed once for all clients, by one thread.

That thread is also what records the end of a container, or of an exec session, that ends by itself
(``bento.engine.events``). It has an engine of its own.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from bento import log, quiet_threads
from bento.config import Settings
from bento.errors import BentoError
from bento.wiring import Engine

if TYPE_CHECKING:
    from bento.engine.events.stream import EventStream
    from bento.model.event import Event

_WAITING_MAX: Final = 10_000
_AGAIN_AFTER_MS: Final = 1000

Passes = Callable[["Event"], bool]


class Subscription:
    """Events to come, for one client. A context; close it."""

    def __init__(self, hub: EventHub, passes: Passes) -> None:
        self._hub, self._passes = hub, passes
        self._waiting: deque[Event] = deque()
        self._news = asyncio.Event()
        self.is_over = False

    async def next(self) -> Event | None:
        """Return the next one; None: there are no more, or this client was too slow to take them."""
        while not self._waiting:
            if self.is_over:
                return None
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()

    def take(self, events: Iterable[Event]) -> None:
        """Keep those that are wanted until they are asked for."""
        self._waiting.extend(event for event in events if self._passes(event))
        if len(self._waiting) > _WAITING_MAX:
            self._waiting.clear()
            self.is_over = True
        self._news.set()

    def end(self) -> None:
        """Let it come to an end after what waits."""
        self.is_over = True
        self._news.set()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self._hub.forget(self)


class EventHub:
    """Follows the events from ``start`` to ``close``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._subscriptions: set[Subscription] = set()
        self._wake_fd, self._end_fd = os.pipe2(os.O_CLOEXEC)
        self._begun: asyncio.Future[None] = self._loop.create_future()

    async def start(self) -> None:
        """Return once nothing that happens is missed. Raises what opening the engine raises."""
        quiet_threads.start(self._main, "events")
        await self._begun

    def subscribe(self, passes: Passes) -> Subscription:
        """Return the events from now on that pass."""
        subscription = Subscription(self, passes)
        self._subscriptions.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Have a subscription take nothing more. Idempotent."""
        self._subscriptions.discard(subscription)

    def _publish(self, events: list[Event]) -> None:
        for subscription in list(self._subscriptions):
            subscription.take(events)

    def _lose(self) -> None:
        """What is followed may have a gap now: clients are to begin again."""
        for subscription in list(self._subscriptions):
            subscription.end()

    def _main(self) -> None:
        with Engine(self._settings) as engine:
            while True:
                try:
                    with engine.events() as stream:
                        self._call(self._has_begun, None)
                        return self._follow(stream)
                except (BentoError, OSError) as error:
                    self._call(self._has_begun, error)
                    log.warning(f"the events cannot be followed now: {error}")
                    self._call(self._lose)
                    if self._is_ended(_AGAIN_AFTER_MS):
                        return None

    def _has_begun(self, error: Exception | None) -> None:
        if self._begun.done():
            return
        if error is None:
            self._begun.set_result(None)
        else:
            self._begun.set_exception(error)

    def _follow(self, stream: EventStream) -> None:
        poller = select.poll()
        poller.register(stream.fileno(), select.POLLIN)
        poller.register(self._wake_fd, select.POLLIN | select.POLLHUP)
        while True:
            ready = {fd for fd, _ in poller.poll(stream.timeout_ms())}
            if self._wake_fd in ready:
                return
            while found := stream.read():
                self._call(self._publish, found)

    def _is_ended(self, timeout_ms: int) -> bool:
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN | select.POLLHUP)
        return bool(poller.poll(timeout_ms))

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop has ended
            return

    def close(self) -> None:
        """Follow no more, and end all subscriptions. Idempotent."""
        if self._end_fd >= 0:
            os.close(self._end_fd)  # the other end is the thread's, which sees this as a hangup
            self._end_fd = -1
        self._lose()

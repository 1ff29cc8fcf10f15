"""What the sessions of the streaming server stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from bento.streaming.links import cancel
from bento.wiring import Engine

T = TypeVar("T")


class Engines(Protocol):
    """Threads that call the engine, so that the loop never blocks."""

    async def ask(self, work: Callable[[Engine], T]) -> T:
        """Have something looked up; return what ``work`` returns, raise what it raises."""

    async def act(self, work: Callable[[Engine], T], undo: Callable[[T], object] | None = None) -> T:
        """Have something done. It goes on when this is cancelled; ``undo`` is then called with what came of it."""


OpenNetwork = Callable[[Engine, str], int | None]
"""Opens the network namespace of a pod, by the id of its sandbox: returns a descriptor, which the caller closes, or
None: the pod is in the host's. Called in a thread of ``Engines``. Raises NotFound, WrongState (it is not ready)."""


class Host:
    """For all sessions."""

    def __init__(self, engines: Engines, open_network: OpenNetwork) -> None:
        self.engines, self.open_network = engines, open_network
        self._tasks: set[asyncio.Task[None]] = set()

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that goes on when its session is over."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Do nothing more of that. Idempotent."""
        await cancel(*self._tasks)

"""What a client has sent and nothing has read yet: by stream, with a bound for all streams of a connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

HELD_MAX_BYTES: Final = 1 << 20
"""Of one connection. A client that sends more waits, with all its streams, until some of it is read: there is no other
way to have Kubernetes' clients wait (docs/decisions/0047-streaming.md)."""


class Held:
    """How much is held of a connection."""

    def __init__(self) -> None:
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be read now."""
        return not self._room.is_set()

    def change(self, count: int) -> None:
        """Note that so many bytes have come, or, below zero, were read."""
        self._bytes += count
        if self._bytes < HELD_MAX_BYTES:
            self._room.set()
        else:
            self._room.clear()

    async def room(self) -> None:
        """Return when there is room."""
        await self._room.wait()


class Inbox:
    """Of one stream. ``on_read`` is told how many bytes need no room any more."""

    def __init__(self, held: Held, on_read: Callable[[int], None] = lambda count: None) -> None:
        self._held, self._on_read = held, on_read
        self._pieces: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._is_ended = self._is_dropped = False
        self._error = ""

    def put(self, data: bytes) -> None:
        """Take what has come."""
        if self._is_dropped:
            self._on_read(len(data))
        elif data:
            self._pieces.append(data)
            self._held.change(len(data))
            self._news.set()

    def end(self) -> None:
        """Let it come to its end behind what is held."""
        self._is_ended = True
        self._news.set()

    def fail(self, why: str) -> None:
        """Have reading fail from now on; what is held is lost."""
        if not self._is_ended and not self._error:
            self._error = why
            self.drop()
        self._news.set()

    def drop(self) -> None:
        """Forget what is held, and what will come: nothing reads it. Idempotent."""
        self._is_dropped = True
        count = sum(map(len, self._pieces))
        self._pieces.clear()
        if count:
            self._held.change(-count)
            self._on_read(count)

    async def read(self) -> bytes:
        """Return what has come, or b"" at its end. Raises ConnectionError when the stream, or the client, is gone."""
        while not self._pieces:
            if self._error:
                raise ConnectionResetError(self._error)
            if self._is_ended:
                return b""
            self._news.clear()
            await self._news.wait()
        data = self._pieces.popleft()
        self._held.change(-len(data))
        self._on_read(len(data))
        return data

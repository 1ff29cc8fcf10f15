"""What SPDY and WebSocket have in common: streams on one connection of a client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

from bento import log
from bento.streaming.inbox import Held
from bento.streaming.pipes import Pipe

CHUNK_BYTES: Final = 1 << 15
"""Of one piece that is sent, so that the streams of a connection take turns."""
LINGER_S: Final = 60.0
"""For a client to take what was sent last, and to leave. Until then the end of a connection is the client's: older
ones lose what they have not read yet when the server ends it first."""


class Stream(Protocol):
    """One of them, in both directions."""

    async def read(self) -> bytes:
        """Return what has come, or b"": the client sends no more on it. Raises ConnectionError."""

    async def write(self, data: bytes) -> None:
        """Send; wait while the client does not take it. Raises ConnectionError when the stream is gone."""

    def end(self) -> None:
        """Send no more on it; the client may. Idempotent; no error where the stream is gone."""

    def drop(self) -> None:
        """Read no more of it: what comes is thrown away. Idempotent."""


class Link(Protocol):
    """A connection."""

    async def run(self) -> None:
        """Read until the client has left, or sends what makes no sense. All streams fail then."""

    def end(self) -> None:
        """Say that all streams have ended, where the client does not see that by themselves."""

    def close(self) -> None:
        """Send what is on its way, and close. Idempotent."""


async def read_into(pipe: Pipe, held: Held, take: Callable[[bytes], Awaitable[bool]]) -> None:
    """Read all that comes, and have it taken, until ``take`` returns False. Waits while much is held."""
    while (data := await pipe.read()) and await take(data):
        if held.is_full and not await _has_room(pipe, held):
            return


async def _has_room(pipe: Pipe, held: Held) -> bool:
    """Wait for room; return False when the client has left meanwhile."""
    room, left = asyncio.ensure_future(held.room()), asyncio.ensure_future(pipe.left())
    try:
        await asyncio.wait((room, left), return_when=asyncio.FIRST_COMPLETED)
        return room.done()
    finally:
        await cancel(room, left)


async def serve(link: Link, work: Coroutine[Any, Any, None]) -> None:
    """Do a client's work until that is done, or the client has left: then the work is cancelled."""
    reading, working = asyncio.ensure_future(link.run()), asyncio.ensure_future(work)
    try:
        await asyncio.wait((reading, working), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            with suppress(ConnectionError):
                working.result()
            link.end()
            await asyncio.wait((reading,), timeout=LINGER_S)
        if reading.done():
            reading.result()
    except (ConnectionError, TimeoutError) as error:
        log.debug(f"a streaming client has left: {str(error) or type(error).__name__}")
    finally:
        await cancel(reading, working)
        link.close()


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait for their ends, however they end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""A client's connection after its upgrade, as bytes in both directions."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final, Protocol

from bento.serving.hangups import Hangups

READ_BYTES: Final = 1 << 16


class Pipe(Protocol):
    """What SPDY, and WebSocket, are carried by; and what WebSocket is to the SPDY in it."""

    async def read(self) -> bytes:
        """Return what has come; b"": the client has left. Raises ConnectionError."""

    def write(self, data: bytes) -> None:
        """Send. What the client does not take yet is kept: for what is small, or follows ``drain``."""

    async def drain(self) -> None:
        """Wait while the client does not take what was sent. Raises ConnectionError when it has left."""

    async def left(self) -> None:
        """Return when the client has left, also while nothing is read."""

    def close(self) -> None:
        """Send what was kept, then close. Does not wait. Idempotent."""


class SocketPipe:
    """One on a connection of asyncio's. ``first``: what has come behind the request."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes, hangups: Hangups
    ) -> None:
        self._reader, self._writer, self._first, self._hangups = reader, writer, first, hangups
        self._closed: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """See Pipe."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return await self._reader.read(READ_BYTES)

    def write(self, data: bytes) -> None:
        """See Pipe."""
        if data and not self._writer.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        """See Pipe."""
        await self._writer.drain()

    async def left(self) -> None:
        """See Pipe. These clients never end one direction alone."""
        connection: Any = self._writer.get_extra_info("socket")
        fd = connection.fileno()
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed is None:
            self._closed = asyncio.ensure_future(self._until_closed())
        if fd >= 0:
            self._hangups.watch(fd, lambda: _resolve(gone), is_whole=True)
        try:
            await asyncio.wait((gone, self._closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if connection.fileno() == fd:  # else it was closed, and the number may be another connection's
                self._hangups.forget(fd)
            gone.cancel()

    async def _until_closed(self) -> None:
        """Wait until a write has failed, or the server has ended it. To be awaited once: a cancellation of it stays."""
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    def close(self) -> None:
        """See Pipe."""
        self._writer.close()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

"""A connection that was handed over: bytes in both directions, each of which ends by itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final, Protocol

READ_BYTES: Final = 1 << 16


class Reader(Protocol):
    """What is used of asyncio.StreamReader."""

    async def read(self, n: int, /) -> bytes: ...


class Writer(Protocol):
    """What is used of asyncio.StreamWriter."""

    @property
    def transport(self) -> asyncio.WriteTransport: ...
    def write(self, data: bytes, /) -> None: ...
    async def drain(self) -> None: ...
    def write_eof(self) -> None: ...
    def close(self) -> None: ...
    async def wait_closed(self) -> None: ...
    def get_extra_info(self, name: str, /) -> Any: ...


class Duplex:
    """Both directions of a connection after its upgrade."""

    def __init__(self, reader: Reader, writer: Writer, first: bytes) -> None:
        self._reader, self._writer, self._first = reader, writer, first

    async def read(self) -> bytes:
        """Return what the client has sent; b"": it sends no more, and may still read."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return await self._reader.read(READ_BYTES)

    async def write(self, data: bytes) -> None:
        """Send; wait while the client does not read. Raises ConnectionError when it has left."""
        self._writer.write(data)
        await self._writer.drain()

    def end(self) -> None:
        """Send no more; the client may still send."""
        with suppress(OSError, RuntimeError):
            self._writer.write_eof()

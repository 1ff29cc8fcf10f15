"""A connection that was handed over: bytes in both directions, each of which ends by itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

READ_BYTES: Final = 1 << 16


class Duplex:
    """Both directions of a connection after its upgrade."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
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

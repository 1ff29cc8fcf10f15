"""The sizes of a client's terminal, as the stream ``resize`` tells them: JSON documents one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from bento.model.terminal import WindowSize
from bento.streaming.links import Stream

FIRST_LIMIT_S: Final = 0.1
"""For the size that clients send at once, so that the command begins with it."""
_DOCUMENT_MAX_BYTES: Final = 4096


class _Size(Struct):
    Width: int = 0
    Height: int = 0


class Sizes:
    """Reads them. What is none ends them: the rest is not heeded."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._rest = stream, b""

    async def first(self) -> WindowSize | None:
        """Return the first size; None: there is none yet, or none will come. Raises ConnectionError."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LIMIT_S):
                return await self._next()
        return None

    async def follow(self, resize: Callable[[WindowSize], object]) -> None:
        """Pass sizes on until the client sends no more. Raises ConnectionError."""
        while (size := await self._next()) is not None:
            resize(size)

    async def _next(self) -> WindowSize | None:
        try:
            while data := await self._stream.read():
                if (size := self._feed(data)) is not None:
                    return size
        except (ValueError, msgspec.MsgspecError):
            self._stream.drop()
        return None

    def _feed(self, data: bytes) -> WindowSize | None:
        """Return the last size that is whole; None: there is none. Raises ValueError for what is none."""
        *documents, self._rest = (self._rest + data).split(b"}")
        if len(self._rest) > _DOCUMENT_MAX_BYTES:
            raise ValueError("a size of a terminal that has no end")
        found = None
        for document in documents:
            size = msgspec.json.decode(document + b"}", type=_Size)
            if 0 < size.Width <= 0xFFFF and 0 < size.Height <= 0xFFFF:
                found = WindowSize(size.Height, size.Width)
        return found

"""The sizes of a client's terminal, as the stream ``resize`` tells them: JSON documents one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from bento.model.terminal import WindowSize
from bento.streaming.links import Stream

_DOCUMENT_MAX_BYTES: Final = 4096


class _Size(Struct):
    Width: int = 0
    Height: int = 0


class Sizes:
    """Puts documents together again, however they were cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> WindowSize | None:
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


async def follow(stream: Stream, resize: Callable[[WindowSize], object]) -> None:
    """Pass sizes on until the client sends no more, or something that is none: then the rest is not heeded."""
    sizes = Sizes()
    try:
        while data := await stream.read():
            if (size := sizes.feed(data)) is not None:
                resize(size)
    except (ValueError, msgspec.MsgspecError):
        stream.drop()

"""A client's one request, and what it is answered: an upgrade, or why not."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import h11
from msgspec import Struct

from bento import __version__

HEAD_MAX_BYTES: Final = 64 * 1024
HEAD_LIMIT_S: Final = 30.0
LINGER_S: Final = 2.0
_READ_BYTES: Final = 1 << 16


class Refused(Exception):
    """The answer is an error."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


class Head(Struct, frozen=True):
    """A request. ``first``: what the client has sent behind it."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]  # names in small letters
    first: bytes

    def values(self, name: str) -> list[str]:
        """Return all values of a header."""
        wanted = name.encode()
        return [value.decode("latin-1") for each, value in self.headers if each == wanted]


class Handshake:
    """Of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)

    async def read(self) -> Head | None:
        """Return the request; None: the client has left before. Raises Refused, ConnectionError, TimeoutError."""
        try:
            async with asyncio.timeout(HEAD_LIMIT_S):
                request = await self._next()
                if not isinstance(request, h11.Request):
                    return None
                while (event := await self._next()) is not h11.PAUSED and not isinstance(event, h11.EndOfMessage):
                    if not isinstance(event, h11.Data) or event.data:
                        raise Refused(400, "a streaming request has no body")
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint, f"bad request: {error}") from None
        first, _ = self._h11.trailing_data
        return Head(request.method, request.target, tuple(request.headers), first)

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await self._reader.read(_READ_BYTES))
        return event  # type: ignore[return-value]

    def switch(self, protocol: str, headers: tuple[tuple[str, str], ...]) -> None:
        """Answer that the connection is the client's from now on."""
        lines = [("Connection", "Upgrade"), ("Upgrade", protocol), *headers]
        answer = h11.InformationalResponse(status_code=101, headers=lines, reason=b"Switching Protocols")
        self._writer.write(self._h11.send(answer) or b"")

    async def refuse(self, refused: Refused) -> None:
        """Answer an error, which is the last answer on this connection. Raises ConnectionError.

        What a client still sends is read for a while: unread, it would have the kernel take the answer back.
        """
        body = f"{refused}\n".encode()
        lines = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            ("Server", f"Bento/{__version__} (linux)"),
            *refused.headers,
        ]
        head = "".join(f"{name}: {value}\r\n" for name, value in lines)
        reason = HTTPStatus(refused.status).phrase
        self._writer.write(f"HTTP/1.1 {refused.status} {reason}\r\n{head}\r\n".encode() + body)
        self._writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(_READ_BYTES):
                    pass

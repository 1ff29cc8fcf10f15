"""A connection that was handed over as a WebSocket: what its messages carry, as the bytes of a Duplex."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from bento.api_docker.http.duplex import Duplex, Reader, Writer
from bento.errors import UsageError
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.api_docker.http.call import Call
    from bento.streaming import websocket
else:  # most clients come without it
    websocket = LazyModule("bento.streaming.websocket")


def asked_of(call: Call) -> websocket.WebSocket:
    """Return the WebSocket that a request asks for. Raises UsageError for one that is no such request."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in call.headers.items()]
    try:
        return websocket.WebSocket(headers, call.path.encode("utf-8", "surrogateescape"))
    except websocket.NoHandshake as error:
        raise UsageError(f"this is no request for a WebSocket: {error}") from None


class Messages(Duplex):
    """Both directions. What goes out is binary; what comes in may be text, too, and in pieces."""

    def __init__(self, reader: Reader, writer: Writer, first: bytes, socket: websocket.WebSocket) -> None:
        super().__init__(reader, writer, first)
        self._socket = socket

    async def read(self) -> bytes:
        """Return what the client has sent; b"": the connection was cut. Raises ConnectionError where it was closed.

        Half a WebSocket cannot be closed: a client that closes it wants no more of the output either.
        """
        while data := await super().read():
            pieces, answer, goes_on = self._socket.receive(data)
            if answer:
                await super().write(answer)
            if not goes_on:
                raise ConnectionResetError("the client has closed its WebSocket")
            if found := b"".join(piece.data for piece in pieces):
                return found
        return b""

    async def write(self, data: bytes) -> None:
        """Send it as one message; wait while the client does not read. Raises ConnectionError when it has left."""
        await super().write(self._socket.message(data))

    async def drained(self) -> bool:
        """Read what nothing wants, for its pings and its close; return False, as an input that has ended."""
        while await self.read():
            pass
        return False

    def end(self) -> None:
        """Close it: say so, and send no more."""
        with suppress(OSError, RuntimeError):
            self._writer.write(self._socket.close())
        super().end()

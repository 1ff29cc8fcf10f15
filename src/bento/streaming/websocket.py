"""WebSocket on a connection, by wsproto: messages in pieces, pings, the close."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from bento.streaming.pipes import Pipe

NORMAL: Final = 1000
"""The code of a close as it should be (RFC 6455, 7.4.1)."""
TOO_BIG: Final = 1009


class Piece(Struct, frozen=True):
    """A piece of a message. ``is_first``, ``is_last``: of its message."""

    data: bytes
    is_first: bool
    is_last: bool


class NoHandshake(Exception):
    """A request that is not as RFC 6455 has it. ``status``: the answer's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class WebSocket:
    """The server's side, once ``accept`` was called."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], target: bytes) -> None:
        """``headers``, ``target``: of the request, which was read already. Raises NoHandshake."""
        self._wsproto = WSConnection(ConnectionType.SERVER)
        try:
            self._wsproto.initiate_upgrade_connection(list(headers), target)
        except RemoteProtocolError as error:
            hint = getattr(error, "event_hint", None)
            raise NoHandshake(str(error), getattr(hint, "status_code", 400)) from None
        list(self._wsproto.events())
        self._is_first = True

    def accept(self, subprotocol: str) -> bytes:
        """Return the answer to the request; ``subprotocol`` "": none."""
        return self._wsproto.send(AcceptConnection(subprotocol=subprotocol or None))

    def receive(self, data: bytes) -> tuple[list[Piece], bytes, bool]:
        """Return what has come, what is to be sent now, and whether the client goes on."""
        pieces: list[Piece] = []
        output = b""
        try:
            self._wsproto.receive_data(data)
            for event in self._wsproto.events():
                if isinstance(event, BytesMessage | TextMessage):
                    pieces.append(self._piece(event))
                elif isinstance(event, Ping):
                    output += self._wsproto.send(event.response())
                elif isinstance(event, CloseConnection):
                    if self._wsproto.state is ConnectionState.REMOTE_CLOSING:
                        output += self._wsproto.send(event.response())
                    else:  # not of the client: it has sent what makes no sense
                        output += self.close(event.code)
                    return pieces, output, False
        except RemoteProtocolError as error:
            hint = getattr(error, "event_hint", None)
            return pieces, output + self.close(getattr(hint, "code", 1002)), False
        return pieces, output, True

    def _piece(self, event: BytesMessage | TextMessage) -> Piece:
        data = event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
        piece = Piece(data, self._is_first, event.message_finished)
        self._is_first = event.message_finished
        return piece

    def message(self, data: bytes | str) -> bytes:
        """Return what sends a message. b"": the connection was closed."""
        event = TextMessage(data=data) if isinstance(data, str) else BytesMessage(data=data)
        try:
            return self._wsproto.send(event)
        except LocalProtocolError:
            return b""

    def close(self, code: int = NORMAL) -> bytes:
        """Return what closes the connection; b"": it was closed. Idempotent."""
        try:
            return self._wsproto.send(CloseConnection(code=code))
        except LocalProtocolError:
            return b""


class Tunnel:
    """What messages carry, as a Pipe: of a SPDY connection in a WebSocket."""

    def __init__(self, pipe: Pipe, socket: WebSocket) -> None:
        self._pipe, self._socket = pipe, socket
        self._is_over = False

    async def read(self) -> bytes:
        """See Pipe."""
        while not self._is_over and (data := await self._pipe.read()):
            pieces, output, goes_on = self._socket.receive(data)
            self._pipe.write(output)
            await self._pipe.drain()
            self._is_over = not goes_on
            if found := b"".join(piece.data for piece in pieces):
                return found
        return b""

    def write(self, data: bytes) -> None:
        """See Pipe."""
        if data:
            self._pipe.write(self._socket.message(data))

    async def drain(self) -> None:
        """See Pipe."""
        await self._pipe.drain()

    async def left(self) -> None:
        """See Pipe."""
        await self._pipe.left()

    def close(self) -> None:
        """See Pipe."""
        self._pipe.write(self._socket.close())
        self._pipe.close()

"""Exec and attach over WebSocket: the first byte of each message is the number of its stream."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Final

from bento.streaming.inbox import Held, Inbox
from bento.streaming.links import CHUNK_BYTES, read_into
from bento.streaming.pipes import Pipe
from bento.streaming.websocket import TOO_BIG, Piece, WebSocket

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE: Final = 255
"""Of version 5: the next byte is the number of a stream on which the client sends no more."""
_NUMBERS: Final = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}
_MESSAGE_MAX_BYTES: Final = 1 << 20  # of one that has to be whole


class Channel:
    """See links.Stream."""

    def __init__(self, link: ChannelLink, number: int, held: Held) -> None:
        self._link, self._number = link, number
        self.inbox = Inbox(held)
        self._is_ended = False

    async def read(self) -> bytes:
        """See Stream."""
        return await self.inbox.read()

    async def write(self, data: bytes) -> None:
        """See Stream."""
        if self._is_ended:
            raise BrokenPipeError("the stream was ended")
        for at in range(0, len(data), CHUNK_BYTES):
            await self._link.send(self._number, data[at : at + CHUNK_BYTES])

    def end(self) -> None:
        """See Stream. The client is told by the end of the connection alone: there is no message for it."""
        self._is_ended = True

    def drop(self) -> None:
        """See Stream."""
        self.inbox.drop()


class ChannelLink:
    """See links.Link. ``channels``: by the words that SPDY's streams have for them."""

    def __init__(self, pipe: Pipe, socket: WebSocket, wanted: frozenset[str], *, is_base64: bool) -> None:
        self._pipe, self._socket, self._is_base64 = pipe, socket, is_base64
        self._held = Held()
        self._turn = asyncio.Lock()
        self.channels = {name: Channel(self, _NUMBERS[name], self._held) for name in sorted(wanted)}
        self._by_number = {_NUMBERS[name]: channel for name, channel in self.channels.items()}
        for name in self.channels.keys() - {"stdin", "resize"}:
            self.channels[name].drop()  # nothing is read of the others
        self._number: int | None = None  # of the message that is coming
        self._whole = bytearray()  # of a message that is needed whole

    async def greet(self) -> None:
        """Tell the client that it is connected: by an empty message, as other servers do."""
        await self.send(min(number for number in self._by_number if number not in (STDIN, RESIZE)), b"")

    async def run(self) -> None:
        """See Link."""
        try:
            await read_into(self._pipe, self._held, self._take)
        finally:
            for channel in self.channels.values():
                channel.inbox.fail("the client has left")

    async def _take(self, data: bytes) -> bool:
        pieces, output, goes_on = self._socket.receive(data)
        goes_on = all([self._apply(piece) for piece in pieces]) and goes_on
        self._pipe.write(output)
        if output:
            await self._pipe.drain()
        return goes_on

    def _apply(self, piece: Piece) -> bool:
        """Give a piece to its channel; return False for what makes no sense."""
        if piece.is_first:
            self._number = None
            self._whole.clear()
        data = piece.data
        if self._number is None and data and not self._is_base64:
            self._number, data = data[0], data[1:]
        if self._is_base64 or self._number == CLOSE:
            return self._keep(data, is_last=piece.is_last)
        channel = self._by_number.get(-1 if self._number is None else self._number)
        if channel is not None:  # what is meant for none is dropped, as other servers do
            channel.inbox.put(data)
        return True

    def _keep(self, data: bytes, *, is_last: bool) -> bool:
        """Keep what can be understood only when it is whole."""
        self._whole += data
        if len(self._whole) > _MESSAGE_MAX_BYTES:
            self._pipe.write(self._socket.close(TOO_BIG))
            return False
        if is_last and self._is_base64:
            return self._decode()
        if is_last and self._whole and self._whole[0] in self._by_number:
            self._by_number[self._whole[0]].inbox.end()
        return True

    def _decode(self) -> bool:
        number = self._whole[0] - ord("0") if self._whole else -1
        try:
            data = base64.b64decode(self._whole[1:], validate=True)
        except binascii.Error:
            return False
        if number in self._by_number:
            self._by_number[number].inbox.put(data)
        return True

    async def send(self, number: int, data: bytes) -> None:
        """Send a message to a channel, in turn. Raises ConnectionError."""
        async with self._turn:
            await self._pipe.drain()
            if self._is_base64:
                self._pipe.write(self._socket.message(f"{number}{base64.b64encode(data).decode()}"))
            else:
                self._pipe.write(self._socket.message(bytes((number,)) + data))

    def end(self) -> None:
        """See Link."""
        self._pipe.write(self._socket.close())

    def close(self) -> None:
        """See Link."""
        self.end()
        self._pipe.close()

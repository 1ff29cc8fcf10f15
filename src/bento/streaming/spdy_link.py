"""SPDY/3.1 on a connection: its streams, each with its window and its bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from bento import log
from bento.spdy.connection import Connection, StreamClosed
from bento.spdy.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    StreamEnded,
    StreamOpened,
    StreamReset,
    WindowOpened,
)
from bento.spdy.frames import Status
from bento.streaming.inbox import Held, Inbox
from bento.streaming.links import CHUNK_BYTES, read_into
from bento.streaming.pipes import Pipe

_REPLIES_MAX_BYTES: Final = 1 << 20
"""Of replies, as to pings, that a client has asked for and does not take: then it is not read either."""


class SpdyStream:
    """See links.Stream. ``headers``: by name in small letters."""

    def __init__(self, link: SpdyLink, stream_id: int, headers: dict[str, str], held: Held) -> None:
        self.id, self.headers = stream_id, headers
        self._link = link
        self.inbox = Inbox(held, lambda count: link.consumed(stream_id, count))
        self.window = asyncio.Event()  # set when there may be more room than before
        self.is_gone = self.is_ended_by_client = self.is_ended_by_us = False

    async def read(self) -> bytes:
        """See Stream."""
        return await self.inbox.read()

    async def write(self, data: bytes) -> None:
        """See Stream."""
        left = memoryview(data)
        while left:
            sent = await self._link.send(self, left)
            if not sent:
                await self.window.wait()
            left = left[sent:]

    def end(self) -> None:
        """See Stream."""
        self._link.end_stream(self)

    def drop(self) -> None:
        """See Stream."""
        self.inbox.drop()

    def reset(self, status: Status = Status.CANCEL) -> None:
        """End it in both directions. Idempotent."""
        self._link.reset(self, status)

    def fail(self, why: str) -> None:
        """Have what reads or writes it be told that it is gone."""
        self.is_gone = True
        self.inbox.fail(why)
        self.window.set()


class SpdyLink:
    """See links.Link. ``on_open`` is told of each stream: it calls ``accept``, or ``SpdyStream.reset``."""

    def __init__(self, pipe: Pipe, on_open: Callable[[SpdyStream], None]) -> None:
        self._pipe, self._on_open = pipe, on_open
        self._spdy = Connection()
        self._streams: dict[int, SpdyStream] = {}
        self._held = Held()
        self._turn = asyncio.Lock()  # the streams of a connection send by turns
        self._unread_replies = 0

    async def run(self) -> None:
        """See Link."""
        try:
            await read_into(self._pipe, self._held, self._take)
        finally:
            for stream in self._streams.values():
                stream.fail("the client has left")
            self._streams.clear()

    async def _take(self, data: bytes) -> bool:
        is_sound = all([self._apply(event) for event in self._spdy.receive_data(data)])
        self._unread_replies += self._flush()
        if self._unread_replies > _REPLIES_MAX_BYTES:
            await self._pipe.drain()
            self._unread_replies = 0
        return is_sound

    def _apply(self, event: Event) -> bool:
        """Pass an event on; return False when there can be no more."""
        if isinstance(event, StreamOpened):
            stream = self._streams[event.stream_id] = SpdyStream(self, event.stream_id, event.headers, self._held)
            self._on_open(stream)
        elif isinstance(event, ConnectionFailed):
            log.debug(f"a streaming client does not speak SPDY/3.1: {event.reason}")
            return False
        elif isinstance(event, WindowOpened):
            for each in self._streams.values() if not event.stream_id else self._of(event.stream_id):
                each.window.set()
        elif isinstance(event, DataReceived):
            for each in self._of(event.stream_id):
                each.inbox.put(event.data)
        elif isinstance(event, StreamEnded):
            for each in self._of(event.stream_id):
                each.inbox.end()
                each.is_ended_by_client = True
                self._forget_if_over(each)
        elif isinstance(event, StreamReset) and event.stream_id in self._streams:
            self._streams.pop(event.stream_id).fail("the stream was reset")
        return True

    def _of(self, stream_id: int) -> tuple[SpdyStream, ...]:
        stream = self._streams.get(stream_id)
        return () if stream is None else (stream,)

    def accept(self, stream: SpdyStream) -> None:
        """Reply to a stream that was opened."""
        with suppress(StreamClosed):  # its reset, or the end of all, has come in the same breath
            self._spdy.reply(stream.id)
        self._flush()

    async def send(self, stream: SpdyStream, data: memoryview) -> int:
        """Send some of it, in turn; return how much: 0, its window is closed. Raises ConnectionError."""
        async with self._turn:
            await self._pipe.drain()
            if stream.is_gone:
                raise ConnectionResetError("the stream was reset")
            try:
                count = min(len(data), CHUNK_BYTES, self._spdy.room(stream.id))
            except StreamClosed:
                raise BrokenPipeError("the stream was ended") from None
            if count:
                self._spdy.send_data(stream.id, data[:count])
                self._flush()
            else:
                stream.window.clear()
            return count

    def end_stream(self, stream: SpdyStream) -> None:
        """Send no more on a stream. Idempotent."""
        try:
            self._spdy.end(stream.id)
        except StreamClosed:
            return
        stream.is_ended_by_us = True
        self._forget_if_over(stream)
        self._flush()

    def _forget_if_over(self, stream: SpdyStream) -> None:
        if stream.is_ended_by_client and stream.is_ended_by_us:
            self._streams.pop(stream.id, None)

    def reset(self, stream: SpdyStream, status: Status) -> None:
        """End a stream in both directions. Idempotent."""
        self._streams.pop(stream.id, None)
        self._spdy.reset(stream.id, status)
        stream.fail("the stream was reset")
        self._flush()

    def consumed(self, stream_id: int, count: int) -> None:
        """Note that what a client has sent was read."""
        self._spdy.consumed(stream_id, count)
        self._flush()

    def _flush(self) -> int:
        output = self._spdy.take_output()
        self._pipe.write(output)
        return len(output)

    def end(self) -> None:
        """See Link. Nothing: each stream has told its end."""

    def close(self) -> None:
        """See Link."""
        self._spdy.go_away()
        self._flush()
        self._pipe.close()

"""One client's connection: its requests one after the other, until it leaves, is taken over, or the server ends.

h11 reads and writes HTTP and has no I/O; this is its I/O, with a limit for everything that a client could draw out.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Final, cast

import h11

from bento import __version__, log
from bento.api_docker.http.call import Peer
from bento.api_docker.http.duplex import READ_BYTES, Duplex, Reader, Writer
from bento.api_docker.http.replies import Answer, Headers, Reply, Streamed, Upgrade, failure
from bento.api_docker.http.websocket import Messages
from bento.serving.hangups import Hangups

HEAD_MAX_BYTES: Final = 64 * 1024
HEAD_LIMIT_S: Final = 30.0
"""From the first byte of a request's head to its last one."""
BODY_STALL_S: Final = 120.0
"""Between two pieces of a body."""
SEND_LIMIT_S: Final = 60.0
"""For a client to take a whole answer. One that goes on for a while waits for its client without a limit."""
CLOSE_LIMIT_S: Final = 30.0
"""For a client to take the rest of what was sent, once the connection is over."""
DRAIN_LIMIT_S: Final = 30.0
"""For the rest of a body that no handler has read."""
_KEPT_MAX_BYTES: Final = 256 * 1024  # of what is sent while an answer is on its way
_DRAINED_MAX_BYTES: Final = 1 << 20  # of a body that was not read; more ends the connection

Dispatch = Callable[["Connection", h11.Request], Awaitable[Answer]]
_OF_SERVER: Final = (
    ("Api-Version", "1.44"),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    ("Server", f"Bento/{__version__} (linux)"),
)


class Connection:
    """A connection. ``serve`` returns when it is over; ``end`` has that come soon."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        peer: Peer,
        dispatch: Dispatch,
        hangups: Hangups,
    ) -> None:
        self.peer = peer
        self._reader, self._writer = reader, writer
        self._dispatch, self._hangups = dispatch, hangups
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
        self._body_is_over = asyncio.Event()
        self._is_ending = False
        self._endless: asyncio.Future[Any] | None = None  # what the end of the server cancels

    def end(self) -> None:
        """End it: at once between two requests, else after the answer, of which what goes on for a while is cut."""
        self._is_ending = True
        if self._endless is not None:
            self._endless.cancel()

    async def serve(self) -> None:
        """Answer requests until it is over."""
        try:
            while not self._is_ending and await self._one():
                self._h11.start_next_cycle()
        except (ConnectionError, TimeoutError, h11.LocalProtocolError) as error:
            log.debug(f"connection of {self.peer.shown} ended: {str(error) or type(error).__name__}")
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
        finally:
            await self._close()

    async def _one(self) -> bool:
        """Answer one request; return whether there may be another."""
        self._body_is_over.clear()
        request = await self._request()
        if request is None:
            return False
        headers = dict(request.headers)
        if headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
            await self.receive()  # nothing: a handler need not ask for a body that is not there
        answer = await self._dispatch(self, request)
        match answer:
            case Reply():
                async with asyncio.timeout(SEND_LIMIT_S):
                    await self._send_whole(answer, is_head=request.method == b"HEAD")
            case Streamed():
                try:
                    await self._send_streamed(answer)
                finally:
                    answer.abandon()
            case Upgrade():
                try:
                    await self._hand_over(answer)
                finally:
                    answer.abandon()
                return False
        return await self._is_clean()

    async def _request(self) -> h11.Request | None:
        """Return the next request's head; None: the client has left, or the server ends."""
        event = self._h11.next_event()
        if event is h11.NEED_DATA and not await self._before_end(self._feed()):
            return None
        async with asyncio.timeout(HEAD_LIMIT_S):
            while (event := self._h11.next_event() if event is h11.NEED_DATA else event) is h11.NEED_DATA:
                await self._feed()
        return event if isinstance(event, h11.Request) else None

    async def receive(self) -> bytes:
        """Return the next piece of the body; b"" at its end. Raises ConnectionError, TimeoutError."""
        while not self._body_is_over.is_set():
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
                async with asyncio.timeout(BODY_STALL_S):
                    await self._feed()
            elif isinstance(event, h11.Data):
                if event.data:
                    return bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
                self._body_is_over.set()
            else:
                raise ConnectionResetError("the client has left")
        return b""

    async def _feed(self) -> None:
        self._h11.receive_data(await self._reader.read(READ_BYTES))

    async def _before_end(self, work: Coroutine[Any, Any, Any], *others: asyncio.Future[Any]) -> bool:
        """Await something unless the server ends, or one of the others does; return whether it was done."""
        task = self._endless = asyncio.ensure_future(work)
        if self._is_ending:
            task.cancel()
        try:
            await asyncio.wait([task, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._endless = None
            for each in (task, *others):
                each.cancel()
            await asyncio.wait([task, *others])
        if task.cancelled():
            return False
        task.result()
        return True

    async def _send(self, *events: h11.Event) -> None:
        for event in events:
            if data := self._h11.send(event):
                self._writer.write(data)
        await self._writer.drain()

    async def _send_whole(self, reply: Reply, *, is_head: bool) -> None:
        # 304 and 204 have no body, and no length.
        length = () if reply.status in (204, 304) else (("Content-Length", str(len(reply.body))),)
        if is_head and any(name.lower() == "content-length" for name, _ in reply.headers):
            length = ()
        events: list[h11.Event] = [_response(reply.status, reply.content_type, (*length, *reply.headers))]
        if reply.body and not is_head:
            events.append(h11.Data(data=reply.body))
        await self._send(*events, h11.EndOfMessage())

    async def _send_streamed(self, reply: Streamed) -> None:
        """Send piece by piece until the end of it, of the client, or of the server."""
        await self._send(_response(reply.status, reply.content_type, reply.headers))
        left = asyncio.ensure_future(self.until_left())
        is_complete = await self._before_end(self._pump(reply), left)
        if not left.cancelled():
            raise ConnectionResetError("the client has left")
        if reply.is_one and not is_complete:
            raise ConnectionResetError("the server ends")
        await self._send(h11.EndOfMessage())

    async def _pump(self, reply: Streamed) -> None:
        async with aclosing(cast(Any, reply.chunks)) as chunks:
            async for chunk in chunks:
                if chunk:
                    async with asyncio.timeout(reply.stall_limit_s):
                        await self._send(h11.Data(data=chunk))

    async def until_left(self) -> None:
        """Return when the client has left. What it sends meanwhile is kept for its next request."""
        await self._body_is_over.wait()  # until then the body's reader sees it
        kept = 0
        while kept < _KEPT_MAX_BYTES:
            data = await self._reader.read(READ_BYTES)
            self._h11.receive_data(data)
            kept += len(data)
            if not data:
                return
        await asyncio.Event().wait()

    async def _hand_over(self, upgrade: Upgrade) -> None:
        """Send the head of the answer, and let the handler have the connection."""
        await self._is_clean()
        has_asked = str(self._h11.their_state) == "MIGHT_SWITCH_PROTOCOL"
        if upgrade.socket is not None:
            self._writer.write(upgrade.socket.accept(""))
            await self._writer.drain()
        elif has_asked:
            headers = [("Content-Type", upgrade.content_type), ("Connection", "Upgrade"), ("Upgrade", "tcp")]
            await self._send(
                h11.InformationalResponse(status_code=101, headers=[*headers, *_OF_SERVER], reason=b"UPGRADED")
            )
        else:  # as clients of old have it
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {upgrade.content_type}\r\n\r\n"
            self._writer.write(head.encode())
            await self._writer.drain()
        first, _ = self._h11.trailing_data
        ends = (self._reader, self._writer, first)
        duplex = Duplex(*ends) if upgrade.socket is None else Messages(*ends, upgrade.socket)
        client = self._writer.get_extra_info("socket")
        fd = client.fileno()
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hangups.watch(fd, gone.cancel, is_whole=client.family != socket.AF_UNIX)
        try:
            await self._before_end(upgrade.run(duplex), gone)
        finally:
            self._hangups.forget(fd)

    async def _is_clean(self) -> bool:
        """Read what is left of a body that no handler wanted; return whether another request may follow."""
        read = 0
        async with asyncio.timeout(DRAIN_LIMIT_S):
            while not self._body_is_over.is_set() and self._h11.their_state is not h11.MUST_CLOSE:
                chunk = await self.receive()
                read += len(chunk)
                if read > _DRAINED_MAX_BYTES:
                    return False
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is no HTTP, or too long."""
        with suppress(ConnectionError, TimeoutError, h11.LocalProtocolError):
            async with asyncio.timeout(SEND_LIMIT_S):
                reply = failure(f"bad request: {error}", error.error_status_hint)
                await self._send_whole(reply, is_head=False)

    async def _close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            try:
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await self._writer.wait_closed()
            except TimeoutError:  # it does not read the rest
                self._writer.transport.abort()


def _response(status: int, content_type: str, headers: Headers) -> h11.Response:
    kind = (("Content-Type", content_type),) if content_type else ()
    return h11.Response(status_code=status, headers=[*kind, *headers, *_OF_SERVER], reason=_REASONS.get(status, b""))


_REASONS: Final = {
    200: b"OK", 201: b"Created", 204: b"No Content", 304: b"Not Modified", 400: b"Bad Request", 403: b"Forbidden",
    404: b"Not Found", 405: b"Method Not Allowed", 409: b"Conflict", 500: b"Internal Server Error",
    501: b"Not Implemented", 503: b"Service Unavailable",
}  # fmt: skip

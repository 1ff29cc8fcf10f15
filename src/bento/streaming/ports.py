"""Port-forward: over SPDY, for each connection a pair of streams, ``data`` and ``error``, with the number of a port."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from bento import log
from bento.errors import BentoError
from bento.spdy.frames import Status
from bento.streaming.host import Host
from bento.streaming.links import cancel
from bento.streaming.pod_sockets import connect
from bento.streaming.requests import PortForwardRequest
from bento.streaming.spdy_link import SpdyLink, SpdyStream

PAIRING_LIMIT_S: Final = 30.0
"""For the second stream of a pair to come."""
_READ_BYTES: Final = 1 << 16


class Forwarding:
    """One client's. ``take`` is told of each stream; ``run`` ends when it is cancelled."""

    def __init__(self, host: Host, request: PortForwardRequest) -> None:
        self._host, self._request = host, request
        self._pairs: dict[str, dict[str, SpdyStream]] = {}  # those that are not complete
        self._tasks: set[asyncio.Task[None]] = set()
        self.link: SpdyLink | None = None

    async def run(self) -> None:
        """Forward until the client has left."""
        try:
            await asyncio.Event().wait()
        finally:
            await cancel(*self._tasks)

    def take(self, stream: SpdyStream) -> None:
        """Take a stream that was opened, or refuse it."""
        kind, port = stream.headers.get("streamtype", ""), _port(stream.headers.get("port", ""))
        if self.link is None or kind not in ("data", "error") or port is None:
            stream.reset(Status.REFUSED_STREAM)
            return
        number = stream.headers.get("requestid", "") or str(stream.id - (2 if kind == "data" else 0))
        pair = self._pairs.setdefault(number, {})
        if kind in pair:
            stream.reset(Status.REFUSED_STREAM)
            return
        pair[kind] = stream
        self.link.accept(stream)
        if kind == "error":
            stream.drop()  # the client sends nothing on it
        if len(pair) == 2:
            del self._pairs[number]
            self._begin(self._forward(port, pair["data"], pair["error"]))
        else:
            self._begin(self._expire(number, pair))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()) is not None:
            log.warning(f"defect in a connection that was forwarded: {type(defect).__name__}: {defect}")

    async def _expire(self, number: str, pair: dict[str, SpdyStream]) -> None:
        """Refuse a stream whose other one does not come."""
        await asyncio.sleep(PAIRING_LIMIT_S)
        if self._pairs.get(number) is pair:
            del self._pairs[number]
            for stream in pair.values():
                stream.reset()

    async def _forward(self, port: int, data: SpdyStream, error: SpdyStream) -> None:
        try:
            connection = await connect(self._host, self._request.sandbox_id, port)
            with connection:
                await _relay(connection, data, error)
        except (BentoError, OSError) as failure:  # TimeoutError is an OSError
            message = f"error forwarding port {port} to pod {self._request.sandbox_id}: {_words(failure)}"
            log.debug(message)
            with suppress(ConnectionError):
                await error.write(message.encode())
        finally:
            data.end()
            error.end()
            data.reset()  # what the client still sends goes nowhere; nothing where it has ended, too


def _words(failure: BentoError | OSError) -> str:
    if isinstance(failure, OSError) and failure.errno:
        return os.strerror(failure.errno)
    return str(failure) or "it took too long"


async def _relay(connection: socket.socket, data: SpdyStream, error: SpdyStream) -> None:
    """Copy both ways; each ends by itself. A client that resets the stream wants no more of either.

    Raises OSError of the pod's side.
    """
    sending = asyncio.ensure_future(_to_pod(connection, data))
    receiving = asyncio.ensure_future(_from_pod(connection, data, error))
    try:
        await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_EXCEPTION)
        for task in (receiving, sending):
            if task.done():
                task.result()
    except _ClientLeft:
        return
    finally:
        await cancel(sending, receiving)


class _ClientLeft(Exception):
    pass


async def _to_pod(connection: socket.socket, data: SpdyStream) -> None:
    loop = asyncio.get_running_loop()
    while piece := await _of_client(data.read()):
        await loop.sock_sendall(connection, piece)
    with suppress(OSError):  # the pod may have closed it already
        connection.shutdown(socket.SHUT_WR)


async def _from_pod(connection: socket.socket, data: SpdyStream, error: SpdyStream) -> None:
    loop = asyncio.get_running_loop()
    while piece := await loop.sock_recv(connection, _READ_BYTES):
        await _of_client(data.write(piece))
    data.end()
    error.end()  # clients wait for this, and then end their side


async def _of_client(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except ConnectionError as gone:
        raise _ClientLeft from gone


def _port(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536 else None

"""The server: an HTTP port on loopback, whose URLs are given out one by one."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Final

from bento import log
from bento.errors import BentoError, KernelError
from bento.serving.hangups import Hangups
from bento.streaming.handshake import Handshake, Refused
from bento.streaming.host import Engines, Host, OpenNetwork
from bento.streaming.links import cancel
from bento.streaming.requests import AttachRequest, ExecRequest, PortForwardRequest, Request, check
from bento.streaming.sessions import Session
from bento.streaming.tokens import Tokens

CONNECTIONS_MAX: Final = 2000
"""More are closed at once."""
_RETRY_S: Final = 1.0
_CLOSE_LIMIT_S: Final = 60.0
"""For a client to take what was sent before the end."""
_KINDS: Final[dict[str, type[Request]]] = {
    "exec": ExecRequest,
    "attach": AttachRequest,
    "portforward": PortForwardRequest,
}


class StreamingServer:
    """Makes URLs, and serves each of them once. Made in the loop's thread; all methods are called there.

    A URL is absolute, with the scheme http; it has a token of 128 bits of chance that lives for a minute. What exists,
    and in what state it is, is looked at when the URL is used: the caller looks before, to answer CRI's call.
    """

    def __init__(self, engines: Engines, open_network: OpenNetwork, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """``host``, ``port``: to listen at; port 0 is one that is free."""
        self._host = Host(engines, open_network)
        self._address, self._port = host, port
        self._tokens = Tokens()
        self._hangups = Hangups(asyncio.get_running_loop())
        self._listener: socket.socket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._connections: dict[asyncio.Future[None], socket.socket] = {}

    async def start(self) -> None:
        """Listen. Raises KernelError where the address is taken or none of this machine."""
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        try:
            self._listener = socket.create_server((self._address, self._port), family=family)
        except OSError as error:
            where = f"{self._address}:{self._port}"
            raise KernelError("bind", error.errno or errno.EINVAL, os.strerror(error.errno or 0), path=where) from error
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._watch(self._listener)

    def exec_url(self, request: ExecRequest) -> str:
        """Return where a client gets the streams of a new command.

        Raises UsageError (INVALID_ARGUMENT), TooMany (RESOURCE_EXHAUSTED: a thousand URLs wait to be used).
        """
        return self._url("exec", request)

    def attach_url(self, request: AttachRequest) -> str:
        """Return where a client gets the streams of a container. Raises as ``exec_url``."""
        return self._url("attach", request)

    def port_forward_url(self, request: PortForwardRequest) -> str:
        """Return where a client gets connections to ports of a pod. Raises as ``exec_url``."""
        return self._url("portforward", request)

    def _url(self, kind: str, request: Request) -> str:
        check(request)
        place = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{place}:{self._port}/{kind}/{self._tokens.give(request)}"

    def _watch(self, listener: socket.socket) -> None:
        # Not by sock_accept: where that is cancelled, a connection that was just accepted is lost.
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # too many open files
            log.warning_once(f"streaming connections cannot be accepted now: {error}")
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener.fileno())
            self._retry = loop.call_later(_RETRY_S, self._watch, listener)
            return
        if len(self._connections) >= CONNECTIONS_MAX:
            client.close()
            return
        client.setblocking(False)
        task = asyncio.ensure_future(self._run(client))
        self._connections[task] = client
        task.add_done_callback(self._forget)

    async def _run(self, client: socket.socket) -> None:
        """Serve a connection to its end."""
        reader, writer = await asyncio.open_connection(sock=client)
        try:
            await self._serve(reader, writer)
            writer.close()
            async with asyncio.timeout(_CLOSE_LIMIT_S):
                await writer.wait_closed()
        except (ConnectionError, TimeoutError):
            pass  # the client has left
        except BentoError as error:
            log.warning(f"a streaming session was cut short: {error}")
        except Exception as error:
            log.warning(f"defect in a streaming session: {type(error).__name__}: {error}")
        finally:
            writer.transport.abort()

    def _forget(self, task: asyncio.Future[None]) -> None:
        self._connections.pop(task).close()  # where it was cancelled before it began; else it is closed by now

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handshake = Handshake(reader, writer)
        try:
            head = await handshake.read()
            if head is not None:
                request = self._request(head.method, head.target)
                await Session(self._host, reader, writer, handshake, self._hangups).run(head, request)
        except Refused as refused:
            await handshake.refuse(refused)

    def _request(self, method: bytes, target: bytes) -> Request:
        """Return what a URL is good for, which it is once. Raises Refused."""
        _, kind, token, *rest = [*target.decode("latin-1").partition("?")[0].split("/"), "", ""]
        wanted = _KINDS.get(kind)
        if wanted is None or any(rest):
            raise Refused(404, "page not found")
        if method not in (b"GET", b"POST"):
            raise Refused(405, "give GET or POST", (("Allow", "GET, POST"),))
        request = self._tokens.take(token)
        if request is None or type(request) is not wanted:
            raise Refused(404, "page not found: a URL is good for one use, and for a minute")
        return request

    async def close(self) -> None:
        """Accept no more, and end the sessions under way; commands go on, as when their client leaves. Idempotent."""
        if self._retry is not None:
            self._retry.cancel()
        if self._listener is not None and self._listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
        await cancel(*self._connections)
        await self._host.close()
        self._hangups.close()

"""The server of Docker's Engine API: it accepts connections, and gives each request to the handler of its route."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import h11

from bento import log
from bento.api_docker.http.call import Body, Call, Peer
from bento.api_docker.http.connection import Connection
from bento.api_docker.http.duplex import Reader, Writer
from bento.api_docker.http.errors import as_reply
from bento.api_docker.http.query import Query
from bento.api_docker.http.replies import Answer, Reply
from bento.api_docker.http.router import Router
from bento.api_docker.http.tls import TlsStream
from bento.api_docker.routes import LEFT_OUT, ROUTES
from bento.errors import BentoError, InternalError, as_bento_error
from bento.serving.hangups import Hangups

if TYPE_CHECKING:
    import ssl

    from bento.api_docker.services import Services

CONNECTIONS_MAX: Final = 4000
"""More are not accepted before others have ended: they wait in the kernel's queue."""
_END_LIMIT_S: Final = 10.0
_GREETING_LIMIT_S: Final = 10.0
"""For the handshake of TLS."""
_CREDENTIALS: Final = struct.Struct("3i")


class DockerServer:
    """Answers on sockets that listen already. ``end`` closes them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._router = Router(ROUTES, LEFT_OUT)
        self._hangups = Hangups(asyncio.get_running_loop())
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._listeners: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._greeting: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(CONNECTIONS_MAX)

    def listen(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections on one more socket. ``tls``: needed where it is no unix socket."""
        listener.setblocking(False)
        self._listeners.append(listener)
        self._accepting.append(asyncio.ensure_future(self._accept(listener, tls)))

    async def _accept(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError as error:  # too many open files
                self._room.release()
                log.warning_once(f"connections cannot be accepted now: {error}")
                await asyncio.sleep(1.0)
                continue
            if tls is not None:
                task = asyncio.ensure_future(self._greet(client, tls))
                self._greeting.add(task)
                task.add_done_callback(self._greeting.discard)
            else:
                reader, writer = await asyncio.open_unix_connection(sock=client)
                self._begin(reader, writer, _peer(client))

    async def _greet(self, client: socket.socket, tls: ssl.SSLContext) -> None:
        """Begin a connection once its client has proven by a certificate that it may have one."""
        has_begun = False
        address = "an address that is gone"
        try:
            address = place(client.getpeername())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # one whose machine has died is noticed
            reader, writer = await asyncio.open_connection(sock=client)
            stream = TlsStream(reader, writer, tls)
            try:
                async with asyncio.timeout(_GREETING_LIMIT_S):
                    subject = await stream.handshake()
                self._begin(stream, stream, Peer(subject=subject, address=address))
                has_begun = True
            finally:
                if not has_begun:
                    writer.close()
        except (OSError, TimeoutError) as error:
            log.info(f"a client at {address} was refused: {str(error) or 'it took too long'}")
        finally:
            if not has_begun:
                client.close()
                self._room.release()

    def _begin(self, reader: Reader, writer: Writer, peer: Peer) -> None:
        log.info(f"connection from {peer.shown}")
        connection = Connection(reader, writer, peer, self._answer, self._hangups)
        self._connections[connection] = asyncio.ensure_future(self._serve(connection))

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.serve()
        except BentoError as error:  # in the middle of an answer: there is no way left to say so
            log.warning(f"an answer was cut short: {error}")
        except Exception as error:
            log.warning(f"an answer was cut short: {type(error).__name__}: {error}")
        finally:
            self._connections.pop(connection, None)
            self._room.release()

    async def _answer(self, connection: Connection, request: h11.Request) -> Answer:
        """Have a handler answer a request; what goes wrong is an answer, too."""
        began_s = time.monotonic()
        answer = await self._handled(connection, request)
        if log.is_debug():
            status = answer.status if isinstance(answer, Reply) else "stream"
            took_ms = (time.monotonic() - began_s) * 1000
            target = request.target.decode("ascii", "replace")
            log.debug(f"{request.method.decode()} {target}: {status}, {took_ms:.1f} ms, {connection.peer.shown}")
        return answer

    async def _handled(self, connection: Connection, request: h11.Request) -> Answer:
        try:
            target, _, query = request.target.decode("ascii").partition("?")
            found = self._router.find(request.method.decode("ascii"), target)
            if isinstance(found, Reply):
                return found
            call = Call(
                method=request.method.decode("ascii"),
                path=found.path,
                version=found.version,
                params=found.params,
                query=Query(query),
                headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers},
                body=Body(connection.receive, connection.until_left),
                services=self._services,
                peer=connection.peer,
            )
            return await found.handler(call)
        except (ConnectionError, TimeoutError, h11.RemoteProtocolError):
            raise  # of the connection itself: its client has left, or sends a body that is none
        except (BentoError, OSError) as error:
            return as_reply(as_bento_error(error))
        except Exception as error:
            log.warning(f"defect in the answer to {request.target!r}: {type(error).__name__}: {error}")
            return as_reply(InternalError(f"{type(error).__name__}: {error}", hint="please report this"))

    async def refuse(self) -> None:
        """Accept no more, and close the sockets; connections go on. Idempotent."""
        tasks = [*self._accepting, *self._greeting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in self._listeners:
            listener.close()

    async def end(self) -> None:
        """Accept no more, end all connections, and return once they are over, or after a limit."""
        await self.refuse()
        for connection in self._connections:
            connection.end()
        if self._connections:
            await asyncio.wait(list(self._connections.values()), timeout=_END_LIMIT_S)
        self._hangups.close()


def place(address: tuple[Any, ...]) -> str:
    """Return an address of TCP as it is written."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _peer(client: socket.socket) -> Peer:
    with suppress(OSError):
        given = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return Peer(*_CREDENTIALS.unpack(given))
    return Peer()

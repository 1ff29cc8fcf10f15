"""The streaming server of CRI in this process, with an engine whose containers are this machine, and clients of it."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import socket
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from bento.errors import CommandNotFound, NotFound
from bento.model.terminal import WindowSize
from bento.streaming.server import StreamingServer

from support.spdy import SpdyClient

LIMIT_S = 60.0


class Program:
    """A program of this machine, as an exec in a container is (engine.lifecycle.exec_.Attached)."""

    def __init__(self, argv: tuple[str, ...], *, has_input: bool, tty: bool, size: WindowSize | None = None) -> None:
        self.sizes: list[WindowSize] = []
        if tty:
            self.stdout_fd, theirs = pty.openpty()
            ends: tuple[int, ...] = (theirs, theirs, theirs)
            self.stderr_fd: int | None = None
            self.stdin_fd: int | None = os.dup(self.stdout_fd)
            if size is not None:
                termios.tcsetwinsize(self.stdout_fd, (size.rows, size.columns))
        else:
            (stdin, self.stdin_fd), (self.stdout_fd, stdout), (self.stderr_fd, stderr) = os.pipe(), os.pipe(), os.pipe()
            ends = (stdin, stdout, stderr)
        try:
            self.process = subprocess.Popen(argv, stdin=ends[0], stdout=ends[1], stderr=ends[2], start_new_session=True)
        finally:
            for fd in {*ends}:
                os.close(fd)
        self.status_fd = os.pidfd_open(self.process.pid)
        if not has_input:
            self.end_input()

    @property
    def input_fd(self) -> int | None:
        return self.stdin_fd

    def write(self, data: bytes) -> int:
        if self.stdin_fd is None:
            raise BrokenPipeError
        return os.write(self.stdin_fd, data)

    def end_input(self) -> None:
        fd, self.stdin_fd = self.stdin_fd, None
        if fd is not None:
            os.close(fd)

    def resize(self, size: WindowSize) -> None:
        self.sizes.append(size)
        termios.tcsetwinsize(self.stdout_fd, (size.rows, size.columns))

    def finish(self) -> int:
        code = self.process.wait(LIMIT_S)
        self.end_input()
        for fd in (self.stdout_fd, self.stderr_fd, self.status_fd):
            if fd is not None:
                os.close(fd)
        return code if code >= 0 else 128 - code


class Machine:
    """An engine, as far as the server uses one; and the threads that call it. ``ended``: exit codes that were taken."""

    def __init__(self) -> None:
        self.programs: list[Program] = []
        self.ended: list[int] = []
        self.attached: list[Any] = []
        self.news = threading.Condition()

    def exec(self, container_id: str, options: Any) -> Program:
        if container_id != "c":
            raise NotFound(f"no such container: {container_id}")
        try:
            program = Program(options.command, has_input=options.has_input, tty=options.tty, size=options.size)
        except FileNotFoundError:
            raise CommandNotFound(f"{options.command[0]}: not found") from None
        self.programs.append(program)
        return program

    def wait_exec(self, program: Program) -> int:
        code = program.finish()
        with self.news:
            self.ended.append(code)
            self.news.notify_all()
        return code

    def until_ended(self, count: int = 1) -> list[int]:
        """Return the exit codes once there are so many."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.ended) >= count, LIMIT_S)
            return self.ended

    async def ask(self, work: Callable[[Any], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, work, self)

    async def act(self, work: Callable[[Any], Any], undo: Callable[[Any], object] | None = None) -> Any:
        done = asyncio.get_running_loop().run_in_executor(None, work, self)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if undo is not None:
                done.add_done_callback(lambda done: None if done.exception() else undo(done.result()))
            raise


class Streaming:
    """A server on a loop in a thread of its own."""

    def __init__(self, engines: Any, open_network: Callable[[Any, str], int | None] = lambda engine, ref: None) -> None:
        self._engines, self._open_network = engines, open_network
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.server: StreamingServer = self.call(self._start())

    def call(self, work: Any) -> Any:
        """Have something done on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)

    async def _start(self) -> StreamingServer:
        server = StreamingServer(self._engines, self._open_network)
        await server.start()
        return server

    def url(self, kind: str, request: Any) -> str:
        """Return a URL of the server; ``kind``: exec, attach or port_forward."""

        async def get() -> str:
            found: str = getattr(self.server, f"{kind}_url")(request)
            return found

        found: str = self.call(get())
        return found

    async def _tasks(self) -> int:
        return len(asyncio.all_tasks()) - 1

    def tasks(self) -> int:
        """Return how many tasks there are: of the loop of a server with nothing to do there is none."""
        found: int = self.call(self._tasks())
        return found

    def close(self) -> None:
        """End it. Idempotent."""
        if self._loop.is_closed():
            return
        self.call(self.server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()


@contextmanager
def streaming(engines: Any, **options: Any) -> Iterator[Streaming]:
    """Run a server; programs that are still there at the end are ended."""
    found = Streaming(engines, **options)
    try:
        yield found
    finally:
        found.close()
        for program in getattr(engines, "programs", ()):
            with suppress(ProcessLookupError):
                os.killpg(program.process.pid, signal.SIGKILL)
            program.process.wait(LIMIT_S)


def connect(url: str) -> socket.socket:
    """Return a connection to the server of a URL."""
    place = urlsplit(url)
    assert place.scheme == "http"
    assert place.hostname is not None
    client = socket.create_connection((place.hostname, place.port or 80), timeout=LIMIT_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def ask(client: socket.socket, url: str, headers: list[str], method: str = "POST") -> tuple[int, str, bytes]:
    """Send a request; return the answer's status, its head, and what has come behind that."""
    lines = [f"{method} {urlsplit(url).path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    client.sendall("\r\n".join(lines).encode())
    got = b""
    while b"\r\n\r\n" not in got:
        data = client.recv(1 << 16)
        assert data, got
        got += data
    head, _, rest = got.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), rest


SPDY = ["Connection: Upgrade", "Upgrade: SPDY/3.1"]
VERSIONS = [
    f"X-Stream-Protocol-Version: {each}.k8s.io" for each in ("v4.channel", "v3.channel", "v2.channel", "channel")
]


@contextmanager
def spdy(url: str, *versions: str, headers: list[str] | None = None) -> Iterator[SpdyClient]:
    """Connect as Kubernetes' clients do. ``versions``: the protocols that are offered; none: those of remotecommand."""
    offered = [f"X-Stream-Protocol-Version: {each}" for each in versions] or VERSIONS
    with connect(url) as client:
        status, head, rest = ask(client, url, [*SPDY, *offered, *(headers or [])])
        assert status == 101, head
        found = SpdyClient(client, rest)
        yield found


class WebSocketClient:
    """On a connection whose upgrade is done."""

    def __init__(self, url: str, *protocols: str) -> None:
        self.connection = connect(url)
        self._wsproto = WSConnection(ConnectionType.CLIENT)
        self.protocol: str | None = None
        self.status = 0
        self.messages: list[bytes | str] = []
        self._pieces: list[Any] = []
        self.pongs: list[bytes] = []
        self.close_code: int | None = None
        self.send(Request(host="localhost", target=urlsplit(url).path, subprotocols=list(protocols)))
        while not self.status:
            assert self.read()

    def send(self, event: Any) -> None:
        self.connection.sendall(self._wsproto.send(event))

    def put(self, channel: int, data: bytes) -> None:
        self.send(BytesMessage(data=bytes((channel,)) + data))

    def read(self) -> bool:
        """Take what comes next; return False at the end of the connection."""
        try:
            data = self.connection.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self._wsproto.receive_data(data or None)
        for event in self._wsproto.events():
            if isinstance(event, AcceptConnection):
                self.protocol, self.status = event.subprotocol, 101
            elif isinstance(event, RejectConnection):
                self.status = event.status_code
            elif isinstance(event, BytesMessage | TextMessage):
                self._pieces.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
                if event.message_finished:
                    self.messages.append(type(self._pieces[0])().join(self._pieces))
                    self._pieces.clear()
            elif isinstance(event, Ping):
                self.send(event.response())
            elif isinstance(event, Pong):
                self.pongs.append(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                if self.close_code is None:
                    self.close_code = event.code
                with suppress(Exception):
                    self.send(event.response())
        return bool(data)

    def until_over(self) -> dict[int, bytes]:
        """Read until the server has closed; return what has come, by channels."""
        while self.read():
            pass
        found: dict[int, bytes] = {}
        for message in self.messages:
            assert isinstance(message, bytes)
            found[message[0]] = found.get(message[0], b"") + message[1:]
        return found

    def close(self) -> None:
        self.connection.close()


@contextmanager
def websocket(url: str, *protocols: str) -> Iterator[WebSocketClient]:
    """Connect by WebSocket."""
    found = WebSocketClient(url, *protocols)
    try:
        yield found
    finally:
        found.close()


def readable(fd: int) -> bool:
    """Wait until a descriptor is readable, or at its end."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(LIMIT_S * 1000))

"""Questions that other servers are asked, in the place of a member, and the servers of this host."""

from __future__ import annotations

import posix
from _socket import AF_INET, AF_INET6, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, if_nametoindex, socket

from bento.drivers.resolver.server.messages import is_failure, with_identifier
from bento.drivers.resolver.server.streams import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bento.drivers.resolver.server.messages import Query
    from bento.kernel.loop import Loop, Timers

_TRY_S = 2.0  # less than the 5 s after which askers ask again (resolv.conf(5))
_STREAM_S = 5.0
_PORT = 53
_ANSWER_BYTES = 1 << 16
_FILE_BYTES = 1 << 16
_WITHOUT_FILE = ("127.0.0.1",)  # as resolv.conf(5) has it


class HostServers:
    """The name servers of this host, as a file names them at the moment."""

    def __init__(self, path: str = "/etc/resolv.conf") -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._servers: tuple[str, ...] = _WITHOUT_FILE

    def now(self) -> tuple[str, ...]:
        """Return their addresses. Where the file cannot be read, as of the last time."""
        try:
            found = posix.stat(self._path)
            seen = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
            if seen != self._seen:
                self._servers = _named_in(_read(self._path))
                self._seen = seen
        except OSError:
            pass
        return self._servers


def _read(path: str) -> str:
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    try:
        return posix.read(fd, _FILE_BYTES).decode("latin-1")
    finally:
        posix.close(fd)


def _named_in(text: str) -> tuple[str, ...]:
    rows = [line.split() for line in text.splitlines()]
    return tuple(row[1] for row in rows if len(row) > 1 and row[0] == "nameserver") or _WITHOUT_FILE


class Upstream:
    """Asks servers for members, each question of one server after the other until one has an answer."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.tries: Timers = loop.timers(_TRY_S)
        self.streams: Timers = loop.timers(_STREAM_S)

    def asking(
        self,
        query: Query,
        data: bytes,
        servers: Sequence[str],
        *,
        by_tcp: bool,
        respond: Callable[[bytes | None], None],
    ) -> Asking:
        """Return what is to begin. ``respond`` is called once, with the answer or None, unless it is cancelled."""
        return (_StreamAsking if by_tcp else _DatagramAsking)(self, query, data, servers, respond)


class Asking:
    """A question under way: of one server at a time."""

    kind = SOCK_DGRAM

    def __init__(
        self,
        upstream: Upstream,
        query: Query,
        data: bytes,
        servers: Sequence[str],
        respond: Callable[[bytes | None], None],
    ) -> None:
        self._upstream, self._query, self._respond = upstream, query, respond
        self._servers = list(servers)
        self._identifier = int.from_bytes(posix.urandom(2), "big")  # a port of its own and this: hard to be guessed
        self._data = with_identifier(data, self._identifier)
        self._failure: bytes | None = None  # the first server's, should no other one have better
        self._has_ended = False

    def begin(self) -> None:
        """Ask the next server; with none left, respond."""
        while self._servers and not self._has_ended:
            try:
                self._start(_connected(self._servers.pop(0), self.kind))
                return
            except OSError:  # no address, or no way there
                self._leave()
        self._finish(self._failure)

    def _start(self, sock: socket) -> None:
        raise NotImplementedError

    def _leave(self) -> None:
        """Have done with the server that was asked. Idempotent."""
        raise NotImplementedError

    def _next(self) -> None:
        self._leave()
        self.begin()

    def _take(self, data: bytes) -> None:
        """Read what has come: an answer, or anything else."""
        is_mine = int.from_bytes(data[:2], "big") == self._identifier and self._query.is_answered_by(data)
        if not is_mine:
            return
        answer = with_identifier(data, self._query.identifier)
        if is_failure(data):
            self._failure = self._failure or answer
            self._next()
        else:
            self._finish(answer)

    def _finish(self, answer: bytes | None) -> None:
        self._leave()
        if not self._has_ended:
            self._has_ended = True
            self._respond(answer)

    def cancel(self) -> None:
        """Ask no more, and do not respond. Idempotent."""
        self._has_ended = True
        self._leave()


class _DatagramAsking(Asking):
    _socket: socket | None = None

    def _start(self, sock: socket) -> None:
        self._socket = sock
        self._upstream.loop.watch(sock.fileno(), self._ready)
        self._upstream.tries.set(self._next)
        sock.send(self._data)

    def _leave(self) -> None:
        self._upstream.tries.drop(self._next)
        if self._socket is not None:
            self._upstream.loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _ready(self, _: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_ANSWER_BYTES)
        except BlockingIOError:
            return
        except OSError:  # nothing listens there
            self._next()
            return
        self._take(data)


class _StreamAsking(Asking):
    kind = SOCK_STREAM
    _stream: Stream | None = None

    def _start(self, sock: socket) -> None:
        self._stream = Stream(self._upstream.loop, sock, self._take, self._next)
        self._upstream.streams.set(self._next)
        self._stream.send(self._data)

    def _leave(self) -> None:
        self._upstream.streams.drop(self._next)
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _connected(server: str, kind: int) -> socket:
    """Return a socket to a server that never waits; of kind SOCK_STREAM not yet connected. Raises OSError."""
    address, _, scope = server.partition("%")
    is_6 = ":" in address
    sock = socket(AF_INET6 if is_6 else AF_INET, kind | SOCK_CLOEXEC | SOCK_NONBLOCK)
    try:
        sock.connect((address, _PORT, 0, _number(scope)) if is_6 else (address, _PORT))
    except BlockingIOError:
        pass
    except BaseException:
        sock.close()
        raise
    return sock


def _number(scope: str) -> int:
    if not scope:
        return 0
    return int(scope) if scope.isdecimal() else if_nametoindex(scope)

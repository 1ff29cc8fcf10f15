"""Connections of TCP that are passed on: each end's words to the other, with its end of file, and as fast as it reads.

What one end has sent stays in the kernel until the other takes it. What it takes only a part of is kept here, and no
more is read meanwhile: 64 KiB at most for each direction.
"""

from __future__ import annotations

from _socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    SHUT_WR,
    SO_ERROR,
    SO_LINGER,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    socket,
)
from errno import EADDRNOTAVAIL, EINPROGRESS

from bento.kernel.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.kernel.loop import Loop

_BUFFER = bytearray(1 << 16)  # of all: what it has is sent, or copied, before another one is read
_ABORT = b"\1\0\0\0\0\0\0\0"  # struct linger: a reset in the place of an end of file
_FLAGS = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC


class _End:
    """One of the two sockets of a pair."""

    __slots__ = ("events", "fd", "has_ended", "is_shut", "left", "sock")

    def __init__(self, sock: socket) -> None:
        self.sock, self.fd = sock, sock.fileno()
        self.events = 0  # those waited for
        self.left: bytes | memoryview = b""  # to be sent to it
        self.has_ended = False  # nothing more comes from it
        self.is_shut = False  # nothing more goes to it


class Pair:
    """A connection from a client, and one to the container for it.

    ``settled``: called when that is there, or is not to be had; ``ended``: when both are closed.
    """

    __slots__ = ("_client", "_ended", "_error", "_loop", "_server", "_settled", "is_connecting")

    def __init__(
        self,
        loop: Loop,
        client: socket,
        where: tuple[str, int],
        settled: Callable[[], None],
        ended: Callable[[Pair], None],
    ) -> None:
        """Raises OSError: there are no descriptors left; the client's socket is the caller's then."""
        server = socket(AF_INET6 if ":" in where[0] else AF_INET, _FLAGS)
        self._loop, self._settled, self._ended = loop, settled, ended
        self._client, self._server = _End(client), _End(server)
        self.is_connecting = True
        for sock in (client, server):
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        try:
            self._error = server.connect_ex(where)
        except OSError:  # no address
            self._error = EADDRNOTAVAIL
        # Also where it has failed at once: nothing is closed in its own making.
        self._wait(self._server, WRITE)

    def finish(self) -> None:
        """The container has ended: pass on what it has said, and nothing more to it."""
        if self.is_connecting:
            self._abort()
            return
        self._client.has_ended = True
        self._server.left = b""
        self._server.is_shut = True
        self._go_on()

    def _client_ready(self, _: int) -> None:
        self._ready(self._client, self._server)

    def _server_ready(self, _: int) -> None:
        if not self.is_connecting:
            self._ready(self._server, self._client)
            return
        self.is_connecting = False
        if self._error not in (0, EINPROGRESS) or self._server.sock.getsockopt(SOL_SOCKET, SO_ERROR):
            self._abort()
        else:
            self._go_on()
        self._settled()

    def _ready(self, end: _End, other: _End) -> None:
        try:
            if end.left:
                end.left = end.left[end.sock.send(end.left) :]
            if not other.left and not end.has_ended:
                self._pass_on(end, other)
        except BlockingIOError:
            pass
        except OSError:
            self._abort()
            return
        self._go_on()

    def _pass_on(self, end: _End, other: _End) -> None:
        count = end.sock.recv_into(_BUFFER)
        if not count:
            end.has_ended = True
            return
        try:
            sent = other.sock.send(memoryview(_BUFFER)[:count])
        except BlockingIOError:
            sent = 0
        if sent < count:
            other.left = bytes(memoryview(_BUFFER)[sent:count])

    def _go_on(self) -> None:
        """Pass ends of file on, and wait for what may come next."""
        for end, other in ((self._client, self._server), (self._server, self._client)):
            if other.has_ended and not end.left and not end.is_shut:
                end.is_shut = True
                try:
                    end.sock.shutdown(SHUT_WR)
                except OSError:
                    self._abort()
                    return
        if all(end.is_shut and end.has_ended for end in (self._client, self._server)):
            self._close()
            return
        for end, other in ((self._client, self._server), (self._server, self._client)):
            reads = READ if not end.has_ended and not other.left else 0
            self._wait(end, reads | (WRITE if end.left else 0))

    def _wait(self, end: _End, events: int) -> None:
        """One from which nothing is wanted is not watched: its hang-up would be told for ever."""
        if events == end.events:
            return
        end.events = events
        if events:
            self._loop.watch(end.fd, self._client_ready if end is self._client else self._server_ready, events)
        else:
            self._loop.unwatch(end.fd)

    def _abort(self) -> None:
        self._close(reset)

    def _close(self, close: Callable[[socket], None] = socket.close) -> None:
        for end in (self._client, self._server):
            self._loop.unwatch(end.fd)
            close(end.sock)
        self._ended(self)


def reset(sock: socket) -> None:
    """Close a connection so that the other side sees that it was not ended, but lost."""
    try:
        sock.setsockopt(SOL_SOCKET, SO_LINGER, _ABORT)
    except OSError:  # it has gone
        return
    finally:
        sock.close()

"""Datagrams that are passed on: for each client a socket to the container, until none went either way for a time."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.kernel.loop import Loop, Timers

_MOST_BYTES = 1 << 16
_MOST_CLIENTS = 1024  # of one port; then the one that has been silent for longest is forgotten
_AT_ONCE = 64
_FLAGS = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC
_Client = tuple[str, int, int, int]


class _Flow:
    """The datagrams of one client."""

    __slots__ = ("client", "port", "sock")

    def __init__(self, port: Datagrams, client: _Client, sock: socket) -> None:
        self.port, self.client, self.sock = port, client, sock

    def ready(self, _: int) -> None:
        try:
            for _ in range(_AT_ONCE):
                self.port.answer(self, self.sock.recv(_MOST_BYTES))
        except BlockingIOError:
            pass
        except OSError:  # refused: nothing has that port in the container
            self.close()

    def close(self) -> None:
        self.port.forget(self)


class Datagrams:
    """One port."""

    def __init__(self, loop: Loop, sock: socket, where: Callable[[], tuple[str, int]], idle: Timers) -> None:
        self._loop, self._socket, self._where, self._idle = loop, sock, where, idle
        self._flows: dict[_Client, _Flow] = {}
        self._takes_new = True
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._ready)

    def answer(self, flow: _Flow, data: bytes) -> None:
        """Pass on what the container has said."""
        self._idle.set(flow.close)
        try:
            self._socket.sendto(data, flow.client)
        except OSError:  # no room, or no client any more: as datagrams are
            return

    def forget(self, flow: _Flow) -> None:
        """Forget a client. Idempotent."""
        self._idle.drop(flow.close)
        if self._flows.pop(flow.client, None) is not None:
            self._loop.unwatch(flow.sock.fileno())
            flow.sock.close()

    def forget_all(self) -> None:
        """The container is reached elsewhere."""
        for flow in list(self._flows.values()):
            self.forget(flow)

    def drain(self) -> None:
        """Take none of new clients. Idempotent."""
        self._takes_new = False

    def _ready(self, _: int) -> None:
        try:
            for _ in range(_AT_ONCE):
                data, client = self._socket.recvfrom(_MOST_BYTES)
                self._pass_on(data, client)
        except BlockingIOError:
            return

    def _pass_on(self, data: bytes, client: _Client) -> None:
        flow = self._flows.pop(client, None)
        try:
            flow = flow or self._begin(client)
            if flow is None:
                return
            self._flows[client] = flow  # behind the others
            self._idle.set(flow.close)
            flow.sock.send(data)
        except OSError:  # as datagrams are
            return

    def _begin(self, client: _Client) -> _Flow | None:
        where = self._where()
        if not (self._takes_new and where[0]):
            return None
        if len(self._flows) >= _MOST_CLIENTS:
            self.forget(next(iter(self._flows.values())))
        sock = socket(AF_INET6 if ":" in where[0] else AF_INET, _FLAGS)
        try:
            sock.connect(where)
        except OSError:
            sock.close()
            raise
        flow = _Flow(self, client, sock)
        self._loop.watch(sock.fileno(), flow.ready)
        return flow

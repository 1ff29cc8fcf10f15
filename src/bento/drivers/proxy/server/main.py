"""The process that passes on what comes to ports of [::1] to a container, from its start to its end.

It is handed everything: the sockets of the ports, the one by which it is told things, and a pidfd of the container's
PID 1. It reaches the container from the host, over the bridge, as every other program of the host does. So it needs no
rights, and gives them up; and to the container what it passes on comes from the gateway, and is never a connection of
its own to itself.
"""

from __future__ import annotations

import sys
from _socket import MSG_DONTWAIT, SHUT_RD, SO_REUSEADDR, SO_TYPE, SOCK_DGRAM, SOL_SOCKET, socket
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM

from bento.drivers.proxy.server.datagrams import Datagrams
from bento.drivers.proxy.server.streams import Pair, reset
from bento.kernel.loop import Loop
from bento.kernel.unprivileged import settle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BACKLOG = 64
_WORDS_BYTES = 4096
_AT_ONCE = 64
_IDLE_S = 90.0  # as Docker's
_AGAIN_S = 0.2
_LAST_WORDS_S = 1.0
_NO_ROOM = (EMFILE, ENFILE, ENOBUFS, ENOMEM)


class Proxy:
    """Passes connections on. What it is told: ``to`` and the container's address, ``drain``, ``hello``.

    Asked ``at`` and an address, it says whether it is that one.
    """

    def __init__(self, control: socket, process_fd: int, address: str, ports: list[tuple[socket, int]]) -> None:
        self._loop = Loop()
        self._address = address
        self._idle = self._loop.timers(_IDLE_S)
        self._again = self._loop.timers(_AGAIN_S)
        self._last = self._loop.timers(_LAST_WORDS_S)
        self._listeners: dict[int, tuple[socket, int]] = {}
        self._datagrams: list[Datagrams] = []
        self._pairs: set[Pair] = set()
        self._drained: list[socket] = []  # of those that wait for it
        self._is_over = False
        self._control = control
        self._loop.watch(control.fileno(), self._be_told)
        self._process_fd = process_fd
        self._loop.watch(process_fd, self._end)
        for sock, inside in ports:
            if sock.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_DGRAM:
                self._datagrams.append(Datagrams(self._loop, sock, self._at(inside), self._idle))
            else:
                sock.setblocking(False)
                self._listeners[sock.fileno()] = (sock, inside)
                self._loop.watch(sock.fileno(), self._acceptor(sock.fileno()))

    def run(self) -> None:
        """Block until the container has ended, and what it has said is passed on."""
        while not self._is_over or self._pairs:
            self._loop.turn()

    # -- connections -------------------------------------------------------------------------------

    def _at(self, inside: int) -> Callable[[], tuple[str, int]]:
        return lambda: (self._address, inside)

    def _acceptor(self, fd: int) -> Callable[[int], None]:
        return lambda _: self._accept(fd, _AT_ONCE)

    def _accept(self, fd: int, most: int) -> None:
        listener, inside = self._listeners[fd]
        try:
            for _ in range(most):
                client = socket(fileno=listener._accept()[0])  # type: ignore[attr-defined]  # of socket.accept
                client.setblocking(False)
                self._begin(client, inside)
        except BlockingIOError:
            return
        except OSError as error:  # or a client that has gone
            if error.errno in _NO_ROOM:
                self._wait_for_room(fd)

    def _begin(self, client: socket, inside: int) -> None:
        try:
            if not self._address:  # it is on no network now
                raise OSError
            self._pairs.add(Pair(self._loop, client, (self._address, inside), self._settled, self._pairs.discard))
        except OSError:
            reset(client)
            raise

    def _wait_for_room(self, fd: int) -> None:
        """Those that come wait in the socket meanwhile."""
        self._loop.unwatch(fd)
        self._again.set(lambda: self._accept_again(fd))

    def _accept_again(self, fd: int) -> None:
        if fd in self._listeners:
            self._loop.watch(fd, self._acceptor(fd))

    def _settled(self) -> None:
        if self._drained and not any(pair.is_connecting for pair in self._pairs):
            for waiting in self._drained:
                _answer(waiting, b"ok")
            self._drained = []

    # -- what it is told ---------------------------------------------------------------------------

    def _be_told(self, _: int) -> None:
        try:
            fd, _address = self._control._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
        except OSError:
            return
        connection = socket(fileno=fd)
        self._loop.watch(fd, lambda _: self._obey(connection))

    def _obey(self, connection: socket) -> None:
        try:
            words = connection.recv(_WORDS_BYTES, MSG_DONTWAIT).decode("utf-8", "replace").split("\0")
        except OSError:
            words = [""]
        if words == [""]:
            self._loop.unwatch(connection.fileno())
            connection.close()
        elif words[0] == "drain":
            self._drained.append(connection)
            self._drain()
        elif words[0] == "to" and len(words) == 2:
            if words[1] != self._address:
                self._address = words[1]
                for each in self._datagrams:
                    each.forget_all()
            _answer(connection, b"ok")
        else:
            is_so = words in (["hello"], ["at", self._address])
            _answer(connection, b"ok" if is_so else b"no\0it is not")

    def _drain(self) -> None:
        """Take what waits, and then no more. The port stays taken, by the monitor."""
        for fd in list(self._listeners):
            self._accept(fd, 1 << 16)
            listener, _ = self._listeners.pop(fd)
            self._loop.unwatch(fd)
            try:
                listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 0)
                listener.shutdown(SHUT_RD)
            except OSError:  # it was shut before, by a process before this
                pass
            listener.close()
        for each in self._datagrams:
            each.drain()
        self._settled()

    def _end(self, _: int) -> None:
        """The container has ended. A moment is left for what it has said."""
        self._is_over = True
        self._loop.unwatch(self._process_fd)
        for listener, _inside in self._listeners.values():
            self._loop.unwatch(listener.fileno())
            listener.close()
        self._listeners.clear()
        for pair in list(self._pairs):
            pair.finish()
        self._last.set(self._pairs.clear)


def _answer(connection: socket, answer: bytes) -> None:
    try:
        connection.send(answer, MSG_DONTWAIT)
    except OSError:  # it has gone
        return


def main() -> None:
    """Be the proxy.

    The arguments: the listening descriptor, the pidfd, ``-`` with the container's address, ``FD:PORT`` for each port,
    ``--``, and the cgroups to be in.
    """
    words = sys.argv[1:]
    listener, process_fd, address = socket(fileno=int(words[0])), int(words[1]), words[2][1:]
    end = words.index("--")
    ports = []
    for word in words[3:end]:
        fd, _, inside = word.partition(":")
        ports.append((socket(fileno=int(fd)), int(inside)))
    listener.listen(_BACKLOG)  # once more: by it the others know the pid (SO_PEERCRED)
    settle(words[end + 1 :])
    Proxy(listener, process_fd, address, ports).run()

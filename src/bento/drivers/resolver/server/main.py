"""The process that resolves names: for all members of a run root, from the first to the last.

It is handed everything: the socket by which it is told of members, and with each member the sockets on which that asks
and a pidfd of its PID 1. So it needs no rights, and gives them up. It knows nothing that is not written down by the
process that tells it: where it was killed, the next command starts another one.
"""

from __future__ import annotations

import sys
from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC, MSG_DONTWAIT, MSG_TRUNC, socket
from _struct import Struct

from bento.drivers.resolver.server.member import Served, Service
from bento.drivers.resolver.server.names import Names, Place
from bento.drivers.resolver.server.upstream import HostServers, Upstream
from bento.kernel.loop import Loop
from bento.kernel.unprivileged import settle

_BACKLOG = 64
_WORDS_BYTES = 1 << 16
_FDS = Struct("=3i")  # datagrams, listener, pidfd
_IDLE_S = 10.0


class Resolver:
    """Does what it is told by one connection at its start, and by those to a listening socket, of kind SOCK_SEQPACKET.

    A packet is words with a NUL between them; each is answered with ``ok``, or with ``no`` and a reason. ``put``, the
    id, what names its process, and what is to be known of it as ``key=value``; ``drop`` and the id; ``hello``. With
    ``put`` come the descriptors, or none when they came before. The first connection puts all members. It is not
    answered, and nothing is resolved before it has ended.
    """

    def __init__(self, first: socket, listener: socket, host: HostServers) -> None:
        self._loop = Loop()
        self._names = Names()
        idle = self._loop.timers(_IDLE_S)
        self._service = Service(self._loop, self._names, Upstream(self._loop), host, idle)
        self._served: dict[str, Served] = {}
        self._does_serve = False
        self._first, self._listener = first, listener
        self._connections = 0
        self._watch(first)
        self._loop.watch(listener.fileno(), self._accept)

    def run(self) -> None:
        """Block until there is no member, and nothing tells of one."""
        while self._served or self._connections:
            self._loop.turn()

    def _accept(self, _: int) -> None:
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
        except OSError:
            return
        self._watch(socket(fileno=fd))

    def _watch(self, connection: socket) -> None:
        self._connections += 1
        self._loop.watch(connection.fileno(), lambda _: self._read(connection))

    def _read(self, connection: socket) -> None:
        try:
            data, extra, flags, _ = connection.recvmsg(_WORDS_BYTES, CMSG_LEN(_FDS.size), MSG_CMSG_CLOEXEC)
        except OSError:
            data, extra = b"", []
        if not data:
            if connection is self._first:
                self._begin()
            self._loop.unwatch(connection.fileno())
            connection.close()
            self._connections -= 1
            return
        fds = [fd for _, _, sent in extra for fd in _FDS.unpack(sent)]
        try:
            if flags & MSG_TRUNC:
                raise ValueError("this is too long")
            self._obey(data.decode("utf-8", "replace").split("\0"), fds)
            answer = "ok"
        except (ValueError, OSError, IndexError) as error:
            answer = f"no\0{error}"
        try:
            if connection is not self._first:
                connection.send(answer.encode(), MSG_DONTWAIT)
        except OSError:  # it has gone
            return

    def _begin(self) -> None:
        self._does_serve = True
        for served in self._served.values():
            served.serve()

    def _obey(self, words: list[str], fds: list[int]) -> None:
        """Raises ValueError, OSError, IndexError: it is no whole sentence."""
        if words[0] == "drop":
            self._drop(words[1])
        elif words[0] == "put":
            self._put(words[1], words[2], words[3:], fds)
        elif words[0] != "hello":
            raise ValueError(f"what is {words[0]}?")

    def _put(self, member: str, process: str, facts: list[str], fds: list[int]) -> None:
        if fds:
            self._drop(member)
            self._served[member] = Served(self._service, member, process, fds, self._ended)
        served = self._served.get(member)
        if served is None or served.process != process:
            raise ValueError("this member is not known")
        try:
            own, places = _read_facts(facts)
        except (ValueError, OSError):
            self._drop(member)
            raise
        served.servers, served.is_cut_off = tuple(own.get("server", ())), "cut-off" in own
        self._names.put(member, places)
        if self._does_serve:
            served.serve()

    def _ended(self, served: Served) -> None:
        if self._served.get(served.member) is served:
            self._drop(served.member)

    def _drop(self, member: str) -> None:
        self._names.drop(member)
        if served := self._served.pop(member, None):
            served.close()


def _read_facts(facts: list[str]) -> tuple[dict[str, list[str]], list[Place]]:
    """Return what is said of a member, and of it on each network. Raises ValueError, OSError."""
    own: dict[str, list[str]] = {}
    networks: list[tuple[str, dict[str, list[str]]]] = []
    lists = own
    for fact in facts:
        key, _, value = fact.partition("=")
        if key == "network":
            lists = {}
            networks.append((value, lists))
        else:
            lists.setdefault(key, []).append(value)
    places = [
        Place(network, said.get("name", ()), said.get("address", ()), said.get("subnet", ()), said.get("link", ()))
        for network, said in networks
    ]
    return own, places


def main() -> None:
    """Be the resolver. The arguments: the listening descriptor, the first connection, ``--``, and cgroups to be in."""
    listener, first = (socket(fileno=int(word)) for word in sys.argv[1:3])
    listener.listen(_BACKLOG)  # once more: by it the others know the pid (SO_PEERCRED)
    settle(sys.argv[4:])
    Resolver(first, listener, HostServers()).run()

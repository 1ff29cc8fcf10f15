"""A member as the process has it: where it asks, and what it has under way."""

from __future__ import annotations

import posix
from _socket import socket

from bento.drivers.resolver.server.messages import AAAA, NAME_ERROR, PTR, SERVER_FAILURE, A, Query, address_of, refusal
from bento.drivers.resolver.server.streams import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bento.drivers.resolver.server.names import Names
    from bento.drivers.resolver.server.upstream import Asking, HostServers, Upstream
    from bento.kernel.loop import Loop, Timers

_QUESTION_BYTES = 4096
_AT_ONCE = 32  # questions of one member that are read before others get their turn
_ASKING_MAX = 256
_STREAMS_MAX = 32


class Service:
    """What all members share."""

    def __init__(self, loop: Loop, names: Names, upstream: Upstream, host: HostServers, idle: Timers) -> None:
        self.loop, self.names, self.upstream, self.host, self.idle = loop, names, upstream, host, idle
        self.turns = 0  # so that of several addresses each comes first in its turn

    def answer(self, member: str, query: Query, *, limit: int, is_cut_off: bool) -> bytes | None:
        """Return the answer that is known here; None: others are to be asked."""
        address = address_of(query.name) if query.kind == PTR else None
        if address is not None:
            name = self.names.name_of(member, address)
            if name is not None:
                return query.reply_name(name) if name else query.reply(NAME_ERROR)
        found = self.names.addresses(member, query.name)
        if found is not None:
            self.turns += 1
            first = self.turns % len(found) if found else 0
            return query.reply_addresses(found[first:] + found[:first], limit)
        # A name without a dot is a container's that does not run, or nothing: no server far away is told.
        is_plain = query.kind in (A, AAAA) and query.name and "." not in query.name
        return query.reply(NAME_ERROR) if is_cut_off or is_plain else None


class Served:
    """One member: its sockets, by which it is known, and its PID 1. ``on_end`` is called when that has ended."""

    __slots__ = (
        "_asking", "_datagrams", "_listener", "_process_fd", "_service", "_streams", "is_cut_off", "member", "process",
        "servers",
    )  # fmt: skip

    def __init__(
        self, service: Service, member: str, process: str, fds: Sequence[int], on_end: Callable[[Served], None]
    ) -> None:
        """``fds``: for datagrams, a listening one, a pidfd; they are closed with this."""
        self.member, self.process = member, process
        self.servers: tuple[str, ...] = ()  # none: those of this host
        self.is_cut_off = False
        self._service = service
        self._datagrams, self._listener = socket(fileno=fds[0]), socket(fileno=fds[1])
        self._process_fd = fds[2]
        self._asking: list[Asking] = []
        self._streams: list[Stream] = []
        service.loop.watch(self._process_fd, lambda _: on_end(self))

    def serve(self) -> None:
        """Answer from now on. Idempotent."""
        self._service.loop.watch(self._datagrams.fileno(), self._read)
        self._service.loop.watch(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        if self._process_fd < 0:
            return
        for asking in list(self._asking):
            asking.cancel()
        for stream in list(self._streams):
            stream.close()
        for sock in (self._datagrams, self._listener):
            self._service.loop.unwatch(sock.fileno())
            sock.close()
        self._service.loop.unwatch(self._process_fd)
        posix.close(self._process_fd)
        self._process_fd = -1

    def _read(self, _: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, asker = self._datagrams.recvfrom(_QUESTION_BYTES)
            except OSError:  # no more, or an answer before this found nothing that listens
                return

            def respond(answer: bytes, asker: object = asker) -> None:
                try:
                    self._datagrams.sendto(answer, asker)  # type: ignore[call-overload]  # what recvfrom has returned
                except OSError:  # it has gone, or takes no more
                    return

            self._handle(data, respond, by_tcp=False)

    def _accept(self, _: int) -> None:
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
        except OSError:
            return
        sock = socket(fileno=fd)
        sock.setblocking(False)
        if len(self._streams) >= _STREAMS_MAX:
            sock.close()
            return

        def end() -> None:
            idle.drop(expire)
            self._streams.remove(stream)

        def expire() -> None:
            stream.close()
            end()

        def take(data: bytes) -> None:
            idle.set(expire)
            self._handle(data, stream.send, by_tcp=True)

        idle = self._service.idle
        stream = Stream(self._service.loop, sock, take, end)
        self._streams.append(stream)
        idle.set(expire)

    def _handle(self, data: bytes, respond: Callable[[bytes], None], *, by_tcp: bool) -> None:
        try:
            query = Query(data)
        except ValueError as error:
            if error.args:
                respond(refusal(data, error.args[0]))
            return
        limit = 0 if by_tcp else query.limit
        answer = self._service.answer(self.member, query, limit=limit, is_cut_off=self.is_cut_off)
        if answer is None and len(self._asking) >= _ASKING_MAX:
            answer = query.reply(SERVER_FAILURE)
        if answer is not None:
            respond(answer)
            return

        def finish(answer: bytes | None) -> None:
            self._asking.remove(under_way)
            respond(answer or query.reply(SERVER_FAILURE))

        servers = self.servers or self._service.host.now()
        under_way = self._service.upstream.asking(query, data, servers, by_tcp=by_tcp, respond=finish)
        self._asking.append(under_way)
        under_way.begin()

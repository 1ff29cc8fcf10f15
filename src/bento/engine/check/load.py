"""Work that is under way when the stop comes: HTTP requests of our own, or a command on the host."""

from __future__ import annotations

import select
import socket
from _queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from bento import clock
from bento.check.answers import is_whole
from bento.engine.check.ready import reached_at
from bento.errors import BentoError, UsageError
from bento.model.check import Loaded, Requests, SeenRequest
from bento.model.container import Container

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_SLOTS: Final = 4
_PAUSE_S: Final = 0.01
_TURN_S: Final = 0.05
_ANSWER_S: Final = 30.0
_LATE_S: Final = 0.2
"""So long after the signal, a connection that is accepted is one too many: the program has had the time to react."""
_LATE_EVERY_S: Final = 0.05
_LATE_MAX: Final = 200
_NEVER: Final = 1e18
_CHUNK: Final = 1 << 16
_OUTPUT_MAX: Final = 2000
_SEEN_MAX: Final = 100
_ORDER: Final = ("lost", "answered", "refused")


class Request(Struct):
    """One request. ``ended`` None: it is under way."""

    sent_s: float
    ended: str | None = None  # answered | lost | refused
    ended_s: float = 0.0


def count(requests: list[Request], stopped_s: float, *, told_s: float = 0.0) -> Requests:
    """Say what became of requests that were under way when the stop began, and of those that came later.

    ``told_s``: so long after its begin came the signal; and by then new connections were refused, where that was asked.
    """
    answered = [one for one in requests if one.ended == "answered"]
    lost = [one for one in requests if one.ended == "lost" and one.ended_s >= stopped_s]
    return Requests(
        sent=len(requests),
        answered=len(answered),
        unanswered=sum(one.sent_s < stopped_s for one in lost),
        unanswered_late=sum(one.sent_s > stopped_s + told_s + _LATE_S for one in lost),
        refused=sum(one.ended == "refused" for one in requests),
        longest_s=max((one.ended_s - one.sent_s for one in answered), default=0.0),
        seen=_seen(requests, stopped_s),
    )


def _seen(requests: list[Request], stopped_s: float) -> tuple[SeenRequest, ...]:
    wanted = [one for one in requests if one.ended is not None and one.ended_s >= stopped_s]
    wanted.sort(key=lambda one: (_ORDER.index(one.ended or ""), one.sent_s))
    return tuple(
        SeenRequest(from_s=one.sent_s - stopped_s, until_s=one.ended_s - stopped_s, how=one.ended or "")
        for one in wanted[:_SEEN_MAX]
    )


class HttpLoad:
    """A few connections at a time, each with one GET, again and again, until ``finish``."""

    def __init__(self, drivers: Drivers, address: tuple[str, int], path: str) -> None:
        self._address = address
        self._head = f"GET {path} HTTP/1.1\r\nHost: {address[0]}\r\nConnection: close\r\n\r\n".encode()
        self._is_over, self._late_s = False, _NEVER
        self._done: SimpleQueue[list[Request]] = SimpleQueue()
        drivers.start_thread(self._run, 0)

    def stop_begins(self) -> None:
        """Send one more now and then from now on, though all connections may still wait for their answers."""
        self._late_s = clock.mono_s()

    def finish(self) -> list[Request]:
        """Send no more, wait for the answers that are under way, and return all requests."""
        self._is_over = True
        return self._done.get()

    def _run(self, _: int) -> None:
        requests: list[Request] = []
        try:
            self._turns(requests)
        finally:
            self._done.put(requests)

    def _turns(self, requests: list[Request]) -> None:
        open_: list[_Exchange] = []
        next_s = clock.mono_s()
        while not self._is_over or open_:
            now_s = clock.mono_s()
            slots = _SLOTS + max(0, min(_LATE_MAX, int((now_s - self._late_s) / _LATE_EVERY_S)))
            if not self._is_over and len(open_) < slots and now_s >= next_s:
                exchange = _Exchange(self._address, self._head, now_s)
                requests.append(exchange.request)
                open_.append(exchange)
                next_s = now_s + _PAUSE_S
            poller = select.poll()
            for one in open_:
                poller.register(one.fileno(), one.events)
            ready = {fd for fd, _ in poller.poll(_TURN_S * 1000 if len(open_) >= slots or self._is_over else 10)}
            for one in list(open_):
                if one.fileno() in ready:
                    one.go_on(clock.mono_s())
                elif now_s - one.request.sent_s > _ANSWER_S:
                    one.end("lost", now_s)
                if one.request.ended is not None:
                    open_.remove(one)


class _Exchange:
    """One connection, with one request and its answer."""

    def __init__(self, address: tuple[str, int], head: bytes, now_s: float) -> None:
        self.request = Request(now_s)
        self._head, self._answer = head, bytearray()
        self._is_sent = False
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.connect_ex(address)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def events(self) -> int:
        return select.POLLIN if self._is_sent else select.POLLOUT

    def go_on(self, now_s: float) -> None:
        """Send, or read on. A connection that was never accepted is refused; one without a whole answer is lost."""
        try:
            if not self._is_sent:
                if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self.end("refused", now_s)
                    return
                self._socket.send(self._head)
                self._is_sent = True
                return
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.end("answered" if is_whole(bytes(self._answer), is_closed=True) else "lost", now_s)
            return
        self._answer += data
        if is_whole(bytes(self._answer), is_closed=not data):
            self.end("answered", now_s)
        elif not data:
            self.end("lost", now_s)

    def end(self, how: str, now_s: float) -> None:
        self.request.ended, self.request.ended_s = how, now_s
        self._socket.close()


def address_of(container: Container, port: int) -> tuple[str, int]:
    """Return where this host reaches a port of a container. Raises UsageError where it cannot."""
    run = container.run
    published = (
        [one for one in run.ports if one.container_port == port and one.protocol == "tcp" and one.host_port]
        if run
        else []
    )
    if published:
        return reached_at(published[0])
    if container.spec.network == "host":
        return "127.0.0.1", port
    if run is not None and run.connections:
        return run.connections[0].address or run.connections[0].address6, port
    hint = "publish it (-p), or leave it on the default network"
    raise UsageError(f"port {port} of container {container.name} is not reached from here", hint=hint)


class CommandLoad:
    """A command on the host, which puts its own load on the container."""

    def __init__(self, drivers: Drivers, container: Container, command: str, limit_s: float) -> None:
        ports = container.run.ports if container.run else ()
        env = {"BENTO_CONTAINER_ID": container.id, "BENTO_CONTAINER_NAME": container.name}
        env |= {f"BENTO_PORT_{port.container_port}": str(port.host_port) for port in ports}
        self._drivers, self._command, self._limit_s = drivers, command, limit_s
        self._child = drivers.spawn(["/bin/sh", "-c", command], env)
        self._done: SimpleQueue[Loaded] = SimpleQueue()
        drivers.start_thread(self._follow, clock.mono_s())

    def finish(self) -> Loaded:
        """Wait for its end, at most until its limit, when it is killed."""
        return self._done.get()

    def kill(self) -> None:
        """End it, with all that is in its session."""
        self._drivers.processes.kill_session(self._child.pid)

    def _follow(self, began_s: float) -> None:
        """Read what it says meanwhile, lest it waits for that."""
        try:
            done = self._child.finish(self._limit_s)
            code, text = done.returncode, done.stdout + done.stderr
        except BentoError as error:
            self._drivers.processes.kill_session(self._child.pid)
            code, text = None, error.message
        self._done.put(
            Loaded(
                command=self._command,
                exit_code=code,
                duration_s=clock.mono_s() - began_s,
                output=text[-_OUTPUT_MAX:].strip(),
            )
        )

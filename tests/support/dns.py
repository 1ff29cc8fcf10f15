"""Questions of DNS and their answers, as a program in a container has them: by real sockets."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from bento.model.network import NAME_SERVER

from support.netns import Netns

A, PTR, MX, AAAA = 1, 12, 15, 28
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = range(6)
CUT = 0x0200
TIMEOUT_S = 20.0


def question(name: str, kind: int = A, *, identifier: int = 7, edns: int = 0, flags: int = 0x0100) -> bytes:
    """Return a message that asks. ``edns``: the bytes that are taken by UDP, if that is to be said."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    more = b"\0" + struct.pack("!HHIH", 41, edns, 0, 0) if edns else b""
    return (
        struct.pack("!6H", identifier, flags, 1, 0, 0, bool(more)) + labels + b"\0" + struct.pack("!2H", kind, 1) + more
    )


class Answer:
    """What an answer says. ``values``: addresses and names, in their order."""

    def __init__(self, data: bytes) -> None:
        self.identifier, self.flags, questions, count, _, _ = struct.unpack_from("!6H", data)
        self.code = self.flags & 0xF
        self.is_cut = bool(self.flags & CUT)
        self.values: list[str] = []
        self.lifetimes: list[int] = []
        at = 12
        for _ in range(questions):
            at = _name(data, at)[1] + 4
        for _ in range(count):
            at = _name(data, at)[1]
            kind, _, lifetime_s, length = struct.unpack_from("!2HIH", data, at)
            at += 10
            self.lifetimes.append(lifetime_s)
            self.values.append(_value(kind, data, at, length))
            at += length


def _value(kind: int, data: bytes, at: int, length: int) -> str:
    if kind == PTR:
        return _name(data, at)[0]
    return socket.inet_ntop(socket.AF_INET6 if kind == AAAA else socket.AF_INET, data[at : at + length])


def _name(data: bytes, at: int) -> tuple[str, int]:
    labels = []
    end = 0
    while data[at]:
        if data[at] >= 0xC0:
            end = end or at + 2
            at = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
            continue
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), end or at + 1


def ask(where: Netns, name: str, kind: int = A, *, edns: int = 0) -> Answer:
    """Ask as a program in a container does, by UDP."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(TIMEOUT_S)
        made.connect((NAME_SERVER, 53))
        return made

    with where.inside(make) as asking:
        asking.send(question(name, kind, edns=edns))
        return Answer(asking.recv(1 << 16))


def ask_by_tcp(where: Netns, *names: str) -> list[Answer]:
    """Ask by one connection, all at once."""
    with where.connect(NAME_SERVER, 53) as asking, asking.makefile("rb") as stream:
        for name in names:
            asking.sendall(_framed(question(name)))
        return [Answer(stream.read(int.from_bytes(stream.read(2), "big"))) for _ in names]


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


class Server:
    """A name server at an address of a namespace, which answers by a function; also by TCP. Use it as a context."""

    def __init__(self, where: Netns, address: str, answer: Callable[[bytes, bool], bytes]) -> None:
        self.asked: list[bytes] = []
        self._answer = answer
        self._datagrams = where.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._datagrams.bind((address, 53))
        self._listener = where.listen(address, 53)
        self._threads = [threading.Thread(target=run) for run in (self._serve, self._serve_streams)]

    def __enter__(self) -> Server:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Its own threads wait in these calls: shutdown wakes them (also of a datagram socket without a peer: ENOTCONN).
        for each in (self._datagrams, self._listener):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._datagrams.close()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            data, peer = self._datagrams.recvfrom(1 << 16)
            if not data:
                return
            self.asked.append(data)
            self._datagrams.sendto(self._answer(data, False), peer)

    def _serve_streams(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                data = stream.read(int.from_bytes(stream.read(2), "big"))
                connection.sendall(_framed(self._answer(data, True)))


def answering(address: str, *, code: int = 0, cut: bool = False) -> Callable[[bytes, bool], bytes]:
    """Return what a server answers each question with; ``cut``: by UDP that there is more."""

    def answer(data: bytes, by_tcp: bool) -> bytes:
        end = data.index(b"\0", 12) + 5
        is_cut = cut and not by_tcp
        count = 0 if code or is_cut else 1
        head = struct.pack(
            "!6H", int.from_bytes(data[:2], "big"), 0x8180 | code | (CUT if is_cut else 0), 1, count, 0, 0
        )
        record = b"\xc0\x0c" + struct.pack("!2HIH", A, 1, 60, 4) + socket.inet_aton(address)
        return head + data[12:end] + record * count

    return answer

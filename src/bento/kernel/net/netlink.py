"""Messages to the kernel and its answers (netlink(7)), in the calling thread's network namespace."""

from __future__ import annotations

import _socket
import errno
import os
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from bento.errors import KernelError

ROUTE: Final = 0
NETFILTER: Final = 12

REQUEST: Final = 0x1
ACK: Final = 0x4
CREATE: Final = 0x400
EXCLUSIVE: Final = 0x200
_DUMP: Final = 0x300
_INTERRUPTED: Final = 0x10  # of a dump: something has changed while it was made

_ERROR: Final = 2
_DONE: Final = 3
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr
_TYPE_MASK: Final = 0x3FFF
_NESTED: Final = 0x8000
_BUFFER_BYTES: Final = 1 << 18
_AT_ONCE: Final = 256
_TRIES: Final = 10
_ANSWER_LIMIT_S: Final = 20  # the kernel answers at once, but for what waits for others at work on links


class Message(Struct, frozen=True):
    """One message. ``is_acknowledged``: the kernel says what became of it."""

    kind: int
    body: bytes
    flags: int = 0
    is_acknowledged: bool = True


class Netlink:
    """A socket to one family of the kernel's. Use it as a context. Raises KernelError where the kernel has no such."""

    def __init__(self, family: int) -> None:
        try:
            self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, family)
        except OSError as error:
            raise KernelError("socket", error.errno or 0, error.strerror or str(error), path="netlink") from error
        self._socket.bind((0, 0))
        limit = struct.pack("ll", _ANSWER_LIMIT_S, 0)
        self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, limit)
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, call: str, messages: Sequence[Message]) -> None:
        """Send messages in one go, wait for the answers. Raises KernelError, named ``call``, for the first failure."""
        first = self._send(messages)
        waits_for = {first + n for n, message in enumerate(messages) if message.is_acknowledged}
        while waits_for:
            for kind, _, sequence, body in self._receive(call):
                if kind != _ERROR or not first <= sequence < first + len(messages):
                    continue
                _raise_if_error(call, body)
                waits_for.discard(sequence)

    def post(self, messages: Sequence[Message]) -> None:
        """Send messages and wait for no answer. Raises OSError."""
        for at in range(0, len(messages), _AT_ONCE):
            self._send(messages[at : at + _AT_ONCE])

    def dump(self, call: str, message: Message) -> list[bytes]:
        """Return the bodies of all the kernel has of a kind. Raises KernelError."""
        request = Message(message.kind, message.body, message.flags | _DUMP, is_acknowledged=False)
        for _ in range(_TRIES):
            found, is_whole = self._collect(call, request)
            if is_whole:
                break
        return found

    def get(self, call: str, message: Message) -> list[bytes]:
        """Return the bodies of what one thing is answered with. Raises KernelError."""
        return self._collect(call, message)[0]

    def _collect(self, call: str, message: Message) -> tuple[list[bytes], bool]:
        """Return also whether what was asked for has stayed unchanged meanwhile."""
        sequence = self._send([message])
        found: list[bytes] = []
        is_whole = True
        while True:
            for kind, flags, answered, body in self._receive(call):
                if answered != sequence:
                    continue
                is_whole = is_whole and not flags & _INTERRUPTED
                if kind in (_DONE, _ERROR):
                    _raise_if_error(call, body)
                    return found, is_whole
                found.append(body)

    def _send(self, messages: Sequence[Message]) -> int:
        first = self._sequence + 1
        self._sequence += len(messages)
        packed = bytearray()
        for n, message in enumerate(messages):
            flags = message.flags | REQUEST | (ACK if message.is_acknowledged else 0)
            packed += _HEADER.pack(_HEADER.size + len(message.body), message.kind, flags, first + n, 0)
            packed += _padded(message.body)
        self._socket.sendto(packed, (0, 0))
        return first

    def _receive(self, call: str) -> Iterator[tuple[int, int, int, bytes]]:
        try:
            data = self._socket.recv(_BUFFER_BYTES)
        except OSError as error:
            number = errno.ETIMEDOUT if error.errno == errno.EAGAIN else error.errno or 0
            raise KernelError(call, number, os.strerror(number)) from error
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
            yield kind, flags, sequence, data[at + _HEADER.size : at + length]
            at += _aligned(max(length, _HEADER.size))


def _raise_if_error(call: str, body: bytes) -> None:
    number = -int.from_bytes(body[:4], sys.byteorder, signed=True) if len(body) >= 4 else 0
    if number > 0:
        raise KernelError(call, number, os.strerror(number))


def attribute(kind: int, value: bytes | str | int) -> bytes:
    """Return an attribute: bytes as they are, text with the NUL at its end, a number as 32 bits of this machine's."""
    if isinstance(value, int):
        value = struct.pack("=I", value)
    elif isinstance(value, str):
        value = value.encode() + b"\0"
    return _padded(_ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value)


def nested(kind: int, parts: Iterable[bytes]) -> bytes:
    """Return an attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


def attributes(data: bytes) -> dict[int, bytes]:
    """Return attributes by their kind; of those of one kind, the last."""
    return dict(each(data))


def each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield attributes in their order."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & _TYPE_MASK, data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(max(length, _ATTRIBUTE.size))


def text(value: bytes) -> str:
    """Return what an attribute says, without the NUL at its end."""
    return value.split(b"\0", 1)[0].decode(errors="replace")


def _aligned(length: int) -> int:
    return length + 3 & ~3


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)

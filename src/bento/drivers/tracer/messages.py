"""What goes from the client to the tracer process; the answers are the events of ``base``. One packet each, msgpack."""

from __future__ import annotations

import os
from collections import deque
from functools import cache
from typing import Any, Final

import msgspec.msgpack
from msgspec import Struct

from bento.drivers.tracer.base import AtExit, GaveUp, Held, Key, LetGo, Noted, Released, Watched

PACKET_BYTES: Final = 1 << 18
"""More than the kernel lets through at once (net.core.wmem_max); a longer packet would be cut without a word."""

KEYS_AT_ONCE: Final = 1000
"""Of processes in one packet: with a reason for each, the answer still fits."""


class Watch(Struct, frozen=True, kw_only=True, tag=True):
    """See ``TracerDriver.watch``."""

    job: int
    pid: int
    start_ticks: int
    hold_exit: bool
    note_signal: int
    cgroups: dict[str, str]


class Hold(Struct, frozen=True, kw_only=True, tag=True):
    """See ``TracerDriver.hold``."""

    job: int
    keys: tuple[Key, ...]


class Thaw(Struct, frozen=True, kw_only=True, tag=True):
    """See ``TracerDriver.thaw``."""

    job: int


class Release(Struct, frozen=True, kw_only=True, tag=True):
    """See ``TracerDriver.release``."""

    job: int
    keys: tuple[Key, ...] | None


class Seizing(Struct, frozen=True, kw_only=True, tag=True):
    """Said just before a process with threads is seized, which may end the tracer: for the client to know whose."""

    job: int


class Crashed(Struct, frozen=True, kw_only=True, tag=True):
    """The last packet of a tracer that has met a defect of its own."""

    text: str


Request = Watch | Hold | Thaw | Release
Answer = Watched | AtExit | LetGo | Noted | GaveUp | Held | Released | Seizing | Crashed

_encoder = msgspec.msgpack.Encoder()


class Outbox:
    """Packets on their way through a socket that does not block: what is not read holds nothing up."""

    def __init__(self) -> None:
        self._packets: deque[bytes] = deque()

    def __bool__(self) -> bool:
        return bool(self._packets)

    def put(self, message: Request | Answer) -> None:
        """Append a message."""
        self._packets.append(pack(message))

    def flush(self, socket_fd: int) -> None:
        """Send what can be sent now. An end that is gone takes nothing: its reader meets the end of file."""
        try:
            while self._packets:
                os.write(socket_fd, self._packets[0])
                self._packets.popleft()
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self._packets.clear()

    def clear(self) -> None:
        """Forget what was not sent."""
        self._packets.clear()


def pack(message: Request | Answer) -> bytes:
    """Return the packet."""
    return _encoder.encode(message)


def request_of(packet: bytes) -> Request:
    """Return the request in a packet."""
    request: Request = _decoder(Request).decode(packet)
    return request


def answer_of(packet: bytes) -> Answer:
    """Return the answer in a packet."""
    answer: Answer = _decoder(Answer).decode(packet)
    return answer


def expect_answers() -> None:
    """Get ready to read answers: better while the first one is on its way than when it has come."""
    _decoder(Answer)


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """Each end has one of the two: made when it is wanted, as that takes 0.2 ms."""
    return msgspec.msgpack.Decoder(kind)

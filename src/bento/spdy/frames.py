"""Frames: from bytes, however they are cut, and to bytes (SPDY/3.1, 2.2 and 2.6)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from msgspec import Struct

VERSION: Final = 3
FLAG_FIN: Final = 0x01
FLAG_UNIDIRECTIONAL: Final = 0x02
CONTROL_MAX_BYTES: Final = 64 * 1024
"""Of a control frame. Frames of data may be as long as their length says, and are passed on piece by piece."""
HEAD_BYTES: Final = 8
ID_MASK: Final = 0x7FFFFFFF
_CONTROL_BIT: Final = 0x80000000
_HEAD: Final = struct.Struct(">II")
_SETTING: Final = struct.Struct(">II")


class Kind(IntEnum):
    """The types of control frames; what is not here is ignored."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Status(IntEnum):
    """Why a stream was reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9


class GoAway(IntEnum):
    """Why a connection ends."""

    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


INITIAL_WINDOW_SIZE: Final = 7
"""The one setting that a server without streams of its own has to heed."""


class ProtocolError(Exception):
    """What has come makes no sense, so that nothing after it does."""


class ControlFrame(Struct, frozen=True):
    """A control frame, whole."""

    kind: int
    flags: int
    payload: bytes


class DataChunk(Struct, frozen=True):
    """A piece of a frame of data. ``is_final``: the last one, and the stream's sender sends no more."""

    stream_id: int
    data: bytes
    is_final: bool


class Parser:
    """Cuts a stream of bytes into frames. It keeps less than one control frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stream_id, self._left, self._is_final = 0, 0, False  # of a frame of data that has not come whole

    def feed(self, data: bytes) -> Iterator[ControlFrame | DataChunk]:
        """Yield what is complete by these bytes; to be read to its end. Raises ProtocolError."""
        self._buffer += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> ControlFrame | DataChunk | None:
        if self._left:
            return self._piece() if self._buffer else None
        if len(self._buffer) < HEAD_BYTES:
            return None
        first, second = _HEAD.unpack_from(self._buffer)
        flags, length = second >> 24, second & 0xFFFFFF
        if not first & _CONTROL_BIT:
            del self._buffer[:HEAD_BYTES]
            self._stream_id, self._left, self._is_final = first, length, bool(flags & FLAG_FIN)
            return self._piece() if self._buffer or not length else None
        if (first >> 16) & 0x7FFF != VERSION:
            raise ProtocolError(f"version {(first >> 16) & 0x7FFF} of SPDY")
        if length > CONTROL_MAX_BYTES:
            raise ProtocolError(f"a control frame of {length} bytes")
        end = HEAD_BYTES + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[HEAD_BYTES:end])
        del self._buffer[:end]
        return ControlFrame(first & 0xFFFF, flags, payload)

    def _piece(self) -> DataChunk:
        data = bytes(self._buffer[: self._left])
        del self._buffer[: len(data)]
        self._left -= len(data)
        return DataChunk(self._stream_id, data, self._is_final and not self._left)


def unpack(payload: bytes, count: int, what: str) -> tuple[int, ...]:
    """Return a payload that is so many numbers of 32 bits. Raises ProtocolError when it is longer or shorter."""
    if len(payload) != 4 * count:
        raise ProtocolError(f"{what} of {len(payload)} bytes")
    return struct.unpack(f">{count}I", payload)


def read_settings(payload: bytes) -> dict[int, int]:
    """Return the settings of a SETTINGS frame, the last value of each. Raises ProtocolError."""
    if len(payload) < 4 or len(payload) != 4 + _SETTING.size * int.from_bytes(payload[:4], "big"):
        raise ProtocolError(f"SETTINGS of {len(payload)} bytes")
    return {number & 0xFFFFFF: value for number, value in _SETTING.iter_unpack(payload[4:])}


def control(kind: Kind, payload: bytes, flags: int = 0) -> bytes:
    """Return a control frame."""
    return _HEAD.pack(_CONTROL_BIT | VERSION << 16 | kind, flags << 24 | len(payload)) + payload


def numbers(kind: Kind, *values: int) -> bytes:
    """Return a control frame whose payload is numbers of 32 bits."""
    return control(kind, struct.pack(f">{len(values)}I", *values))


def data_frame(stream_id: int, data: bytes | memoryview, *, fin: bool = False) -> bytes:
    """Return a frame of data."""
    return b"".join((_HEAD.pack(stream_id, (FLAG_FIN if fin else 0) << 24 | len(data)), data))

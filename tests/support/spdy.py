"""A client's side of SPDY/3.1, as little as tests need of it: its frames, and a connection that speaks them."""

from __future__ import annotations

import socket
import struct
import zlib
from typing import Any, NamedTuple

from bento.spdy.dictionary import DICTIONARY

FIN = 1
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9


class Frame(NamedTuple):
    """One that the server has sent. ``kind`` 0: data, of ``stream_id``."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def numbers(self) -> tuple[int, ...]:
        """The payload as numbers of 32 bits."""
        return struct.unpack(f">{len(self.payload) // 4}I", self.payload)


class Frames:
    """Makes the frames of a client, and reads those of a server."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = b""

    def block(self, headers: dict[str, str] | list[tuple[str, str]]) -> bytes:
        words = list(headers.items()) if isinstance(headers, dict) else headers
        plain = struct.pack(">I", len(words))
        for word in (each for pair in words for each in pair):
            plain += struct.pack(">I", len(word)) + word.encode("latin-1")
        return self.deflate(plain)

    def deflate(self, plain: bytes) -> bytes:
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def syn_stream(self, stream_id: int, headers: Any = (), flags: int = 0) -> bytes:
        return control(SYN_STREAM, struct.pack(">IIBB", stream_id, 0, 0, 0) + self.block(dict(headers)), flags)

    def headers(self, stream_id: int, headers: Any = (), flags: int = 0) -> bytes:
        return control(HEADERS, struct.pack(">I", stream_id) + self.block(dict(headers)), flags)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are whole."""
        self._buffer += data
        found = []
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            end = 8 + (second & 0xFFFFFF)
            if len(self._buffer) < end:
                break
            payload, self._buffer = self._buffer[8:end], self._buffer[end:]
            if first >> 31:
                assert (first >> 16) & 0x7FFF == 3
                kind = first & 0xFFFF
                if kind == SYN_REPLY:
                    payload = payload[:4] + self._inflate.decompress(payload[4:])
                stream_id = (
                    struct.unpack_from(">I", payload)[0] if kind in (SYN_REPLY, RST_STREAM, WINDOW_UPDATE) else 0
                )
                found.append(Frame(kind, second >> 24, stream_id, payload))
            else:
                found.append(Frame(0, second >> 24, first, payload))
        return found


def control(kind: int, payload: bytes, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">HHI", 0x8000 | version, kind, flags << 24 | len(payload)) + payload


def numbers(kind: int, *values: int, flags: int = 0) -> bytes:
    return control(kind, struct.pack(f">{len(values)}I", *values), flags)


def settings(**values: int) -> bytes:
    entries = b"".join(struct.pack(">II", int(name[1:]), value) for name, value in values.items())
    return control(SETTINGS, struct.pack(">I", len(values)) + entries)


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", stream_id, flags << 24 | len(payload)) + payload


class SpdyClient:
    """On a connection whose upgrade is done. Nothing is read but by ``until``."""

    def __init__(self, connection: socket.socket, first: bytes = b"") -> None:
        self.connection, self.frames = connection, Frames()
        self.output: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.replied: set[int] = set()
        self.others: list[Frame] = []
        self.is_over = False
        self._next_id = 1
        self._take(first)

    def open(self, **headers: str) -> int:
        """Open a stream; return its number."""
        number, self._next_id = self._next_id, self._next_id + 2
        self.connection.sendall(self.frames.syn_stream(number, headers))
        self.output[number] = bytearray()
        return number

    def send(self, stream_id: int, payload: bytes, *, fin: bool = False) -> None:
        self.connection.sendall(data(stream_id, payload, FIN if fin else 0))

    def read(self) -> bool:
        """Take what comes next; return False at the end of the connection."""
        got = self.receive()
        self.is_over = not got
        self._take(got)
        return bool(got)

    def receive(self) -> bytes:
        try:
            return self.connection.recv(1 << 16)
        except ConnectionResetError:
            return b""

    def _take(self, got: bytes) -> None:
        for frame in self.frames.feed(got):
            if frame.kind == 0:
                self.output[frame.stream_id] += frame.payload
                if frame.flags & FIN:
                    self.ended.add(frame.stream_id)
            elif frame.kind == RST_STREAM:
                self.reset[frame.stream_id] = frame.numbers[1]
            elif frame.kind == SYN_REPLY:
                self.replied.add(frame.stream_id)
            else:
                self.others.append(frame)

    def until(self, *ended: int) -> None:
        """Read until these streams have ended, or were reset."""
        while not {*ended} <= self.ended | self.reset.keys():
            assert self.read(), "the connection has ended before"

    def until_over(self) -> None:
        """Read until the server has ended the connection."""
        while self.read():
            pass

    def close(self) -> None:
        self.connection.close()

"""Output that its reader has not taken yet: in order, a little in memory, the rest in a file without a name.

Imported by a process without site packages; it imports nothing of ours.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from contextlib import suppress
from typing import Final

PACKET_MAX: Final = 1 << 16  # conmon's own are 8 to 32 KiB, and a byte
LEFT_OUT: Final = 0
"""The stream of a packet that says, in digits, how many bytes of output are missing at this place."""
CHUNK_BYTES: Final = 1 << 20

_CHUNKS_MAX: Final = 1024
_LENGTH: Final = struct.Struct("=I")
_OBJECT_BYTES: Final = 64  # what a packet in memory takes beside its bytes


class Room:
    """What the files of a process take of their disk: all of them together no more than they leave free."""

    def __init__(self) -> None:
        self.taken_bytes = 0

    def take(self, fd: int, size: int) -> bool:
        """Count so many bytes more for a file; False: there is no room for them. Raises OSError."""
        disk = os.fstatvfs(fd)
        if self.taken_bytes + 2 * size > disk.f_bavail * disk.f_frsize:  # these bytes are still free now
            return False
        self.taken_bytes += size
        return True

    def give(self, size: int) -> None:
        """Count so many bytes less."""
        self.taken_bytes -= size


_OF_ALL: Final = Room()


class Backlog:
    """Packets in order: the oldest and the newest in memory, what is between them in chunks of a file.

    Memory: three chunks at most. ``directory``: where the file is made, when one is needed. ``room``: what it shares
    with others, by default all of this process. A disk without room is no error: then what was oldest between the two
    is dropped.
    """

    def __init__(
        self, directory: str, *, chunk_bytes: int = CHUNK_BYTES, chunks_max: int = _CHUNKS_MAX, room: Room = _OF_ALL
    ) -> None:
        self._directory, self._chunk_bytes, self._chunks_max = directory, chunk_bytes, chunks_max
        self._room = room
        self._head: deque[bytes] = deque()
        self._middle: deque[_Chunk] = deque()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._left_out = 0  # bytes of output that are missing behind the head
        self._fd: int | None = None
        self._free: list[int] = []  # places in the file that were used before
        self._places = 0  # so many chunks long the file is

    def put(self, packet: bytes) -> None:
        """Take the next packet."""
        self._tail.append(packet)
        self._tail_bytes += len(packet) + _OBJECT_BYTES
        if self._tail_bytes >= self._chunk_bytes:
            chunk = _Chunk(self._tail)
            self._tail, self._tail_bytes = deque(), 0
            while not self._store(chunk) and self._middle:
                self._drop()
            self._middle.append(chunk)

    def get(self) -> bytes | None:
        """Return the oldest packet and forget it; None when there is none."""
        if not self._head:
            if self._left_out:
                missing, self._left_out = self._left_out, 0
                return bytes((LEFT_OUT,)) + str(missing).encode()
            if self._middle:
                self._head = self._load(self._middle.popleft())
            else:
                self._head, self._tail, self._tail_bytes = self._tail, deque(), 0
        if not self._head:
            self._shrink()
            return None
        return self._head.popleft()

    def _store(self, chunk: _Chunk) -> bool:
        """Move a chunk from memory into the file; False: there is no room."""
        place = self._free.pop() if self._free else self._new_place()
        if place is None or self._fd is None:
            return False
        data = b"".join(_LENGTH.pack(len(packet)) + packet for packet in chunk.packets)
        offset = place * self._place_bytes
        view = memoryview(data)
        try:
            while view:
                done = os.pwrite(self._fd, view, offset)
                view, offset = view[done:], offset + done
        except OSError:  # full; the place is given up
            return False
        chunk.place, chunk.length, chunk.packets = place, len(data), deque()
        return True

    @property
    def _place_bytes(self) -> int:
        return self._chunk_bytes + 2 * PACKET_MAX  # the last packet of a chunk goes beyond its size

    def _new_place(self) -> int | None:
        if self._places >= self._chunks_max:
            return None
        try:
            if self._fd is None:
                self._fd = os.open(self._directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if not self._room.take(self._fd, self._place_bytes):
                return None
        except OSError:
            self._chunks_max = 0
            return None
        self._places += 1
        return self._places - 1

    def _load(self, chunk: _Chunk) -> deque[bytes]:
        if chunk.place is None or self._fd is None:
            return chunk.packets
        packets: deque[bytes] = deque()
        try:
            data = os.pread(self._fd, chunk.length, chunk.place * self._place_bytes)
        except OSError:  # the disk has lost it
            data = b""
        at = 0
        while at + _LENGTH.size <= len(data):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            packets.append(data[at : at + length])
            at += length
        self._free.append(chunk.place)
        self._left_out += chunk.output_bytes - sum(len(packet) - 1 for packet in packets)
        return packets

    def _drop(self) -> None:
        chunk = self._middle.popleft()
        self._left_out += chunk.output_bytes
        if chunk.place is not None:
            self._free.append(chunk.place)

    def _shrink(self) -> None:
        if self._fd is not None and self._places:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)
            self._forget_places()

    def _forget_places(self) -> None:
        self._room.give(self._places * self._place_bytes)
        self._free, self._places = [], 0

    def close(self) -> None:
        """Drop all of it, and the file. Idempotent; nothing is put into it, or taken from it, any more."""
        fd, self._fd = self._fd, None
        self._forget_places()
        if fd is not None:
            os.close(fd)


class _Chunk:
    """Packets in memory, or a place in the file."""

    __slots__ = ("length", "output_bytes", "packets", "place")

    def __init__(self, packets: deque[bytes]) -> None:
        self.packets = packets
        self.output_bytes = sum(len(packet) - 1 for packet in packets)
        self.place: int | None = None
        self.length = 0

"""A process between a monitor and the reader of a container's output, so that no reader holds the monitor up.

conmon writes to each attached reader with a write that blocks, and until that returns it neither reads the container's
output, nor logs it, nor sees the exit. This process always reads. What its own reader has not taken waits here, in
order: a little in memory, the rest in a file without a name beside the container's log. When that is full, the oldest
of it is dropped, and a packet says how much; the log has it all. The process is in a session of its own: what stops
its reader, such as SIGSTOP or Ctrl-Z, does not stop it. It ends with its reader, or when everything has been read.

It is run as a file, by an interpreter without site packages, and so imports nothing of ours.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import time
from _socket import SHUT_RD, SHUT_WR, socket
from collections import deque
from contextlib import suppress
from typing import Final

PACKET_MAX: Final = 1 << 16  # conmon's own are 8 to 32 KiB, and a byte
LEFT_OUT: Final = 0
"""The stream of a packet that says, in digits, how many bytes of output are missing at this place."""

_CHUNK_BYTES: Final = 1 << 20
_CHUNKS_MAX: Final = 1024
_ROOM_SHARE: Final = 2  # the file takes at most this part, a half, of what is free on its disk when it is made
_LENGTH: Final = struct.Struct("=I")
_LEAVE_S: Final = 1.0
_OBJECT_BYTES: Final = 64  # what a packet in memory takes beside its bytes


class Backlog:
    """Packets in order: the oldest and the newest in memory, what is between them in chunks of a file.

    Memory: three chunks at most. ``directory``: where the file is made, when one is needed. A disk without room is no
    error: then what was oldest between the two is dropped.
    """

    def __init__(self, directory: str, *, chunk_bytes: int = _CHUNK_BYTES, chunks_max: int = _CHUNKS_MAX) -> None:
        self._directory, self._chunk_bytes, self._chunks_max = directory, chunk_bytes, chunks_max
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
        if self._fd is None:
            self._open()
        if self._places >= self._chunks_max:
            return None
        self._places += 1
        return self._places - 1

    def _open(self) -> None:
        try:
            self._fd = os.open(self._directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            room = os.statvfs(self._directory)
            free_bytes = room.f_bavail * room.f_frsize
            self._chunks_max = min(self._chunks_max, free_bytes // _ROOM_SHARE // self._chunk_bytes)
        except OSError:
            self._chunks_max = 0

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
            self._free, self._places = [], 0


class _Chunk:
    """Packets in memory, or a place in the file."""

    __slots__ = ("length", "output_bytes", "packets", "place")

    def __init__(self, packets: deque[bytes]) -> None:
        self.packets = packets
        self.output_bytes = sum(len(packet) - 1 for packet in packets)
        self.place: int | None = None
        self.length = 0


def pass_on(source_fd: int, reader_fd: int, backlog: Backlog) -> None:
    """Pass packets on until there are no more, or their reader has gone. Blocks."""
    for fd in (source_fd, reader_fd):
        os.set_blocking(fd, False)
    poller = select.poll()
    poller.register(source_fd, select.POLLIN)
    poller.register(reader_fd, 0)  # its end is reported in any case
    is_open = True
    packet: bytes | None = None
    while True:
        events = dict(poller.poll())
        if events.get(reader_fd, 0) & (select.POLLHUP | select.POLLERR):
            return
        if source_fd in events and not _take(source_fd, backlog):
            poller.unregister(source_fd)
            is_open = False
        packet = packet if packet is not None else backlog.get()
        while packet is not None and _give(reader_fd, packet):
            packet = backlog.get()
        if packet is None and not is_open:
            return
        poller.modify(reader_fd, 0 if packet is None else select.POLLOUT)


def _take(source_fd: int, backlog: Backlog) -> bool:
    """Take what is there, and no more than a chunk of it; False at the end."""
    for _ in range(_CHUNK_BYTES // PACKET_MAX):
        try:
            packet = os.read(source_fd, PACKET_MAX)
        except BlockingIOError:
            return True
        except ConnectionResetError:  # the monitor ended with input unread, which hides its output but once
            continue
        if not packet:
            return False
        backlog.put(packet)
    return True


def _give(reader_fd: int, packet: bytes) -> bool:
    try:
        os.write(reader_fd, packet)
    except BlockingIOError:
        return False
    except ConnectionError:  # the next poll reports it
        return False
    return True


def stay(source: socket) -> None:
    """Keep a connection whose reader has gone, reading nothing, until the monitor ends it. Blocks.

    conmon ends the input of a container when any connection ends (terminate_remote_sock), also one that never wrote.
    """
    with suppress(OSError):
        source.shutdown(SHUT_RD)  # conmon's next write fails, and is its last
        poller = select.poll()
        poller.register(source.fileno(), 0)
        poller.poll()


def leave(source: socket) -> None:
    """End a connection whose reader has gone. Blocks for a second at most.

    conmon is to take the end of the input before it finds that it can write no more: the other way round it forgets
    to pass that on.
    """
    with suppress(OSError):
        source.shutdown(SHUT_WR)
        until_s = time.monotonic() + _LEAVE_S
        poller = select.poll()
        poller.register(source.fileno(), select.POLLIN)
        while (left_s := until_s - time.monotonic()) > 0 and poller.poll(left_s * 1000):
            if not source.recv(PACKET_MAX):
                break


def main(argv: list[str]) -> None:
    """``buffer.py SOURCE_FD READER_FD DIRECTORY [stay]``."""
    source_fd, reader_fd, directory = argv[:3]
    os.chdir("/")
    with suppress(KeyboardInterrupt):
        pass_on(int(source_fd), int(reader_fd), Backlog(directory))
        (stay if argv[3:] else leave)(socket(fileno=int(source_fd)))


if __name__ == "__main__":
    main(sys.argv[1:])

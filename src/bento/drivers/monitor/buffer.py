"""A process between monitors and the readers of containers' output, so that no reader holds a monitor up.

conmon writes to each attached reader with a write that blocks, and until that returns it neither reads the container's
output, nor logs it, nor sees the exit. This process always reads. What a reader has not taken waits here, in order: a
little in memory, the rest in a file without a name beside the container's log. When that is full, the oldest of it is
dropped, and a packet says how much; the log has it all. The process is in a session of its own: what stops a reader,
such as SIGSTOP or Ctrl-Z, does not stop it.

One serves everything that one program is attached to: of ``bento run`` that is one container, of ``bento serve`` one
for each client. It is given the first at its start, the others over a socket (``buffers``). It ends after the last one,
once that program has gone, or has given it nothing for a while.

It is run by an interpreter without site packages, and imports nothing of ours but what is beside it.
"""

from __future__ import annotations

import array
import gc
import os
import resource
import select
import sys
import time
from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, SHUT_RD, SHUT_WR, SOL_SOCKET, socket
from contextlib import suppress
from typing import Final

from bento.drivers.monitor.backlog import CHUNK_BYTES, PACKET_MAX, Backlog

_IDLE_S: Final = 5.0
"""So long it waits for something to do while the program that has started it lives."""
_STAY: Final = b"stay"
_DONE: Final = b"\1"
"""The answer to each order: the descriptors have come."""
_LEAVE_S: Final = 1.0
_ORDER_MAX: Final = 8192
_FDS: Final = 2


class Passage:
    """From one monitor's connection to one reader. It closes both.

    ``stays``: after its reader has gone, keep the connection, reading nothing, until the monitor ends it. conmon ends
    the input of a container when any connection ends (terminate_remote_sock), also one that never wrote.
    """

    def __init__(self, loop: Loop, source_fd: int, reader_fd: int, directory: str, *, stays: bool) -> None:
        self._loop, self._source_fd, self._reader_fd = loop, source_fd, reader_fd
        self._backlog, self._stays = Backlog(directory), stays
        self._packet: bytes | None = None
        self._is_open = True
        self._is_left = False  # its reader has gone
        for fd in (source_fd, reader_fd):
            os.set_blocking(fd, False)
        loop.watch(source_fd, select.EPOLLIN, self._on_source)
        loop.watch(reader_fd, 0, self._on_reader)  # its end is reported in any case

    def _on_source(self, events: int) -> None:
        if self._is_left:
            self._on_last(events)
            return
        if not _take(self._source_fd, self._backlog):
            self._is_open = False
            self._loop.forget(self._source_fd)
        self._give()

    def _on_reader(self, events: int) -> None:
        if events & (select.EPOLLHUP | select.EPOLLERR):
            self._leave()
        else:
            self._give()

    def _give(self) -> None:
        """Give the reader what it takes; end after the last."""
        packet = self._packet if self._packet is not None else self._backlog.get()
        while packet is not None and _written(self._reader_fd, packet):
            packet = self._backlog.get()
        self._packet = packet
        if packet is None and not self._is_open:
            self.close()
        else:
            self._loop.watch(self._reader_fd, 0 if packet is None else select.EPOLLOUT, self._on_reader)

    def _leave(self) -> None:
        """End the connection, as its reader has gone, or stay.

        conmon is to take the end of the input before it finds that it can write no more: the other way round it forgets
        to pass that on. So what it writes is read on until it has closed, or for a second.
        """
        self._close_reader()
        self._backlog.close()
        self._packet, self._is_left = None, True
        if not self._is_open:
            self.close()
            return
        source = socket(fileno=self._source_fd)
        with suppress(OSError):
            source.shutdown(SHUT_RD if self._stays else SHUT_WR)  # to one that stays, conmon's next write is its last
        source.detach()
        self._loop.watch(self._source_fd, 0 if self._stays else select.EPOLLIN, self._on_source)
        if not self._stays:
            self._loop.later(_LEAVE_S, self)

    def _on_last(self, events: int) -> None:
        if events & (select.EPOLLHUP | select.EPOLLERR):
            self.close()
            return
        with suppress(BlockingIOError, ConnectionResetError):
            if not os.read(self._source_fd, PACKET_MAX):
                self.close()

    def _close_reader(self) -> None:
        fd, self._reader_fd = self._reader_fd, -1
        if fd >= 0:
            self._loop.forget(fd)
            os.close(fd)

    def close(self) -> None:
        """Close both ends. Idempotent."""
        self._close_reader()
        self._backlog.close()
        fd, self._source_fd = self._source_fd, -1
        if fd >= 0:
            self._loop.forget(fd)
            os.close(fd)
            self._loop.ended(self)


class Loop:
    """Waits for all of them at once."""

    def __init__(self, control_fd: int) -> None:
        self._control_fd = control_fd
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, object]] = {}
        self._passages: set[Passage] = set()
        self._deadlines: list[tuple[float, Passage]] = []  # in order: all are of the same length
        self._is_owned = True
        self.watch(control_fd, select.EPOLLIN, self._on_order)

    def add(self, source_fd: int, reader_fd: int, directory: str, *, stays: bool) -> None:
        """Begin with one more."""
        self._passages.add(Passage(self, source_fd, reader_fd, directory, stays=stays))

    def run(self) -> None:
        """Pass on until there is nothing more to do. Blocks."""
        while self._passages or self._is_owned:
            ready = self._epoll.poll(self._timeout_s())
            if not ready and not self._passages:
                return
            for fd, events in ready:
                if fd in self._watched:  # and not closed by one before it
                    self._watched[fd][1](events)  # type: ignore[operator]
            now_s = time.monotonic()
            while self._deadlines and self._deadlines[0][0] <= now_s:
                self._deadlines.pop(0)[1].close()

    def _timeout_s(self) -> float | None:
        if self._deadlines:
            return max(0.0, self._deadlines[0][0] - time.monotonic())
        return None if self._passages else _IDLE_S

    def _on_order(self, events: int) -> None:
        """Take one more: a packet with where its file may be, and its two descriptors."""
        control = socket(fileno=self._control_fd)
        try:
            order, fds = _received(control)
            if len(fds) == _FDS:
                directory, _, how = order.partition(b"\0")
                self.add(fds[0], fds[1], os.fsdecode(directory), stays=how == _STAY)
                control.send(_DONE)
            elif not order:
                self._is_owned = False
                self.forget(self._control_fd)
        except OSError:  # it has gone meanwhile
            return
        finally:
            control.detach()

    def watch(self, fd: int, events: int, call: object) -> None:
        """Have something called with what happens to a descriptor."""
        known = self._watched.get(fd)
        if known is None:
            self._epoll.register(fd, events)
        elif known[0] != events:
            self._epoll.modify(fd, events)
        self._watched[fd] = (events, call)

    def forget(self, fd: int) -> None:
        """Watch it no more; to be called before it is closed: others may have it open, too. Idempotent."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def later(self, seconds: float, passage: Passage) -> None:
        """Have a passage closed then, where it is not by itself."""
        self._deadlines.append((time.monotonic() + seconds, passage))

    def ended(self, passage: Passage) -> None:
        """Count it no more."""
        self._passages.discard(passage)


def _received(control: socket) -> tuple[bytes, list[int]]:
    order, rights, _, _ = control.recvmsg(_ORDER_MAX, CMSG_SPACE(_FDS * 4), MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, _, data in rights:
        if level == SOL_SOCKET:
            fds.frombytes(data)
    return order, fds.tolist()


def _take(source_fd: int, backlog: Backlog) -> bool:
    """Take what is there, and no more than a chunk of it; False at the end."""
    for _ in range(CHUNK_BYTES // PACKET_MAX):
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


def _written(reader_fd: int, packet: bytes) -> bool:
    try:
        os.write(reader_fd, packet)
    except BlockingIOError:
        return False
    except ConnectionError:  # the next look reports it
        return False
    return True


def main() -> None:
    """``SOURCE_FD READER_FD CONTROL_FD DIRECTORY [stay]``: with the first one, and a socket for others."""
    source_fd, reader_fd, control_fd, directory = sys.argv[1:5]
    os.chdir("/")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
    with suppress(KeyboardInterrupt):
        loop = Loop(int(control_fd))
        loop.add(int(source_fd), int(reader_fd), directory, stays=bool(sys.argv[5:]))
        loop.run()

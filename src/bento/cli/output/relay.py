"""Passes a container's output on to this process's own."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress

from bento.cli.context import tell_person

_PACKET_MAX = 1 << 16
_STDERR = 3  # conmon's number for the stream
_LEFT_OUT = 0  # see ``MonitorDriver.attach``; everything else is stdout
_PIECE_BYTES = select.PIPE_BUF  # a pipe that has room takes so much without blocking (pipe(7))


class Relay:
    """Copies what comes on ``output_fd`` to stdout and stderr, and calls ``on_end`` once the container has ended.

    That does not wait for a reader of ours that does not read: nothing is written where there is no room.
    ``main_fd`` polls readable when the container has ended; None: it has.
    """

    def __init__(self, output_fd: int, main_fd: int | None, on_end: Callable[[], object]) -> None:
        self._output_fd, self._main_fd, self._on_end = output_fd, main_fd, on_end

    def run(self) -> None:
        """Copy until the monitor has ended, and close ``output_fd``. Blocks.

        Raises BrokenPipeError when a reader of ours is gone; the container is not affected.
        """
        try:
            while packet := self._receive():
                if packet[0] == _LEFT_OUT:
                    count = packet[1:].decode(errors="replace")
                    tell_person(f"bento: {count} bytes of output are left out here: they were not read in time")
                else:
                    self._write(2 if packet[0] == _STDERR else 1, packet[1:])
        finally:
            os.close(self._output_fd)

    def _receive(self) -> bytes:
        self._wait(self._output_fd, select.POLLIN)
        with suppress(ConnectionResetError):  # the other side ended with packets of ours unread; there are none
            return os.read(self._output_fd, _PACKET_MAX)
        return b""

    def _write(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._wait(fd, select.POLLOUT)
            with suppress(BlockingIOError):  # another writer was quicker
                view = view[os.write(fd, view[:_PIECE_BYTES]) :]

    def _wait(self, fd: int, event: int) -> None:
        """Wait until something can be read or written."""
        poller = select.poll()
        poller.register(fd, event)
        if self._main_fd is not None:
            poller.register(self._main_fd, select.POLLIN)
        while True:
            ready = {number for number, _ in poller.poll()}
            if self._main_fd in ready:
                poller.unregister(self._main_fd)
                self._main_fd = None
                self._on_end()
            if fd in ready:
                return

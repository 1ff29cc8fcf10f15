"""Passes a container's output on to this process's own, and this process's input to the container."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING

from bento.cli.context import tell_person
from bento.cli.streams.output import Output
from bento.cli.streams.poller import Poller
from bento.cli.streams.stdin import StdinCopy

if TYPE_CHECKING:
    from bento.engine.lifecycle.attachment import Attachment

_PACKET_MAX = 1 << 16
_STDERR = 3  # conmon's number for the stream
_LEFT_OUT = 0  # see ``MonitorDriver.attach``; everything else is stdout
_TURN = 64  # packets that are copied before anything else is looked at


class Relay:
    """Copies until the monitor has ended, and calls ``on_end`` once the container has.

    That does not wait for a reader of ours that does not read: nothing is written where there is no room.
    ``main_fd`` polls readable when the container has ended; None: it has. ``keys``: see ``StdinCopy``.
    """

    def __init__(
        self, attachment: Attachment, main_fd: int | None, on_end: Callable[[], object], *, keys: bytes = b""
    ) -> None:
        self._attachment, self._main_fd, self._on_end = attachment, main_fd, on_end
        self._poller = Poller()
        self._outputs = {1: Output(1), 2: Output(2)}
        self._stdin = StdinCopy(self._poller, attachment, keys)
        self._to: Output | None = None  # has no room for what waits
        self._waiting = memoryview(b"")

    def run(self) -> None:
        """Copy until the end, and close the attachment. Blocks.

        Raises BrokenPipeError when a reader of ours is gone, Detached; the container is not affected.
        """
        output_fd = self._attachment.output_fd
        if output_fd is None:
            return
        os.set_blocking(output_fd, False)
        if self._main_fd is not None:
            self._poller.want(self._main_fd, select.POLLIN)
        try:
            is_open = True
            while is_open or self._to is not None:
                self._poller.want(output_fd, select.POLLIN if is_open and self._to is None else None)
                ready = self._poller.wait()
                if self._main_fd in ready:
                    self._end()
                self._stdin.handle(ready)
                if self._to is not None and self._to.fd in ready:
                    self._write(self._to, self._waiting)
                elif output_fd in ready:
                    is_open = self._copy(output_fd)
        finally:
            self._attachment.close()

    def _end(self) -> None:
        if self._main_fd is not None:
            self._poller.want(self._main_fd, None)
        self._main_fd = None
        self._stdin.end()
        self._on_end()

    def _copy(self, output_fd: int) -> bool:
        """Copy what there is, as long as there is room for it; return whether more may come."""
        for _ in range(_TURN):
            try:
                packet = os.read(output_fd, _PACKET_MAX)
            except BlockingIOError:
                return True
            except ConnectionResetError:  # the other side ended with packets of ours unread; there are none
                return False
            if not packet:
                return False
            if packet[0] == _LEFT_OUT:
                count = packet[1:].decode(errors="replace")
                tell_person(f"bento: {count} bytes of output are left out here: they were not read in time")
            elif not self._write(self._outputs[2 if packet[0] == _STDERR else 1], memoryview(packet)[1:]):
                return True
        return True

    def _write(self, output: Output, data: memoryview) -> bool:
        """Write as much as there is room for; the rest waits. Return whether that was all."""
        while data and (count := output.write(data)):
            data = data[count:]
        is_done = not data
        self._poller.want(output.fd, None if is_done else select.POLLOUT)
        self._to, self._waiting = (None, memoryview(b"")) if is_done else (output, data)
        return is_done

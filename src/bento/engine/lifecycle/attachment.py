"""The streams of a container that runs, by the socket of its monitor. Any number may be attached at once."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from bento import packets
from bento.drivers.monitor.base import INPUT_MAX
from bento.model.container import Container
from bento.model.terminal import AttachOptions, WindowSize

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


_REDRAWN_WITHIN_MS = 100


class Attachment:
    """One caller's streams of a container. The container does not depend on them.

    Attributes:
        output_fd: its output in packets: one byte for the stream (2 stdout, and all of a terminal; 3 stderr), then the
            bytes; after a byte 0 the rest is a number in digits: so many bytes are missing at this place. Its end: the
            monitor has ended. A caller that does not read holds nothing up.
        input_fd: only to be polled for writing, by ``write``; None: it has no input, or none was asked for.
        has_terminal: whether its streams are a terminal.
    """

    def __init__(self, drivers: Drivers, container: Container, options: AttachOptions) -> None:
        """Connect. Raises KernelError when there is no monitor."""
        spec = container.spec
        self._drivers, self._run_dir = drivers, drivers.run_dir(container.id)
        self.has_terminal = spec.streams.tty
        has_input = options.has_input and spec.streams.stdin_open
        stays = spec.streams.stdin_open and spec.streams.stdin_once and not has_input
        bundle = drivers.storage.bundle(container.id)
        connection = drivers.monitor.attach(self._run_dir, bundle, has_input=has_input, stays=stays)
        self.output_fd: int | None = connection.output_fd
        self.input_fd: int | None = connection.input_fd

    def write(self, data: bytes | memoryview) -> int:
        """Pass input on; return how many bytes were taken, from the beginning. Does not block.

        Raises BlockingIOError while it takes none (poll ``input_fd``), BrokenPipeError when the monitor has ended.
        """
        if self.input_fd is None:
            raise BrokenPipeError
        return os.write(self.input_fd, data[:INPUT_MAX])

    def end_input(self) -> None:
        """Let the container's input come to an end, where that is to end with it (``stdin_once``). Idempotent."""
        fd, self.input_fd = self.input_fd, None
        if fd is not None:
            packets.end_writing(fd)
            os.close(fd)

    def resize(self, size: WindowSize) -> None:
        """Set the size of its terminal. No error where it has none, or has ended. Does not block."""
        if self.has_terminal:
            self._drivers.monitor.resize(self._run_dir, size)

    def redraw(self, size: WindowSize) -> None:
        """Set the size of its terminal, and have its program draw the screen anew also where the size is the same.

        Blocks until the program has answered the other size that it is shown first, for 0.1 s at most: two changes
        that come together are none to it.
        """
        if size.rows > 1 and self.has_terminal and self.output_fd is not None:
            self.resize(WindowSize(size.rows - 1, size.columns))
            poller = select.poll()
            poller.register(self.output_fd, select.POLLIN)
            poller.poll(_REDRAWN_WITHIN_MS)
        self.resize(size)

    def close(self) -> None:
        """Leave the container, which goes on. Idempotent.

        An input that is to end with its attachment ends; a terminal never does.
        """
        self.end_input()
        fd, self.output_fd = self.output_fd, None
        if fd is not None:
            os.close(fd)

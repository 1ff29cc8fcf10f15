"""Writing to a descriptor that may take less at a time than it is given."""

from __future__ import annotations

import os
import select


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything. Blocks, also where the descriptor does not. Raises OSError, BrokenPipeError among them."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # some parents set O_NONBLOCK on what they share with us
            poller = select.poll()
            poller.register(fd, select.POLLOUT)
            poller.poll()

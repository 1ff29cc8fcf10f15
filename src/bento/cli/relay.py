"""Passes a container's output on to this process's own."""

from __future__ import annotations

import os
from contextlib import suppress

_PACKET_MAX = 1 << 16
_STDERR = 3  # conmon's number for the stream; everything else is stdout


def relay(output_fd: int) -> None:
    """Copy until the monitor has ended, and close the descriptor. Blocks.

    A reader of ours that went away does not end the container: what comes is dropped from then on.
    """
    is_open = {1: True, 2: True}
    try:
        while packet := _receive(output_fd):
            fd = 2 if packet[0] == _STDERR else 1
            if is_open[fd]:
                is_open[fd] = write_all(fd, packet[1:])
    finally:
        os.close(output_fd)


def _receive(output_fd: int) -> bytes:
    with suppress(ConnectionResetError):  # the monitor ended with packets of ours unread; there are none
        return os.read(output_fd, _PACKET_MAX)
    return b""


def write_all(fd: int, data: bytes) -> bool:
    """Write everything; False when nobody reads it any more. Blocks."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        return False
    return True

"""Passes a container's output on to this process's own."""

from __future__ import annotations

import os
from contextlib import suppress

from bento.files.output import write_all

_PACKET_MAX = 1 << 16
_STDERR = 3  # conmon's number for the stream; everything else is stdout


def relay(output_fd: int) -> None:
    """Copy until the monitor has ended, and close the descriptor. Blocks.

    Raises BrokenPipeError when a reader of ours went away; the container is not told.
    """
    try:
        while packet := _receive(output_fd):
            write_all(2 if packet[0] == _STDERR else 1, packet[1:])
    finally:
        os.close(output_fd)


def _receive(output_fd: int) -> bytes:
    with suppress(ConnectionResetError):  # the monitor ended with packets of ours unread; there are none
        return os.read(output_fd, _PACKET_MAX)
    return b""

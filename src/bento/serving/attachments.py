"""What clients of any server are attached to a container by: its output, and the end of it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Final

from bento import log
from bento.engine.lifecycle.attachment import Attachment
from bento.engine.lifecycle.start import Started
from bento.serving.readiness import read_now, readable

_OF_STDERR: Final = 3  # conmon's number; 2, and all of a terminal, is stdout
_LEFT_OUT: Final = 0


async def output_of(attachment: Attachment) -> AsyncGenerator[tuple[bool, bytes], None]:
    """Yield a container's output until its monitor has ended: whether it is of stderr, and its bytes."""
    fd = attachment.output_fd
    if fd is None:
        return
    os.set_blocking(fd, False)
    while (packet := read_now(fd)) != b"":
        if packet is None:
            await readable(fd)
        elif packet[0] == _LEFT_OUT:
            log.warning(f"a client was too slow: {packet[1:].decode(errors='replace')} bytes of output are left out")
        else:
            yield packet[0] == _OF_STDERR, packet[1:]


def close(started: Started) -> None:
    """Close what a client was attached by. Idempotent but for the pidfd, which is closed once."""
    if started.attachment is not None:
        started.attachment.close()
    if started.main_fd is not None:
        os.close(started.main_fd)

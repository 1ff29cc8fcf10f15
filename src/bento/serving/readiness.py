"""Waiting on the loop for descriptors that are no connections of asyncio's."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Final

READ_BYTES: Final = 1 << 16


async def readable(*fds: int, timeout_s: float | None = None) -> int | None:
    """Return the first of some descriptors that is readable, or at its end; None when the time is over."""
    return await _ready(fds, (), timeout_s)


async def writable(fd: int) -> None:
    """Return when a descriptor takes something, or will never more."""
    await _ready((), (fd,), None)


async def _ready(readers: tuple[int, ...], writers: tuple[int, ...], timeout_s: float | None) -> int | None:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[int | None] = loop.create_future()

    def tell(fd: int | None) -> None:
        if not found.done():
            found.set_result(fd)

    timer = loop.call_later(timeout_s, tell, None) if timeout_s is not None else None
    try:
        for fd in readers:
            loop.add_reader(fd, tell, fd)
        for fd in writers:
            loop.add_writer(fd, tell, fd)
        return await found
    finally:
        if timer is not None:
            timer.cancel()
        for fd in readers:
            loop.remove_reader(fd)
        for fd in writers:
            loop.remove_writer(fd)


def read_now(fd: int) -> bytes | None:
    """Return what a descriptor that does not block has now; None: nothing; b"": its end."""
    try:
        return os.read(fd, READ_BYTES)
    except BlockingIOError:
        return None
    except ConnectionResetError:  # the other side ended with something of ours unread
        return b""
    except OSError as error:
        if error.errno == errno.EIO:  # a terminal that no process has open any more
            return b""
        raise

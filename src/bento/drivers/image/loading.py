"""``load``: an archive of images from a file or a pipe, packed or not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bento.command import spawn
from bento.drivers.image.source import Source
from bento.drivers.image.unpack import decompressor, finish
from bento.files.output import write_all
from bento.oci.packing import HEAD_BYTES

_CHUNK_BYTES: Final = 1 << 20


@contextmanager
def unpacked(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield (descriptor, bytes that come before what it has): the archive without its packing.

    Raises UsageError at the end when it could not be unpacked, MissingTool.
    """
    head = source.read_head(HEAD_BYTES)
    program = decompressor(head)
    if program is None:
        yield source.fd, b"" if source.is_seekable() else head
        return
    fed = None if source.is_seekable() else _feed(source.fd, head)
    try:
        child = spawn([program, "-dc"], stdin_fd=source.fd if fed is None else fed)
    finally:
        if fed is not None:
            os.close(fed)
    try:
        assert child.stdout_fd is not None  # spawn captures unless told otherwise
        os.set_blocking(child.stdout_fd, True)
        yield child.stdout_fd, b""
        finish(child, program)
    finally:
        child.kill()


def _feed(fd: int, head: bytes) -> int:
    """Return a pipe with what a pipe has, and before it what was read from that already; the caller closes it."""
    reader, writer = os.pipe()

    def pass_on() -> None:
        data = head
        try:
            while data:
                write_all(writer, data)
                data = os.read(fd, _CHUNK_BYTES)
        except OSError:  # nobody reads any more
            return
        finally:
            os.close(writer)

    threading.Thread(target=pass_on, name="bento-feed", daemon=True).start()
    return reader

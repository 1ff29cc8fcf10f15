"""Files that the kernel makes as they are read (proc(5), cgroups(7)): small, without a size, read as a whole."""

from __future__ import annotations

import os
from typing import Final

_READ_BYTES: Final = 1 << 15


def read_whole(path: str) -> bytes:
    """Return all of it. Raises OSError.

    Python's own files ask for size, position and terminal first: eight system calls, where these are four. A stop reads
    some thirty such files for each container.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(fd, _READ_BYTES)
        more = content
        while more:  # a file of many records comes in pieces
            more = os.read(fd, _READ_BYTES)
            content += more
        return content
    finally:
        os.close(fd)

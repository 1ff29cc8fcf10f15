"""Reading small files that may be anything by now: of the run root, or garbled by a crash."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

LIMIT_BYTES: Final = 1 << 20
"""More than anything that is kept in such a file; config.json is the largest."""

_DIGITS: Final = 9
_NUMBER_BYTES: Final = 64
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC


def read_small(path: Path | str, *, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Return what a regular file holds. Never waits for the other end of a FIFO, and follows no link.

    Raises OSError, also for what is no regular file (EINVAL) or larger than ``limit_bytes`` (EFBIG).
    """
    fd = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = bytearray()
        while chunk := os.read(fd, limit_bytes + 1 - len(content)):
            content += chunk
            if len(content) > limit_bytes:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return bytes(content)
    finally:
        os.close(fd)


def read_number(path: Path | str) -> int | None:
    """Return the number that a file holds in decimal, of 9 digits at most; None where there is no such thing."""
    try:
        text = read_small(path, limit_bytes=_NUMBER_BYTES).strip()  # digits; as text it would take a codec's import
    except OSError:
        return None
    return int(text) if text.isdigit() and len(text) <= _DIGITS else None

"""Small files in whose places anything may be by now: those of the run root, or what a crash has garbled."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

LIMIT_BYTES: Final = 1 << 20
"""More than anything that is kept in such a file; config.json is the largest."""

_DIGITS: Final = 9
_DRAFT: Final = ".draft"
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


def remove_small(path: Path | str) -> bool:
    """Remove a file of ``write_small``, and what writers that were killed have left; return whether it was there.

    Idempotent. While no other process writes it. Raises OSError.
    """
    directory, name = os.path.split(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        is_there = False
    else:
        is_there = True
    with suppress(FileNotFoundError):
        for other in os.listdir(directory):
            if other.startswith(f"{name}.") and other.endswith(_DRAFT):
                os.unlink(f"{directory}/{other}")
    return is_there


def write_small(path: Path | str, content: bytes) -> None:
    """Put a file in the place of whatever is there but a directory; others see it whole or not at all. Raises OSError.

    What was there is not opened: to write into a FIFO is to wait for its reader.
    """
    draft = f"{path}.{os.getpid()}{_DRAFT}"
    with suppress(FileNotFoundError):
        os.unlink(draft)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, content)
        os.rename(draft, path)
    except OSError:
        os.unlink(draft)
        raise
    finally:
        os.close(fd)

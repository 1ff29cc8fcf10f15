"""Where an image comes from: a directory, an archive, or an archive in a pipe."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final

from bento.errors import NotPermitted, UsageError

_HEAD_BYTES: Final = 6
_DECOMPRESSORS: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"\x1f\x8b", "gzip", "gzip"),
    (b"BZh", "bzip2", "bzip2"),
    (b"\xfd7zXZ\x00", "xz", "xz-utils"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd"),
)
"""First bytes, program, Debian package. GNU tar itself does not look into pipes."""


class Source:
    """An opened directory or archive. ``words`` is what to call it in messages. Close it when done."""

    def __init__(self, path: Path) -> None:
        """Open ``path``; ``-`` is standard input. Raises UsageError, NotPermitted."""
        self.path = path
        is_standard_input = os.fspath(path) == "-"
        self.words = "standard input" if is_standard_input else os.fspath(path)
        self.fd = self._open_standard_input() if is_standard_input else self._open()
        kind = os.fstat(self.fd).st_mode
        self.is_directory = stat.S_ISDIR(kind) and not is_standard_input
        if not (self.is_directory or stat.S_ISREG(kind) or stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
            # A terminal would wait for somebody to type an archive; /dev/zero never ends.
            self.close()
            raise UsageError(f"{self.words} is no file or pipe", hint="give a directory or a tar archive")

    def close(self) -> None:
        """Close it. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read_head(self) -> bytes:
        """Return the first bytes; where that is possible, they are still to be read afterwards."""
        head = b""
        while len(head) < _HEAD_BYTES and (more := os.read(self.fd, _HEAD_BYTES - len(head))):
            head += more
        if self.is_seekable():
            os.lseek(self.fd, -len(head), os.SEEK_CUR)
        return head

    def is_seekable(self) -> bool:
        """Whether it is a file, not a pipe."""
        try:
            os.lseek(self.fd, 0, os.SEEK_CUR)
        except OSError:
            return False
        return True

    def spool(self, directory: Path, head: bytes) -> int:
        """Copy a pipe into a file without a name and return that, because ``head`` cannot be put back into a pipe."""
        spool = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            data = head
            while data:
                view = memoryview(data)
                while view:
                    view = view[os.write(spool, view) :]
                data = os.read(self.fd, 1 << 20)
            os.lseek(spool, 0, os.SEEK_SET)
        except BaseException:
            os.close(spool)
            raise
        return spool

    def _open_standard_input(self) -> int:
        try:
            return os.dup(sys.__stdin__.fileno() if sys.__stdin__ is not None else 0)
        except (OSError, ValueError) as error:
            raise UsageError("standard input is closed", hint="give a directory or a tar archive") from error

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            raise NotPermitted(f"{self.path} may not be read by this user", hint="run as root") from error
        except OSError as error:
            raise UsageError(
                f"cannot open {self.path}: {error.strerror}", hint="give a directory or a tar archive"
            ) from error


def decompressor(head: bytes) -> tuple[str, str] | None:
    """Return the program that unpacks what begins like this, and its Debian package; None when it is not packed."""
    for magic, program, package in _DECOMPRESSORS:
        if head.startswith(magic):
            return program, package
    return None

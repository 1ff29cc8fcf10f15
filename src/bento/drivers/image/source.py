"""Where an image comes from: a directory, an archive, or an archive in a pipe."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from bento.errors import NotFound, NotPermitted, UsageError


class Source:
    """An opened directory or archive. ``words`` is what to call it in messages. Close it when done."""

    def __init__(self, path: Path, *, wanted: str = "a directory or a tar archive") -> None:
        """Open ``path``; ``-`` is standard input. Raises UsageError, NotFound, NotPermitted.

        ``wanted``: what it should be, for messages.
        """
        self.path = path
        self._hint = f"give {wanted}"
        is_standard_input = os.fspath(path) == "-"
        self.words = "standard input" if is_standard_input else os.fspath(path)
        self.fd = self._open_standard_input() if is_standard_input else self._open()
        kind = os.fstat(self.fd).st_mode
        self.is_directory = stat.S_ISDIR(kind) and not is_standard_input
        if not (self.is_directory or stat.S_ISREG(kind) or stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
            # A terminal would wait for somebody to type an archive; /dev/zero never ends.
            self.close()
            raise UsageError(f"{self.words} is no file or pipe", hint=self._hint)

    def close(self) -> None:
        """Close it. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def is_seekable(self) -> bool:
        """Whether it is a file, not a pipe."""
        try:
            os.lseek(self.fd, 0, os.SEEK_CUR)
        except OSError:
            return False
        return True

    def read_head(self, size: int) -> bytes:
        """Return the first bytes; of a file, they are still to be read afterwards."""
        head = b""
        while len(head) < size and (more := os.read(self.fd, size - len(head))):
            head += more
        if self.is_seekable():
            os.lseek(self.fd, -len(head), os.SEEK_CUR)
        return head

    def _open_standard_input(self) -> int:
        try:
            return os.dup(sys.__stdin__.fileno() if sys.__stdin__ is not None else 0)
        except (OSError, ValueError) as error:
            raise UsageError("standard input is closed", hint=self._hint) from error

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            raise NotPermitted(f"{self.path} may not be read by this user", hint="run as root") from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"{self.path}: no such file or directory", hint="see that the path is right") from error
        except OSError as error:
            raise UsageError(f"cannot open {self.path}: {error.strerror}", hint=self._hint) from error

"""Where an image comes from: a directory, an archive, or an archive in a pipe."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bento import quiet_threads
from bento.command import spawn
from bento.drivers.image.layers.decompress import decompressor, finish
from bento.errors import NotFound, NotPermitted, UsageError
from bento.files.whole import write_all
from bento.oci.packing import HEAD_BYTES

_CHUNK_BYTES: Final = 1 << 20


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
            # A terminal would wait for an archive to be typed; /dev/zero never ends.
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

    @contextmanager
    def unpacked(self) -> Iterator[tuple[int, bytes]]:
        """Yield (descriptor, bytes that come before what it has): the archive without its packing.

        Raises UsageError at the end when it could not be unpacked, MissingTool.
        """
        head = self.read_head(HEAD_BYTES)
        program = decompressor(head)
        if program is None:
            yield self.fd, b"" if self.is_seekable() else head
            return
        fed = None if self.is_seekable() else _feed(self.fd, head)
        try:
            child = spawn([program, "-dc"], stdin_fd=self.fd if fed is None else fed)
        finally:
            if fed is not None:
                os.close(fed)
        try:
            assert child.stdout_fd is not None  # spawn captures unless stdout is given
            os.set_blocking(child.stdout_fd, True)
            yield child.stdout_fd, b""
            finish(child, program)
        finally:
            child.kill()

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


def _feed(fd: int, head: bytes) -> int:
    """Return a pipe with what a pipe has, and before it what was read from that already; the caller closes it."""
    reader, writer = os.pipe()

    def pass_on() -> None:
        data = head
        try:
            while data:
                write_all(writer, data)
                data = os.read(fd, _CHUNK_BYTES)
        except OSError:  # the reader has gone
            return
        finally:
            os.close(writer)

    quiet_threads.start(pass_on, "bento-feed")
    return reader

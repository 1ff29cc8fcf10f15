"""One file of a tree that is being copied, wherever it comes from and goes to."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from msgspec import Struct

from bento.errors import KernelError

CHUNK_BYTES: Final = 1 << 20

_SHOWN: Final = 400
KEPT_XATTRS: Final = ("user.", "security.capability", "system.posix_acl_")
"""Attributes that belong to a file wherever it is. The others are the host's policy (security.selinux), or orders to
overlayfs (trusted.overlay.*) that no copy may give."""


class Body(Protocol):
    """What is in a regular file."""

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) from first to last; what lies between is a hole."""


class Entry(Struct):
    """A file with all that is to be kept of it.

    ``path`` is relative to the top of the tree, which is "" itself: names joined by "/", none of them empty, "." or
    "..". ``mode`` has the type of the file, too, as in stat(2). ``link``: the path of an earlier entry that this is
    another name of; then it has no size and no body, and what is said of it besides may be nothing.
    """

    path: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0  # of a regular file, holes included
    taken_bytes: int = 0  # on disk, where it comes from
    device: int = 0  # of a device node
    target: str = ""  # of a symbolic link
    link: str = ""
    xattrs: dict[str, bytes] = {}
    body: Body | None = None  # of a regular file; to be read before the next entry is asked for

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_device(self) -> bool:
        """Whether it is a device node."""
        return stat.S_ISCHR(self.mode) or stat.S_ISBLK(self.mode)


def nothing() -> None:
    """Check nothing."""


def shown(path: str) -> str:
    """Return a path as a line of text has it: the middle of a very long one is left out."""
    return path if len(path) <= _SHOWN else f"{path[: _SHOWN // 2]}...{path[-_SHOWN // 2 :]}"


def unreadable(error: OSError | KernelError, path: str) -> KernelError:
    """Return the error of a file that is being copied, by the path it has in its tree."""
    return KernelError("read", error.errno or 0, os.strerror(error.errno or 0), path=shown(path))


class FileBody:
    """The content of an open file, without its holes (lseek(2), SEEK_DATA). At most ``size`` bytes: it may grow.

    ``check`` is called before each piece, and may raise. ``path`` is what it is called in errors.
    """

    def __init__(self, fd: int, size: int, check: Callable[[], object] = nothing, path: str = "") -> None:
        self._fd = fd
        self._size = size
        self._check = check
        self._path = path

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """See Body."""
        return self.read(self.extents())

    def read(self, extents: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
        """Yield what is there of the extents. Raises KernelError: unlike OSError, which is what a writer says."""
        for begin, end in extents:
            position = begin
            while position < end:
                self._check()
                try:
                    data = os.pread(self._fd, min(CHUNK_BYTES, end - position), position)
                except OSError as error:
                    raise unreadable(error, self._path) from error
                if not data:  # it was cut short meanwhile
                    return
                yield position, data
                position += len(data)

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield where there is something, as (begin, end)."""
        position = 0
        while position < self._size:
            try:
                begin = os.lseek(self._fd, position, os.SEEK_DATA)
                position = os.lseek(self._fd, begin, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole is left
                    return
                begin, position = position, self._size  # a filesystem that knows of no holes
            if begin < self._size:
                yield begin, min(position, self._size)


class BytesBody:
    """The content of a file that had to be read whole to know its size."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """See Body."""
        yield 0, self._data

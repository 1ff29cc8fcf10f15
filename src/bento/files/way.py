"""Going through a tree name by name: its directories, however deep, by few open descriptors and no path.

The kernel takes no path of more than 4095 bytes (path_resolution(7)), and a container can make deeper trees.
"""

from __future__ import annotations

import errno
import os
from types import TracebackType
from typing import Final, Self

from bento.errors import KernelError
from bento.files.entry import shown
from bento.files.rootfs import open_without_links

PATH_MAX_BYTES: Final = 1 << 16
"""Of a path that is noted: of each file of a tree it is kept, or written down."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_KEPT: Final = 16


class Way:
    """The directories below an open one, entered one after the other; use it as a context, or ``close`` it.

    The last ``kept`` of those that lead to where it is stay open: the way to what lies near is short, and what is
    farther up is entered from the top anew. No symbolic link is followed.
    """

    def __init__(self, top_fd: int, kept: int = _KEPT) -> None:
        """``top_fd`` (O_PATH will do) stays the caller's, and open."""
        self._top_fd = top_fd
        self._most = kept
        self._path = ""
        self._open: list[tuple[int, int]] = []  # the length of the path of each, and its descriptor

    def enter(self, path: str) -> int:
        """Return a descriptor of a directory, to read and to search in until the next is entered; of "" the top's own.

        Raises KernelError by this path: ENOENT, ENOTDIR or ELOOP when there is no directory (any more).
        """
        if path == self._path and self._open:
            return self._open[-1][1]
        try:
            self._go_up(path)
            here = len(self._path)
            for name in path[here:].strip("/").split("/") if len(path) > here else ():
                self._go_down(name)
            return self._open[-1][1] if self._open else self._top_fd
        except KernelError as error:
            raise KernelError("openat2", error.errno, os.strerror(error.errno), path=shown(path)) from None

    def close(self) -> None:
        """Close what is open. Idempotent."""
        while self._open:
            os.close(self._open.pop()[1])
        self._path = ""

    def _go_up(self, path: str) -> None:
        """Leave what does not lead to ``path``."""
        while self._open:
            length, fd = self._open[-1]
            if path.startswith(self._path) and (len(path) == length or path[length] == "/"):
                return
            os.close(fd)
            self._open.pop()
            self._path = self._path[: self._open[-1][0]] if self._open else ""

    def _go_down(self, name: str) -> None:
        fd = open_without_links(self._open[-1][1] if self._open else self._top_fd, name, _DIRECTORY)
        self._path = f"{self._path}/{name}" if self._path else name
        self._open.append((len(self._path), fd))
        if len(self._open) > self._most:
            os.close(self._open.pop(0)[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def joined(directory: str, name: str) -> str:
    """Return the path of a name in a directory; "" is the top. Raises KernelError for one that is too long."""
    path = f"{directory}/{name}" if directory else name
    if len(path) > PATH_MAX_BYTES // 4 and len(os.fsencode(path)) > PATH_MAX_BYTES:
        raise KernelError("read", errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path=shown(path))
    return path

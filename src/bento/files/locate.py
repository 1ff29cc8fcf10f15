"""Finding a path inside a root: the directory it is in, held open, and the name that it has there."""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType
from typing import Final, Self

from bento.errors import KernelError
from bento.files.planted import refuse_link
from bento.files.rootfs import open_in

_LINKS_MAX: Final = 40  # as the kernel's own (path_resolution(7))
_DOTS: Final = ("", ".", "..")


class Location:
    """A place in a tree. Use it as a context: it holds a directory.

    Attributes:
        directory_fd: the directory that ``name`` is in; without a name the very directory that was looked for.
        status: of what was there; None when nothing was.
    """

    def __init__(self, directory_fd: int, name: str, status: os.stat_result | None) -> None:
        self.directory_fd = directory_fd
        self.name = name
        self.status = status

    @property
    def is_directory(self) -> bool:
        """Whether a directory was there."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def open(self, flags: int) -> int:
        """Open what is there now, a link itself; the caller closes it. Raises OSError."""
        return os.open(self.name or ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.directory_fd)

    def close(self) -> None:
        """Let go. Idempotent."""
        if self.directory_fd >= 0:
            os.close(self.directory_fd)
            self.directory_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def locate(root_fd: int, path: str, *, follow: bool, is_machine: bool = False) -> Location:
    """Return where ``path`` leads inside a root; the caller closes it.

    Links on the way are followed inside the root, one at the end with ``follow``, also when it dangles: the result is
    where it points. ``is_machine``: the root is this machine's own, and other users may have put the link there. Raises
    Conflict for such a link, KernelError: ENOENT when there is no directory for it to be in, ENOTDIR, ELOOP ...
    """
    for _ in range(_LINKS_MAX):
        parent, _, name = path.rstrip("/").rpartition("/")
        if name in _DOTS:
            fd = open_in(root_fd, path or "/", os.O_PATH | os.O_DIRECTORY)
            return Location(fd, "", os.fstat(fd))
        directory_fd = open_in(root_fd, parent or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            status = _status(directory_fd, name)
            if status is None or not (follow and stat.S_ISLNK(status.st_mode)):
                return Location(os.dup(directory_fd), name, status)
            if is_machine:
                refuse_link(os.fstat(directory_fd), status, path)
            target = os.readlink(name, dir_fd=directory_fd)
        finally:
            os.close(directory_fd)
        path = target if target.startswith("/") else f"{parent}/{target}"
    raise KernelError("openat2", errno.ELOOP, os.strerror(errno.ELOOP), path=path)


def link_on_the_way(root_fd: int, path: str) -> tuple[str, str] | None:
    """Return the first link of a path that leads nowhere, and where it points; None when there is none. For errors."""
    done = ""
    for name in path.strip("/").split("/"):
        parent, done = done, f"{done}/{name}"
        try:
            os.close(open_in(root_fd, done, os.O_PATH))
            continue
        except KernelError:
            pass
        try:
            directory_fd = open_in(root_fd, parent or "/", os.O_PATH | os.O_DIRECTORY)
            try:
                return done, os.readlink(name, dir_fd=directory_fd)
            finally:
                os.close(directory_fd)
        except (KernelError, OSError):
            return None
    return None


def _status(directory_fd: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None

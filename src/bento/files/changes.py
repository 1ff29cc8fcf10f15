"""What an overlay's upper directory has changed of the layers below it (overlayfs.rst, "whiteouts and opaque
directories")."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import Final

from msgspec import Struct

from bento.errors import KernelError
from bento.files.entry import Entry
from bento.files.walk import walk
from bento.kernel.rootfs import open_without_links

_OPAQUE: Final = "trusted.overlay.opaque"
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Kind(Enum):
    """What became of a path; the values are those of Docker's interface, the letters those of its command line."""

    CHANGED = 0
    ADDED = 1
    DELETED = 2

    @property
    def letter(self) -> str:
        """A, C or D."""
        return "CAD"[self.value]


class Change(Struct, frozen=True):
    """One path, absolute, that is not what it is in the image."""

    kind: Kind
    path: str


def is_whiteout(entry: Entry) -> bool:
    """Whether an entry of an upper directory says that there is nothing."""
    return stat.S_ISCHR(entry.mode) and entry.device == 0  # several may be names of one


def is_opaque(top_fd: int, path: str) -> bool:
    """Whether a directory of an upper one hides what is in the directory below it."""
    try:
        fd = open_without_links(top_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    except KernelError as error:
        if error.errno in _ABSENT:
            return False
        raise
    try:
        return os.getxattr(fd, _OPAQUE) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise
    finally:
        os.close(fd)


def _mark(path: str, entry: Entry) -> Entry:
    return Entry(path=path, mode=stat.S_IFREG, mtime_ns=entry.mtime_ns)


class Below:
    """The layers under an upper directory, topmost first, as one tree. ``close`` it."""

    def __init__(self, layer_fds: Sequence[int]) -> None:
        self._fds = tuple(layer_fds)

    def find(self, path: str) -> os.stat_result | None:
        """Return what the image has at a path, None where it has nothing."""
        for fd in self._fds:
            status = _look(fd, path)
            if status is not None:
                return None if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0 else status
            if self._is_hidden(fd, path):
                return None
        return None

    def names(self, path: str) -> set[str]:
        """Return what the image has in a directory."""
        found: set[str] = set()
        for fd in self._fds:
            with suppress(KernelError):
                listing = open_without_links(fd, path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    found.update(os.listdir(listing))
                finally:
                    os.close(listing)
            if self._is_hidden(fd, f"{path}/."):
                break
        return {name for name in found if self.find(f"{path}/{name}" if path else name) is not None}

    def _is_hidden(self, fd: int, path: str) -> bool:
        """Whether this layer hides what those below it have at a path that it does not have itself."""
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            parent = "/".join(parts[:count])
            status = _look(fd, parent)
            if status is None:
                return False
            if not stat.S_ISDIR(status.st_mode) or is_opaque(fd, parent):
                return True
        return False


def _look(fd: int, path: str) -> os.stat_result | None:
    try:
        found = open_without_links(fd, path, os.O_PATH | os.O_NOFOLLOW)
    except KernelError as error:
        if error.errno in _ABSENT:
            return None
        raise
    try:
        return os.fstat(found)
    finally:
        os.close(found)


class Changes:
    """The changes of one upper directory, entry by entry and as a list."""

    def __init__(self, upper_fd: int, below: Below, ignored: Collection[str] = ()) -> None:
        """``ignored``: paths without a slash in front that the engine itself has made, to mount something on them."""
        self.upper_fd = upper_fd
        self.below = below
        self._ignored = frozenset(ignored)

    def entries(self, *, reads: bool = True) -> Iterator[Entry]:
        """Yield what is in the upper directory, whiteouts too, but for what the engine has made."""
        for entry in walk(self.upper_fd, reads=reads):
            if not self._is_engines(entry.path):
                yield entry

    def layer(self) -> Iterator[Entry]:
        """Yield the changes as a layer has them (image-spec, layer.md): what is gone is an empty file ``.wh.NAME``."""
        for entry in self.entries():
            if not entry.path:
                continue
            if is_whiteout(entry):
                if self.below.find(entry.path) is not None:
                    directory, _, name = entry.path.rpartition("/")
                    yield _mark(f"{directory}/.wh.{name}" if directory else f".wh.{name}", entry)
                continue
            yield entry
            if entry.is_directory and is_opaque(self.upper_fd, entry.path):
                yield _mark(f"{entry.path}/.wh..wh..opq", entry)

    def list(self) -> list[Change]:
        """Return every path that was added, changed or deleted, by path.

        A directory is changed when something in it is, or its owner or mode.
        """
        found: dict[str, Kind] = {}
        for entry in self.entries(reads=False):
            if not entry.path:
                continue
            kind = self._kind(entry)
            if kind is not None:
                found[entry.path] = kind
                self._mark_parents(entry.path, found)
            if entry.is_directory and is_opaque(self.upper_fd, entry.path):
                for name in self.below.names(entry.path):
                    path = f"{entry.path}/{name}"
                    if _look(self.upper_fd, path) is None:
                        found[path] = Kind.DELETED
                        self._mark_parents(path, found)
        return [Change(kind, f"/{path}") for path, kind in sorted(found.items())]

    def _kind(self, entry: Entry) -> Kind | None:
        before = self.below.find(entry.path)
        if is_whiteout(entry):
            return Kind.DELETED if before is not None else None
        if before is None:
            return Kind.ADDED
        if entry.is_directory and stat.S_ISDIR(before.st_mode):
            same = (entry.mode, entry.uid, entry.gid) == (before.st_mode, before.st_uid, before.st_gid)
            return None if same else Kind.CHANGED
        return Kind.CHANGED

    def _mark_parents(self, path: str, found: dict[str, Kind]) -> None:
        while path := path.rpartition("/")[0]:
            if path in found:
                return
            found[path] = Kind.CHANGED

    def _is_engines(self, path: str) -> bool:
        """Whether there is an empty file or directory that the image does not have: a place to mount something on."""
        if path not in self._ignored or self.below.find(path) is not None:
            return False
        try:
            fd = open_without_links(self.upper_fd, path, os.O_PATH | os.O_NOFOLLOW)
        except KernelError:
            return False
        try:
            status = os.fstat(fd)
            if not stat.S_ISDIR(status.st_mode):
                return stat.S_ISREG(status.st_mode) and status.st_size == 0
            return all(self._is_engines(f"{path}/{name}") for name in os.listdir(f"/proc/self/fd/{fd}"))
        finally:
            os.close(fd)

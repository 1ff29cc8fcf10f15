"""What an overlay's upper directory has changed of the layers below it (overlayfs.rst, "whiteouts and opaque
directories")."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from bento.errors import KernelError
from bento.files.entry import Entry
from bento.files.walk import walk
from bento.files.way import Way, joined
from bento.model.change import Change, Kind

_OPAQUE: Final = "trusted.overlay.opaque"
_KEPT: Final = 128  # descriptors of all layers together
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def is_whiteout(entry: Entry) -> bool:
    """Whether an entry of an upper directory says that there is nothing."""
    return stat.S_ISCHR(entry.mode) and entry.device == 0  # several may be names of one


def _is_opaque(way: Way, path: str) -> bool:
    """Whether a directory of an upper one hides what is in the directory below it; not when it is not there."""
    try:
        return os.getxattr(way.enter(path), _OPAQUE) == b"y"
    except KernelError as error:
        if error.errno in _ABSENT:
            return False
        raise
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


def _mark(path: str, entry: Entry) -> Entry:
    return Entry(path=path, mode=stat.S_IFREG, mtime_ns=entry.mtime_ns)


class Below:
    """The layers under an upper directory, topmost first, as one tree. ``close`` it.

    What is asked for one after the other should lie near: the way to it is kept, and which layers show what on it.
    """

    def __init__(self, layer_fds: Sequence[int]) -> None:
        """The descriptors stay the caller's, and open."""
        self._ways = [Way(fd, max(1, _KEPT // len(layer_fds))) for fd in layer_fds]
        self._path = ""
        self._shown = [(0, tuple(range(len(layer_fds))))]  # by the length of the path: the layers that have it

    def find(self, path: str) -> os.stat_result | None:
        """Return what the image has at a path that is not "", None where it has nothing."""
        directory, _, name = path.rpartition("/")
        for layer in self._layers(directory):
            status = self._look(layer, directory, name)
            if status is not None:
                return None if _is_nothing(status) else status
        return None

    def names(self, path: str) -> set[str]:
        """Return what the image has in a directory."""
        found: dict[str, bool] = {}
        for layer in self._layers(path):
            with suppress(KernelError):
                directory = self._ways[layer].enter(path)
                for name in os.listdir(directory):
                    if name not in found:
                        status = _status(directory, name)
                        found[name] = status is not None and not _is_nothing(status)
        return {name for name, is_there in found.items() if is_there}

    def close(self) -> None:
        """Let go. Idempotent."""
        for way in self._ways:
            way.close()

    def _layers(self, directory: str) -> tuple[int, ...]:
        """Return the layers that show something in a directory, topmost first."""
        while not _is_within(directory, self._path):
            self._shown.pop()
            self._path = self._path[: self._shown[-1][0]]
        here = len(self._path)
        for name in directory[here:].strip("/").split("/") if len(directory) > here else ():
            shown = self._layers_of(self._path, name)
            self._path = f"{self._path}/{name}" if self._path else name
            self._shown.append((len(self._path), shown))
        return self._shown[-1][1]

    def _layers_of(self, parent: str, name: str) -> tuple[int, ...]:
        shown = []
        for layer in self._shown[-1][1]:
            status = self._look(layer, parent, name)
            if status is None:
                continue
            if not stat.S_ISDIR(status.st_mode):
                break
            shown.append(layer)
            if _is_opaque(self._ways[layer], f"{parent}/{name}" if parent else name):
                break
        return tuple(shown)

    def _look(self, layer: int, directory: str, name: str) -> os.stat_result | None:
        try:
            return _status(self._ways[layer].enter(directory), name)
        except KernelError as error:
            if error.errno in _ABSENT:
                return None
            raise


def _is_within(path: str, directory: str) -> bool:
    return path.startswith(directory) and (not directory or len(path) == len(directory) or path[len(directory)] == "/")


def _status(directory_fd: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_nothing(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


class Changes:
    """The changes of one upper directory, entry by entry and as a list. Use it as a context: it closes ``below``."""

    def __init__(self, upper_fd: int, below: Below, ignored: Collection[str] = ()) -> None:
        """``ignored``: paths without a slash in front that the engine itself has made, to mount something on them."""
        self._upper_fd = upper_fd
        self._upper = Way(upper_fd)
        self._below = below
        self._ignored = frozenset(ignored)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._upper.close()
        self._below.close()

    def entries(self, *, reads: bool = True) -> Iterator[Entry]:
        """Yield what is in the upper directory, whiteouts too, but for what the engine has made."""
        for entry in walk(self._upper_fd, reads=reads):
            if not self._is_engines(entry.path):
                yield entry

    def layer(self) -> Iterator[Entry]:
        """Yield the changes as a layer has them (image-spec, layer.md): what is gone is an empty file ``.wh.NAME``."""
        for entry in self.entries():
            if not entry.path:
                continue
            if is_whiteout(entry):
                if self._below.find(entry.path) is not None:
                    directory, _, name = entry.path.rpartition("/")
                    yield _mark(f"{directory}/.wh.{name}" if directory else f".wh.{name}", entry)
                continue
            yield entry
            if entry.is_directory and _is_opaque(self._upper, entry.path):
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
            if entry.is_directory and _is_opaque(self._upper, entry.path):
                for path in self._deleted(entry.path):
                    found[path] = Kind.DELETED
                    self._mark_parents(path, found)
        return [Change(kind, f"/{path}") for path, kind in sorted(found.items())]

    def _deleted(self, path: str) -> Iterator[str]:
        """Yield what the image has in a directory, and the upper one, which hides it, has not."""
        try:
            directory = self._upper.enter(path)
        except KernelError as error:
            if error.errno in _ABSENT:
                return
            raise
        for name in self._below.names(path):
            if _status(directory, name) is None:
                yield joined(path, name)

    def _kind(self, entry: Entry) -> Kind | None:
        before = self._below.find(entry.path)
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
        if path not in self._ignored or self._below.find(path) is not None:
            return False
        directory, _, name = path.rpartition("/")
        try:
            status = _status(self._upper.enter(directory), name)
            if status is None or not stat.S_ISDIR(status.st_mode):
                return status is not None and stat.S_ISREG(status.st_mode) and status.st_size == 0
            return all(self._is_engines(f"{path}/{each}") for each in os.listdir(self._upper.enter(path)))
        except KernelError:
            return False

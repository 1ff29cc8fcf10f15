"""Seams: what a layer leaves to those below it, laid between the two as a thin layer of its own.

A layer's archive may name ``tmp/file`` without naming ``tmp``. Applied on top of the layers below, as the image-spec
has it, ``tmp`` stays as it was: its mode, its owner, and when it is a symbolic link, ``file`` goes where it leads. But
a layer is unpacked alone, to be shared by all images that have it, and there such an *implied* directory is root's, and
hides what lies below. A seam on top of that layer has these directories as those below have them, and what went
through a link in its right place, as hard links to the files of the layer.

Most images need none. A seam is named by the layers it was made of, so that it is found again, and shared.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from bento.drivers.image.place import OPAQUE_ATTRIBUTE, is_whiteout
from bento.errors import UsageError
from bento.files.tarheader import OVERLAY_ORDERS

_LINKS_MAX: Final = 40
"""Symbolic links on one way (path_resolution(7))."""


class _About(Struct, frozen=True):
    """What a directory or link is, besides its name and what lies in it. Times are no reason for a seam."""

    mode: int
    uid: int
    gid: int
    attributes: tuple[tuple[str, bytes], ...]


_FRESH: Final = _About(stat.S_IFDIR | 0o755, 0, 0, ())
"""A directory that no layer describes."""


def seam_name(layers: Iterable[str]) -> str:
    """Return what the seam on top of these layers, by their DiffIDs and lowest first, is called."""
    return hashlib.sha256("\n".join(("seam", *layers)).encode()).hexdigest()


def make_seam(layer: Path, implied: Sequence[str], below: Sequence[Path], target: Path) -> bool:
    """Fill the new directory ``target`` with what must lie on ``layer``; return False when nothing must.

    ``below``: directories of all that lies under the layer, topmost first, seams too. Raises OSError, UsageError.
    """
    seam = _Seam(layer, frozenset(implied), below, target)
    try:
        for path in sorted(implied):
            seam.mend(path)
        return seam.finish()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise UsageError("a layer has a path that is too long where it leads to", hint="it is damaged") from None


class _Seam:
    def __init__(self, layer: Path, implied: frozenset[str], below: Sequence[Path], target: Path) -> None:
        self._layer = layer
        self._implied = implied
        self._below = below
        self._target = target
        self._led_away: list[str] = []  # implied directories that are links below
        self._made: dict[str, Path | None] = {}  # directories of the seam, and those that they are like

    def finish(self) -> bool:
        """Give the directories their times, the deepest first. Return whether there are any."""
        for path, model in sorted(self._made.items(), reverse=True):
            if model is not None:
                times = model.lstat()
                os.utime(self._place(path), ns=(times.st_atime_ns, times.st_mtime_ns))
        return bool(self._made)

    def mend(self, path: str) -> None:
        """Compare one implied directory with what lies below under its name. Those above it came before."""
        if any(path.startswith(each) for each in self._led_away):
            return
        own = _find((self._layer,), path)
        if own is None or not stat.S_ISDIR(own.lstat().st_mode):
            return  # the layer has put something else in its place, or in a place above it: nothing is followed
        found = _find(self._below, path)
        if found is None or self._is_cut_off(path):
            return
        mode = found.lstat().st_mode
        if stat.S_ISDIR(mode):
            if _about(found) != _about(self._layer / path):
                self._make_directory(path, found)
        elif stat.S_ISLNK(mode):
            leads_to = _resolve(self._below, path)
            if leads_to is None:
                return
            self._led_away.append(f"{path}/")
            self._make_parents(path)
            try:
                _copy_link(found, self._place(path))
            except FileExistsError:
                raise UsageError(f"{path!r} is a directory and something else to the same layer") from None
            self._carry(path, leads_to)

    def _is_cut_off(self, path: str) -> bool:
        """Whether the layer itself hides what lies below this name."""
        parts = path.split("/")[:-1]
        return any(_is_opaque(self._layer / "/".join(parts[: n + 1])) for n in range(len(parts)))

    def _carry(self, source: str, path: str) -> None:
        """Lay what the layer has in its directory ``source`` into ``path``."""
        todo: list[tuple[str, str, Path | None]] = [(source, path, None)]
        while todo:
            source, path, model = todo.pop()
            self._make_directory(path, model)
            if _is_opaque(self._layer / source):
                os.setxattr(self._place(path), OPAQUE_ATTRIBUTE, b"y")
            for name in sorted(os.listdir(self._layer / source)):
                inner, there = f"{source}/{name}", f"{path}/{name}".lstrip("/")
                each = self._layer / inner
                if not stat.S_ISDIR(each.lstat().st_mode):
                    with suppress(FileExistsError):
                        os.link(each, self._place(there), follow_symlinks=False)
                elif inner in self._implied:
                    leads_to = _resolve(self._below, there)  # "" is the root
                    todo.append((inner, there if leads_to is None else leads_to, None))
                else:
                    todo.append((inner, there, each))

    def _make_directory(self, path: str, model: Path | None) -> None:
        """Make a directory like ``model``, with those above it; without one, like what would be seen there."""
        if path in self._made and model is None:
            return
        self._make_parents(path)
        self._make_one(path, model)

    def _make_one(self, path: str, model: Path | None) -> None:
        place = self._place(path)
        if path and path not in self._made:
            try:
                place.mkdir()
            except FileExistsError:
                raise UsageError(f"{path!r} is a directory and something else to the same layer") from None
        if model is None:
            model = _find((self._layer, *self._below), path)
            if model is not None and not stat.S_ISDIR(model.lstat().st_mode):
                model = None
        self._made[path] = model
        about = _about(model) if model is not None else _FRESH
        os.chown(place, about.uid, about.gid)
        for name, value in about.attributes:
            os.setxattr(place, name, value)
        place.chmod(stat.S_IMODE(about.mode))

    def _place(self, path: str) -> Path:
        """Return where something is, or is to be made: in a directory that was made here; no link is followed."""
        if path and path.rpartition("/")[0] not in self._made:
            raise AssertionError(f"{path!r} has no directory in the seam")
        return Path(f"{self._target}/{path}")  # not by "/", which takes an absolute name for itself

    def _make_parents(self, path: str) -> None:
        missing = []
        while path:
            path = path.rpartition("/")[0]
            if path in self._made:
                break
            missing.append(path)
        for each in reversed(missing):
            self._make_one(each, None)


def _copy_link(source: Path, place: Path) -> None:
    about, times = _about(source), source.lstat()
    os.symlink(os.readlink(source), place)
    os.chown(place, about.uid, about.gid, follow_symlinks=False)
    for name, value in about.attributes:
        os.setxattr(place, name, value, follow_symlinks=False)
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns), follow_symlinks=False)


def _about(path: Path) -> _About:
    there = path.lstat()
    names = os.listxattr(path, follow_symlinks=False)
    attributes = tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(names)
        if not name.startswith(OVERLAY_ORDERS)
    )
    return _About(there.st_mode, there.st_uid, there.st_gid, attributes)


def _find(layers: Sequence[Path], path: str) -> Path | None:
    """Return what overlayfs would show under a name: the topmost. No link is followed; None when there is nothing."""
    candidates = list(layers)
    first = candidates[0] if candidates else None
    prefix = ""
    for part in path.split("/") if path else ():
        prefix = f"{prefix}/{part}" if prefix else part
        found = []
        first = None
        for layer in candidates:
            each = layer / prefix
            try:
                there = each.lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if is_whiteout(there):
                break
            first = first or each
            if not stat.S_ISDIR(there.st_mode):
                break
            found.append(layer)
            if _is_opaque(each):
                break
        if first is None:
            return None
        candidates = found
    return first


def _resolve(layers: Sequence[Path], path: str) -> str | None:
    """Return where a name leads when its links are followed, without leaving the root; None when into no directory.

    What does not exist is taken for directories to come.
    """
    todo = list(reversed(path.split("/")))
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        found = _find(layers, "/".join((*done, part)))
        mode = found.lstat().st_mode if found is not None else stat.S_IFDIR
        if stat.S_ISDIR(mode):
            done.append(part)
        elif found is not None and stat.S_ISLNK(mode) and links < _LINKS_MAX:
            links += 1
            target = os.readlink(found)
            done = [] if target.startswith("/") else done
            todo.extend(reversed(target.split("/")))
        else:
            return None
    return "/".join(done)


def _is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, OPAQUE_ATTRIBUTE, follow_symlinks=False) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP, errno.ENOENT):
            return False
        raise

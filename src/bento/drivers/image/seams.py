"""Seams: what a layer leaves to those below it, laid on it as a thin layer of its own.

A layer's archive may name ``tmp/file`` without naming ``tmp``. Applied to the layers below, as the image-spec has it,
``tmp`` stays as it was: its mode, its owner, and when it is a symbolic link, ``file`` goes where it leads. But a layer
is unpacked alone, to be shared by all images that have it, and there such an *implied* directory is root's, and hides
what lies below. A seam on top of that layer has these directories as those below have them, and what went through a
link in its right place, as hard links to the files of the layer.

Most images need none. A seam is named by the layers it was made of, so that it is found again, and shared.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from bento.drivers.image.apply import Applied, Node
from bento.drivers.image.lookup import Stacked, is_directory
from bento.drivers.image.shelf import Unpacked
from bento.drivers.image.whiteouts import OPAQUE_ATTRIBUTE, is_opaque, is_whiteout, make_whiteout
from bento.errors import UsageError
from bento.files.tarheader import OVERLAY_ORDERS

Look = Callable[[], None]
_LOOK_EVERY: Final = 1024


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


def make_seam(
    layer: Path, about: Unpacked, below: Sequence[Path], target: Path, entries: Iterable[tarfile.TarInfo], look: Look
) -> Unpacked | None:
    """Fill the new directory ``target`` with what must lie on ``layer``; return what it is, None when nothing must.

    ``below``: directories of all that lies under the layer, topmost first, seams too. ``entries``: what the layer was
    unpacked from, read once more only when the layer goes through a link. ``look`` is called now and then, and may
    raise. Raises OSError, UsageError.
    """
    stacked = Stacked(below)
    try:
        if _goes_through_links(about, stacked):
            nodes = _applied(layer, about, stacked, entries)
        else:
            nodes = _described_below(layer, about, stacked)
        if not _Seam(layer, stacked, target, nodes).make(look):
            return None
        return Unpacked(size_bytes=0, is_opaque=nodes[""].is_cut if "" in nodes else False)
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EMLINK):
            raise
        raise UsageError(f"a layer cannot be laid on those below it: {error.strerror}") from None


def _goes_through_links(about: Unpacked, below: Stacked) -> bool:
    """Whether what lies in a directory of the layer may belong to where a link of the layers below leads."""
    found = (below.find(path) for path in sorted({*about.implied, *about.once_implied}))
    return any(each is not None and stat.S_ISLNK(each.lstat().st_mode) for each in found)


def _described_below(layer: Path, about: Unpacked, below: Stacked) -> dict[str, Node]:
    """Return the directories that the layer does not describe, and those below it do."""
    nodes = {}
    hiding = {"": about.is_opaque}
    for path in about.implied:
        if path and _hides(layer, path.rpartition("/")[0], hiding):
            continue
        if is_directory(found := below.find(path)):
            nodes[path] = Node(is_directory=True, model=found)
    return nodes


def _hides(layer: Path, path: str, known: dict[str, bool]) -> bool:
    """Whether the layer hides what lies below in a directory: that one is opaque, or one that it is in."""
    if path not in known:
        known[path] = _hides(layer, path.rpartition("/")[0], known) or is_opaque(layer / path)
    return known[path]


def _applied(layer: Path, about: Unpacked, below: Stacked, entries: Iterable[tarfile.TarInfo]) -> dict[str, Node]:
    """Return what the layer comes to, and what hides what it has elsewhere, alone."""
    applied = Applied(layer, below)
    for entry in entries:
        applied.apply(entry)
    nodes = applied.nodes()
    for path in sorted({*about.implied, *about.once_implied}):
        parent = nodes.get(path.rpartition("/")[0])
        if path not in nodes and parent is not None and parent.is_directory:
            nodes[path] = Node(model=None if _is_hidden(nodes, path) else below.find(path))
    for path in sorted(set(applied.elsewhere)):
        if path in nodes or _is_covered(nodes, path):
            continue
        if below.find(path) is not None:
            raise _unclear(path)
        nodes[path] = Node()
    alone = Stacked((layer,))
    for path, node in nodes.items():
        if node.is_directory and not node.is_cut and (own := alone.find(path)) is not None and is_opaque(own) and path:
            raise _unclear(path)
    return nodes


def _unclear(path: str) -> UsageError:
    """For what only a link of the layer itself can do, when one of a layer below leads to its place."""
    return UsageError(f"{path!r} is here and elsewhere, by links that were replaced", hint="build the image anew")


def _is_hidden(nodes: dict[str, Node], path: str) -> bool:
    """Whether one of the directories that something lies in hides what lies below."""
    while path:
        path = path.rpartition("/")[0]
        if nodes[path].is_cut:
            return True
    return False


def _is_covered(nodes: dict[str, Node], path: str) -> bool:
    """Whether nothing that the layer has at a place is to be seen, since something else is above it."""
    while path := path.rpartition("/")[0]:
        node = nodes.get(path)
        if node is not None and (node.is_cut or not node.is_directory):
            return True
    return False


class _Seam:
    """Makes in ``target`` what of ``nodes`` the layer does not show itself."""

    def __init__(self, layer: Path, below: Stacked, target: Path, nodes: dict[str, Node]) -> None:
        self._layer = layer
        self._alone = Stacked((layer,))
        self._below = below
        self._target = target
        self._nodes = nodes
        self._made: dict[str, Path | None] = {}  # directories of the seam, and those that they are like
        self._covering: set[str] = set()  # those of them under which nothing of the layer is to be seen

    def make(self, look: Look) -> bool:
        """Return whether there was anything to make."""
        for number, path in enumerate(sorted(self._nodes)):
            if number % _LOOK_EVERY == 0:
                look()
            node = self._nodes[path]
            if self._is_covered(path) or not self._is_shown(path, node):
                self._make(path, node)
        # Directories get their times last, the deepest first.
        for path, model in sorted(self._made.items(), reverse=True):
            if model is not None:
                times = model.lstat()
                os.utime(self._place(path), ns=(times.st_atime_ns, times.st_mtime_ns))
        return bool(self._made)

    def _is_covered(self, path: str) -> bool:
        return path.rpartition("/")[0] in self._covering

    def _is_shown(self, path: str, node: Node) -> bool:
        """Whether the layer has this at this place, as it is to be."""
        if node.is_cut:
            return False
        if node.place is not None:
            return node.place == path
        own = self._alone.find(path)
        if node.is_directory:
            return own is None or _about(own) == self._about(node)
        return node.model is None and own is None and self._has_deletion(path)

    def _has_deletion(self, path: str) -> bool:
        above, _, name = path.rpartition("/")
        parent = self._alone.find(above)
        try:
            return parent is not None and is_whiteout((parent / name).lstat())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _make(self, path: str, node: Node) -> None:
        self._make_parents(path)
        source = self._like(node)
        if node.is_directory:
            self._make_directory(path, node)
        elif source is None or is_whiteout(there := source.lstat()):
            self._make_deletion(self._place(path))
        elif stat.S_ISLNK(there.st_mode) and node.place is None:
            _copy_link(source, self._place(path))
        else:
            os.link(source, self._place(path), follow_symlinks=False)

    def _make_deletion(self, place: Path) -> None:
        directory = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            make_whiteout(directory, place.name)
        finally:
            os.close(directory)

    def _make_parents(self, path: str) -> None:
        missing = []
        while path:
            path = path.rpartition("/")[0]
            if path in self._made:
                break
            missing.append(path)
        for each in reversed(missing):
            seen = Node(is_directory=True, model=self._alone.find(each) or self._below.find(each))
            self._make_directory(each, self._nodes.get(each, seen))

    def _make_directory(self, path: str, node: Node) -> None:
        place = self._place(path)
        if path:
            place.mkdir()
        about = self._about(node)
        os.chown(place, about.uid, about.gid)
        for name, value in about.attributes:
            os.setxattr(place, name, value)
        place.chmod(stat.S_IMODE(about.mode))
        if path and node.is_cut:
            os.setxattr(place, OPAQUE_ATTRIBUTE, b"y")
        if path and (node.is_cut or self._is_covered(path)):
            self._covering.add(path)
        self._made[path] = self._like(node)

    def _like(self, node: Node) -> Path | None:
        return node.model if node.place is None else self._layer / node.place

    def _about(self, node: Node) -> _About:
        model = self._like(node)
        return _about(model) if model is not None else _FRESH

    def _place(self, path: str) -> Path:
        """Return where something is to be made: in a directory that was made here; no link is followed."""
        if path and path.rpartition("/")[0] not in self._made:
            raise AssertionError(f"{path!r} has no directory in the seam")
        return self._target / path


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

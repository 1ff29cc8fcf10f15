"""Writing a seam: making in a directory of its own what a layer does not show itself of what it comes to.

Directories get their owner, attributes, mode and times last, as in ``directories``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from bento.drivers.image.layers.apply import Node
from bento.drivers.image.layers.lookup import Stacked
from bento.drivers.image.layers.whiteouts import OPAQUE_ATTRIBUTE, is_whiteout, make_whiteout
from bento.files.tarheader import OVERLAY_ORDERS

Look = Callable[[], None]
_LOOK_EVERY: Final = 1024


class _Metadata(Struct, frozen=True):
    """What a directory or link is, besides its name and what lies in it. Times are no reason for a seam."""

    mode: int
    uid: int
    gid: int
    attributes: tuple[tuple[str, bytes], ...]


_FRESH: Final = _Metadata(stat.S_IFDIR | 0o755, 0, 0, ())
"""A directory that no layer describes."""


class SeamWriter:
    """Fills ``target`` with what of ``nodes``, by their places, the layer does not show."""

    def __init__(self, layer: Path, below: Stacked, target: Path, nodes: dict[str, Node]) -> None:
        self._layer = layer
        self._alone = Stacked((layer,))
        self._below = below
        self._target = target
        self._nodes = nodes
        self._made: dict[str, Node] = {}  # directories
        self._covering: set[str] = set()  # those of them under which nothing of the layer is to be seen

    def write(self, look: Look) -> bool:
        """Fill the directory; return whether there was anything to make. Raises OSError.

        ``look`` is called now and then, and may raise.
        """
        for number, path in enumerate(sorted(self._nodes)):
            if number % _LOOK_EVERY == 0:
                look()
            node = self._nodes[path]
            if self._is_covered(path) or not self._is_shown(path, node):
                self._make(path, node)
        for path in sorted(self._made, reverse=True):
            self._finish(path, self._made[path])
        return bool(self._made)

    def _is_covered(self, path: str) -> bool:
        return path.rpartition("/")[0] in self._covering

    def _is_shown(self, path: str, node: Node) -> bool:
        """Whether the layer has this at this place, as it is to be."""
        if node.is_cut:
            return False
        if node.place is not None:
            return node.place == path
        if node.is_directory:
            own = self._alone.find(path)
            return own is None or _metadata(own) == self._metadata(node)
        return node.model is None and self._alone.has_deletion(path)

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
        if path:
            self._place(path).mkdir(0o700)
            if node.is_cut or self._is_covered(path):
                self._covering.add(path)
        self._made[path] = node

    def _finish(self, path: str, node: Node) -> None:
        place, metadata, model = self._place(path), self._metadata(node), self._like(node)
        os.chown(place, metadata.uid, metadata.gid)
        for name, value in metadata.attributes:
            os.setxattr(place, name, value)
        if path and node.is_cut:
            os.setxattr(place, OPAQUE_ATTRIBUTE, b"y")
        place.chmod(stat.S_IMODE(metadata.mode))
        if model is not None:
            times = model.lstat()
            os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))

    def _like(self, node: Node) -> Path | None:
        """Return what something is to be like, or is to be itself."""
        return node.model if node.place is None else self._layer / node.place

    def _metadata(self, node: Node) -> _Metadata:
        model = self._like(node)
        return _metadata(model) if model is not None else _FRESH

    def _place(self, path: str) -> Path:
        """Return where something is to be made: in a directory that was made here; no link is followed."""
        if path and path.rpartition("/")[0] not in self._made:
            raise AssertionError(f"{path!r} has no directory in the seam")
        return self._target / path


def _copy_link(source: Path, place: Path) -> None:
    metadata, times = _metadata(source), source.lstat()
    os.symlink(os.readlink(source), place)
    os.chown(place, metadata.uid, metadata.gid, follow_symlinks=False)
    for name, value in metadata.attributes:
        os.setxattr(place, name, value, follow_symlinks=False)
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns), follow_symlinks=False)


def _metadata(path: Path) -> _Metadata:
    there = path.lstat()
    names = os.listxattr(path, follow_symlinks=False)
    attributes = tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(names)
        if not name.startswith(OVERLAY_ORDERS)
    )
    return _Metadata(there.st_mode, there.st_uid, there.st_gid, attributes)

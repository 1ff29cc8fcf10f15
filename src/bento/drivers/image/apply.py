"""What a layer comes to when its entries are applied, one after the other, to the layers below it.

That is what a layer means (image-spec, layer.md, "Applying Changesets"), and what it is unpacked to, alone, is often
the same. It is not when a name leads through a symbolic link of a layer below: ``var/run/x`` where ``var/run`` leads
to ``/run``. Nothing is written here: of each place that a layer has a part in, it is said what is there in the end.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from bento.drivers.image.lookup import find, is_directory
from bento.drivers.image.whiteouts import Deletion, deletion_of, is_marked
from bento.errors import UsageError
from bento.files.tarheader import path_of
from bento.kernel.rootfs import open_beneath

_LINKS_MAX: Final = 40
"""Symbolic links on one way (path_resolution(7))."""
_PATH_MAX: Final = 4095
"""Of a place, in characters; what is longer cannot be made (PATH_MAX of limits.h, less the NUL)."""
NODES_MAX: Final = 1_000_000
"""Places that one layer can have a part in, when it goes through links: what is kept in memory of them."""


class Node(Struct, kw_only=True):
    """What is at a place: a directory, something else, or, with neither ``place`` nor ``model``, a deletion."""

    is_directory: bool = False
    place: str | None = None  # where the layer itself has it; None for what no entry describes
    model: Path | None = None  # of what no entry describes: the one below that it is
    is_cut: bool = False  # a directory in which nothing of the layers below is to be seen
    is_deleted: bool = False  # a directory that is there in the end only when something of the layer lies in it
    children: dict[str, Node] = {}


_Way = list[tuple[str, Node]]
"""The directories that lead to one, the root first and that one last, each with its path."""


class Applied:
    """A layer that is unpacked in ``layer``, on layers that are unpacked in ``below``, topmost first."""

    def __init__(self, layer: Path, below: Sequence[Path]) -> None:
        self._layer = layer
        self._below = below
        self._root = Node(is_directory=True, model=find(below, ""))
        self._places = {"": ""}  # of directories in the layer, by the names that entries have for them
        self._count = 0

    def apply(self, entry: tarfile.TarInfo) -> None:
        """Apply the next entry of the layer. Raises UsageError for a name that leads nowhere, and for too many."""
        path = path_of(entry.name)
        parent, _, name = path.rpartition("/")
        if is_marked(path):
            if (deletion := deletion_of(path)) is not None:
                self._delete(deletion)
        elif not path:
            self._root.place = ""
        else:
            way = self._enter(parent)
            place = _join(self._place(parent), name)
            if entry.isdir():
                self._directory(way, name).place = place
            else:
                self._put(way, name, Node(place=place))

    def nodes(self) -> dict[str, Node]:
        """Return what is in the end at each place that the layer has a part in, and the directories these lie in."""
        nodes: dict[str, Node] = {}
        hidden: set[str] = set()  # where nothing of the layers below is to be seen
        todo = [("", self._root)]
        while todo:
            path, node = todo.pop()
            nodes[path] = node
            inside = [(_join(path, name), child) for name, child in node.children.items()]
            todo += inside
            if node.is_cut or path in hidden:
                hidden.update(inner for inner, _ in inside)
        filled: set[str] = set()  # directories that something of the layer lies in
        for path in sorted(nodes, reverse=True):
            node = nodes[path]
            if path in hidden:
                node.model = None
            if node.place is not None or path in filled:
                filled.add(path.rpartition("/")[0])
            elif path in hidden:
                del nodes[path]
            elif node.is_deleted:
                nodes[path] = Node()
        return nodes

    def _delete(self, deletion: Deletion) -> None:
        """Hide what lies below. What the layer itself has put there stays."""
        way = self._enter(deletion.parent)
        directory = way[-1][1]
        if not deletion.name:
            directory.is_cut = True
            return
        node = directory.children.get(deletion.name)
        if node is None:
            self._put(way, deletion.name, Node())
        elif node.is_directory:
            node.is_cut = node.is_deleted = True
            node.model = None

    def _enter(self, path: str) -> _Way:
        """Return the way to the directory to which a name leads; what is missing of it is made."""
        way: _Way = [("", self._root)]
        todo = path.split("/")[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del way[max(1, len(way) - 1) :]
                continue
            target = self._link(way, part)
            if target is None:
                way.append((_join(way[-1][0], part), self._directory(way, part)))
                continue
            links += 1
            if links > _LINKS_MAX:
                raise UsageError(f"{path!r} cannot be entered: too many symbolic links")
            if target.startswith("/"):
                del way[1:]
            todo += target.split("/")[::-1]
        return way

    def _link(self, way: _Way, name: str) -> str | None:
        """Return where the link of this name leads; None when it is none."""
        node = way[-1][1].children.get(name)
        if node is None:
            found = self._find(way, name)
        elif node.place is not None and not node.is_directory:
            found = self._layer / node.place
        else:
            return None
        return os.readlink(found) if found is not None and stat.S_ISLNK(found.lstat().st_mode) else None

    def _directory(self, way: _Way, name: str) -> Node:
        """Return the directory of this name. What is none gives way to it."""
        node = way[-1][1].children.get(name)
        if node is not None and node.is_directory:
            return node
        found = self._find(way, name) if node is None else None
        if is_directory(found):
            return self._put(way, name, Node(is_directory=True, model=found))
        return self._put(way, name, Node(is_directory=True, is_cut=node is not None or found is not None))

    def _put(self, way: _Way, name: str, node: Node) -> Node:
        self._count += 1
        if self._count > NODES_MAX:
            raise UsageError(f"a layer that goes through links of others has more than {NODES_MAX} files")
        if len(way[-1][0]) + len(name) >= _PATH_MAX:
            raise UsageError(f"{name[:80]!r}... has more than {_PATH_MAX} bytes where it leads to")
        way[-1][1].children[name] = node
        return node

    def _find(self, way: _Way, name: str) -> Path | None:
        """Return what the layers below show under a name that this layer has no part in."""
        if any(node.is_cut for _, node in way):
            return None
        return find(self._below, _join(way[-1][0], name))

    def _place(self, path: str) -> str:
        """Return where the layer, unpacked alone, has a directory: its own links are followed, and stay in it."""
        place = self._places.get(path)
        if place is None:
            root = os.open(self._layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fd = open_beneath(root, path, os.O_PATH | os.O_DIRECTORY)
                try:
                    place = os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), os.readlink(f"/proc/self/fd/{root}"))
                finally:
                    os.close(fd)
            finally:
                os.close(root)
            place = self._places[path] = "" if place == "." else place
        return place


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name

"""What a layer comes to when its entries are applied, one after the other, to the layers below it.

That is what a layer means (image-spec, layer.md, "Applying Changesets"), and what it is unpacked to, alone, is often
the same. It is not when a name leads through a symbolic link of a layer below: ``var/run/x`` where ``var/run`` leads
to ``/run``. Nothing is written here: of each place that a layer has a part in, it is said what is there in the end.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from pathlib import Path
from typing import Final

from msgspec import Struct

from bento.drivers.image.layers.directories import MEMORY_MAX_BYTES
from bento.drivers.image.layers.lookup import Stacked, is_directory
from bento.drivers.image.layers.whiteouts import Deletion, deletion_of, is_marked
from bento.errors import KernelError, UsageError
from bento.files.rootfs import open_beneath
from bento.files.tarheader import check_path, device_of, path_of

_LINKS_MAX: Final = 40
"""Symbolic links on one way (path_resolution(7))."""
_STEPS_MAX: Final = 1024
"""Names on one way, those in its links, too: they can have 4095 bytes each, and every step takes time."""
_EACH_BYTES: Final = 400
"""What is kept in memory of a place, besides its names."""


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
    """A layer that is unpacked in ``layer``, on those ``below``."""

    def __init__(self, layer: Path, below: Stacked) -> None:
        self.elsewhere: list[str] = []  # where the layer, alone, has what comes to another place in the end
        self._layer = layer
        self._below = below
        self._root = Node(is_directory=True, model=below.find(""))
        # Where the layer, alone, has its directories, by the names that entries have for them.
        self._places: dict[str, str | None] = {"": ""}
        self._memory_bytes = 0

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
            place = self._place(parent, name, way)
            if entry.ischr() and device_of(entry)[1] == 0:
                self._put(way, name, Node())  # to overlayfs it is a deletion
            elif place is None:
                raise FileNotFoundError(errno.ENOENT, "it was taken away", os.fspath(self._layer))
            elif entry.isdir():
                self._directory(way, name).place = place
            else:
                self._put(way, name, Node(place=(entry.islnk() and self._linked(entry.linkname)) or place))

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

    def _linked(self, target: str) -> str | None:
        """Return where the layer has what a hard link leads to, which something else may have come to meanwhile."""
        parent, _, name = path_of(target).rpartition("/")
        way = self._enter(parent, is_made=False)
        node = way[-1][1].children.get(name) if way else None
        return node.place if node is not None and not node.is_directory else None

    def _delete(self, deletion: Deletion) -> None:
        """Hide what lies below. What the layer itself has put there stays."""
        way = self._enter(deletion.parent, is_made=False)
        if not way:
            return
        if not deletion.name:
            way[-1][1].is_cut = True
            return
        self._place(deletion.parent, deletion.name, way)
        node = way[-1][1].children.get(deletion.name)
        if node is None:
            self._put(way, deletion.name, Node())
        elif node.is_directory:
            node.is_cut = node.is_deleted = True
            node.model = None

    def _enter(self, path: str, *, is_made: bool = True) -> _Way:
        """Return the way to the directory to which a name leads; what is missing of it is made.

        Unless ``is_made``: then the way is empty when there is none.
        """
        way: _Way = [("", self._root)]
        there = len(way)  # how much of the way there is
        todo = path.split("/")[::-1]
        links = steps = 0
        while todo:
            part = todo.pop()
            steps += 1
            if steps > _STEPS_MAX:
                raise UsageError(f"{path!r} cannot be entered: its links have too many names in them")
            if part in ("", "."):
                continue
            if part == "..":
                if len(way) == 1:
                    raise UsageError(f"{path!r} leads out of the root filesystem through a symbolic link")
                del way[-1]
                there = min(there, len(way))
                continue
            target = self._link(way, part)
            if target is None:
                is_there = there == len(way) and (is_made or self._has_directory(way, part))
                node = self._directory(way, part) if is_there else Node(is_directory=True)
                way.append((_join(way[-1][0], part), node))
                there += is_there
                continue
            links += 1
            if links > _LINKS_MAX:
                raise UsageError(f"{path!r} cannot be entered: too many symbolic links")
            if target.startswith("/"):
                del way[1:]
                there = 1
            todo += target.split("/")[::-1]
        return way if there == len(way) else []

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

    def _has_directory(self, way: _Way, name: str) -> bool:
        node = way[-1][1].children.get(name)
        return node.is_directory if node is not None else is_directory(self._find(way, name))

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
        where = _join(way[-1][0], name)
        check_path(where)
        self._count(where)
        way[-1][1].children[name] = node
        return node

    def _count(self, path: str) -> None:
        self._memory_bytes += _EACH_BYTES + 2 * len(path)
        if self._memory_bytes > MEMORY_MAX_BYTES:
            raise UsageError("a layer that goes through links of others has more files than any image needs")

    def _find(self, way: _Way, name: str) -> Path | None:
        """Return what the layers below show under a name that this layer has no part in."""
        if any(node.is_cut for _, node in way):
            return None
        return self._below.find(_join(way[-1][0], name))

    def _place(self, parent: str, name: str, way: _Way) -> str | None:
        """Return where the layer, alone, has what an entry of this name has made; None when it is not there (any more).

        Its own links are followed, and stay in it.
        """
        if parent not in self._places:
            self._count(parent)
            self._places[parent] = self._real_path(parent)
        directory = self._places[parent]
        if directory is None:
            return None
        place = _join(directory, name)
        if place != _join(way[-1][0], name):
            self._memory_bytes += 2 * len(place)
            self.elsewhere.append(place)
        return place

    def _real_path(self, path: str) -> str | None:
        root = os.open(self._layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fd = open_beneath(root, path, os.O_PATH | os.O_DIRECTORY)
            except KernelError:
                return None
            try:
                real = os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), os.readlink(f"/proc/self/fd/{root}"))
            finally:
                os.close(fd)
        finally:
            os.close(root)
        return "" if real == "." else real


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name

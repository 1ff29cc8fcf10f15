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
from msgspec.structs import replace

from bento.drivers.image.lookup import find, is_directory
from bento.drivers.image.whiteouts import Deletion, deletion_of, is_marked
from bento.errors import UsageError
from bento.files.tarheader import path_of
from bento.kernel.rootfs import open_beneath

_LINKS_MAX: Final = 40
"""Symbolic links on one way (path_resolution(7))."""


class Node(Struct, frozen=True, kw_only=True):
    """What is at a place: a directory, something else, or, with neither ``place`` nor ``model``, a deletion."""

    is_directory: bool = False
    place: str | None = None  # where the layer itself has it; None for what no entry describes
    model: Path | None = None  # of what no entry describes: the one below that it is
    is_cut: bool = False  # a directory in which nothing of the layers below is to be seen


class Applied:
    """A layer that is unpacked in ``layer``, on layers that are unpacked in ``below``, topmost first.

    ``nodes``: what the layer has a part in, by its place in the end; of each the directories it lies in, too.
    """

    def __init__(self, layer: Path, below: Sequence[Path]) -> None:
        self.nodes: dict[str, Node] = {"": Node(is_directory=True, model=find(below, ""))}
        self._layer = layer
        self._below = below
        self._places = {"": ""}  # of directories in the layer, by the names that entries have for them

    def apply(self, entry: tarfile.TarInfo) -> None:
        """Apply the next entry of the layer. Raises UsageError when a name leads round in a circle."""
        path = path_of(entry.name)
        parent, _, name = path.rpartition("/")
        if is_marked(path):
            if (deletion := deletion_of(path)) is not None:
                self._delete(deletion)
        elif not path:
            self.nodes[""] = Node(is_directory=True, place="", is_cut=self.nodes[""].is_cut)
        else:
            where = _join(self._enter(parent), name)
            place = _join(self._place(parent), name)
            if entry.isdir():
                self.nodes[where] = Node(is_directory=True, place=place, is_cut=self._is_cut(where))
            else:
                self._forget(where)
                self.nodes[where] = Node(place=place)

    def below(self, where: str) -> Path | None:
        """Return what the layers below show at a place, as far as this one lets them."""
        above = where
        while above:
            above = above.rpartition("/")[0]
            node = self.nodes.get(above)
            if node is not None and (node.is_cut or not node.is_directory):
                return None
        return find(self._below, where)

    def _enter(self, path: str) -> str:
        """Return the directory to which a name leads, as a path through no link; what is missing of it is made."""
        todo = path.split("/")[::-1]
        done = ""
        links = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            where = _join(done, part)
            target = self._step(where)
            if target is None:
                done = where
                continue
            links += 1
            if links > _LINKS_MAX:
                raise UsageError(f"{path!r} cannot be entered: too many symbolic links")
            done = "" if target.startswith("/") else done
            todo += target.split("/")[::-1]
        return done

    def _step(self, where: str) -> str | None:
        """Return where the link at a place leads; None when there is a directory now, since something is to lie in it.

        What is no directory gives way.
        """
        node = self.nodes.get(where)
        if node is not None and node.is_directory:
            return None
        found = self.below(where) if node is None else self._layer / node.place if node.place is not None else None
        if found is not None and stat.S_ISLNK(found.lstat().st_mode):
            return os.readlink(found)
        model = found if is_directory(found) else None
        self.nodes[where] = Node(is_directory=True, model=model, is_cut=self._is_cut(where))
        return None

    def _is_cut(self, where: str) -> bool:
        """Whether a directory that takes this place, or has it, is to show nothing of what lies below."""
        node = self.nodes.get(where)
        if node is not None:
            return node.is_cut or not node.is_directory
        found = self.below(where)
        return found is not None and not is_directory(found)

    def _delete(self, deletion: Deletion) -> None:
        """Hide what lies below. What the layer itself has put there stays."""
        where = self._enter(deletion.parent)
        if not deletion.name:
            self._hide(where)
            self.nodes[where] = replace(self.nodes[where], is_cut=True)
            return
        where = _join(where, deletion.name)
        node = self.nodes.setdefault(where, Node())
        if node.is_directory:
            stays = self._hide(where) or node.place is not None
            self.nodes[where] = replace(node, model=None, is_cut=True) if stays else Node()

    def _hide(self, where: str) -> bool:
        """Forget what lies in a directory, but for what the layer has put there. Return whether there is such a thing.

        A directory is not put there by a name that only leads through it.
        """
        inside = self._inside(where)
        stays = set()
        for each in inside:
            if self.nodes[each].place is not None:
                while each != where and each not in stays:
                    stays.add(each)
                    each = each.rpartition("/")[0]
        for each in inside:
            if each in stays:
                self.nodes[each] = replace(self.nodes[each], model=None)
            else:
                del self.nodes[each]
        return bool(stays)

    def _forget(self, where: str) -> None:
        """Something else takes the place of a directory that the layer has made there by another name."""
        node = self.nodes.get(where)
        if node is not None and node.is_directory:
            for each in self._inside(where):
                del self.nodes[each]

    def _inside(self, where: str) -> list[str]:
        prefix = f"{where}/" if where else ""
        return [each for each in self.nodes if each.startswith(prefix) and each != where]

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

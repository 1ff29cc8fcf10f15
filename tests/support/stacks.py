"""Layer stacks as Hypothesis draws them, each valid for whatever applies it, and trees to compare."""

from __future__ import annotations

import os
import posixpath
import stat
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from support import layers
from support.layers import Entry

_NAMES = ("a", "b", "c", "n/m")
_MODES = (0o755, 0o700, 0o1777, 0o2750, 0o4711)
_OWNERS = (0, 0, 1000, 70000)


class Stack:
    """Draws layers. Knows what is visible so far, so that what it draws makes sense: no file in a file."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self._tree: dict[str, str] = {}  # path -> kind: d, f, l
        self._leads_to: dict[str, str] = {}  # links to directories
        self._below: set[str] = set()  # links of lower layers
        self._touched: set[str] = set()  # what this layer made
        self._names: dict[str, str] = {}  # of its entries -> kind, and of what they lie in -> ""
        self._files: list[tuple[str, str]] = []  # names of its files, and of the directories these are in
        self._entries: list[Entry] = []

    def layer(self) -> list[Entry]:
        """Return the entries of the next layer."""
        self._entries, self._touched, self._names, self._files = [], set(), {}, []
        self._below = {path for path, kind in self._tree.items() if kind == "l"}
        for _ in range(self._data.draw(st.integers(1, 7))):
            act = self._one_of(
                self._file, self._directory, self._link, self._other, self._delete, self._opaque, self._again
            )
            act()
        return self._entries

    def _one_of(self, *values: Any) -> Any:
        return self._data.draw(st.sampled_from(values))

    def _fields(self) -> dict[str, Any]:
        owner = self._one_of(*_OWNERS)
        fields: dict[str, Any] = {"uid": owner, "gid": self._one_of(*_OWNERS), "mode": self._one_of(*_MODES)}
        attribute = self._one_of("", "", "trusted__mine", "security__mine")
        return fields | (layers.xattrs(**{attribute: str(owner)}) if attribute else {})

    def _directories(self) -> list[str]:
        return ["", *sorted(path for path, kind in self._tree.items() if kind == "d")]

    def _ways(self) -> list[str]:
        """Return the links of lower layers to directories that are there still."""
        return sorted(self._below.difference(self._touched).intersection(self._leads_to))

    def _way(self, directory: str) -> str:
        """Return a name for a directory, which may be that of a link."""
        return self._one_of(directory, *(link for link in self._ways() if self._leads_to[link] == directory))

    def _new(self, *, is_directory: bool = False) -> tuple[str, str, str] | None:
        """Return a path that this layer may make, the name to give the entry, and that of its directory."""
        parent, name = self._one_of(*self._directories()), self._one_of(*_NAMES)
        path = posixpath.join(parent, name)
        above = posixpath.dirname(path)
        if self._is_touched(path) or self._tree.get(above, "d") != "d":
            return None
        way = self._way(parent)
        entry_name = posixpath.join(way, name)
        replaces_way = way != parent and f"{way}/".startswith(f"{path}/")
        if replaces_way or not self._is_free(entry_name, is_directory=is_directory):
            return None
        if way == parent and self._data.draw(st.booleans()):
            self._describe(above)
        self._forget(path)
        self._imply(above)
        return path, entry_name, way

    def _is_touched(self, path: str) -> bool:
        return any(each == path or each.startswith(f"{path}/") for each in self._touched)

    def _is_free(self, name: str, *, is_directory: bool = False) -> bool:
        """Whether the layer, alone, has room for such an entry: one for each name, and nothing in what is a file."""
        kind = self._names.get(name)
        if kind is not None and (kind or not is_directory):
            return False
        above = posixpath.dirname(name)
        while above:
            if self._names.get(above, "d") not in ("", "d"):
                return False
            above = posixpath.dirname(above)
        return True

    def _describe(self, path: str) -> None:
        """Give entries to a directory and those above it, as most tools do."""
        parts = path.split("/") if path else []
        for number in range(len(parts)):
            each = "/".join(parts[: number + 1])
            if each not in self._touched and self._is_free(each, is_directory=True):
                self._add(each, layers.directory(each, **self._fields()), "d")

    def _imply(self, path: str) -> None:
        while path:
            self._tree.setdefault(path, "d")
            path = posixpath.dirname(path)

    def _forget(self, path: str) -> None:
        for each in [each for each in self._tree if each == path or each.startswith(f"{path}/")]:
            del self._tree[each]
        self._leads_to = {k: v for k, v in self._leads_to.items() if k in self._tree and self._tree.get(v, "d") == "d"}
        self._leads_to = {k: v for k, v in self._leads_to.items() if not v or v in self._tree}

    def _add(self, path: str, entry: Entry, kind: str) -> None:
        if kind == "d":
            # umoci has the kernel hand a set-group-ID bit down to directories that no entry describes: its accident.
            entry.fields["mode"] &= ~0o2000
        self._entries.append(entry)
        self._names[entry.name] = kind
        above = posixpath.dirname(entry.name)
        while above:
            self._names.setdefault(above, "")
            above = posixpath.dirname(above)
        self._touched.add(path)
        self._tree[path] = kind

    def _file(self) -> None:
        if new := self._new():
            content = self._data.draw(st.binary(max_size=8))
            self._add(new[0], layers.file(new[1], content, **self._fields()), "f")
            self._files.append((new[1], new[2]))

    def _directory(self) -> None:
        path = self._one_of(*self._directories())
        if path and self._data.draw(st.booleans()):
            if path not in self._touched and self._is_free(path, is_directory=True):
                self._add(path, layers.directory(path, **self._fields()), "d")
        elif new := self._new(is_directory=True):
            self._add(new[0], layers.directory(new[1], **self._fields()), "d")

    def _link(self) -> None:
        target = self._one_of(*self._directories())
        if (new := self._new()) is None:
            return
        path = new[0]
        inside = target == path or target.startswith(f"{path}/") or (target and target not in self._tree)
        text = self._one_of(f"/{target}", os.path.relpath(f"/{target}", f"/{posixpath.dirname(path)}"))
        fields = self._fields() | {"mode": 0o777}
        self._add(path, layers.symlink(new[1], "nowhere" if inside else text, **fields), "l")
        if not inside:
            self._leads_to[path] = target

    def _other(self) -> None:
        kind = self._one_of("fifo", "device", "hard")
        if (new := self._new()) is None:
            return
        files = [name for name, way in self._files if way not in self._below or way in self._ways()]
        if kind == "hard" and files:
            self._add(new[0], layers.hardlink(new[1], self._one_of(*files)), "f")
        elif kind == "fifo":
            self._add(new[0], layers.fifo(new[1], **self._fields()), "f")
        else:
            self._add(new[0], layers.device(new[1], 1, 3, **self._fields()), "f")

    def _untouched(self) -> str:
        return self._one_of("", *(path for path in sorted(self._tree) if not self._is_touched(path)))

    def _delete(self) -> None:
        nowhere = posixpath.join(self._one_of(*self._directories()), "nothing")
        path = self._one_of(self._untouched(), nowhere)
        entry = layers.whiteout(posixpath.join(self._way(posixpath.dirname(path)), posixpath.basename(path)))
        if path and self._is_free(entry.name):
            self._forget(path)
            self._add(path, entry, "gone")
            del self._tree[path]

    def _opaque(self) -> None:
        path = self._one_of(*self._directories())
        inner = f"{path}/{self._one_of(*_NAMES[:3])}"
        if not path or self._is_touched(path) or not self._is_free(inner):
            return
        if self._data.draw(st.booleans()):
            self._describe(path)
        self._forget(path)
        self._imply(path)
        made = [(f"{path}/.", layers.opaque(path), "d"), (inner, layers.file(inner, b"new", **self._fields()), "f")]
        for place, entry, kind in made if self._data.draw(st.booleans()) else reversed(made):
            self._add(place, entry, kind)
        del self._tree[f"{path}/."]

    def _again(self) -> None:
        """Delete something, and make something else of the same name."""
        path = self._untouched()
        if not path or not self._is_free(layers.whiteout(path).name) or not self._is_free(path, is_directory=True):
            return
        self._forget(path)
        self._imply(posixpath.dirname(path))
        self._add(path, layers.whiteout(path), "gone")
        if self._is_free(path) and self._data.draw(st.booleans()):
            self._add(path, layers.file(path, b"again", **self._fields()), "f")
        else:
            self._add(path, layers.directory(path, **self._fields()), "d")
            if self._is_free(f"{path}/a"):
                self._add(f"{path}/a", layers.file(f"{path}/a", b"again", **self._fields()), "f")


def tree(path: Path) -> dict[str, tuple[object, ...]]:
    """What matters of every file below ``path``; names of the same file have the same first name."""
    seen: dict[str, tuple[object, ...]] = {}
    first_names: dict[tuple[int, int], str] = {}
    for directory, names, files in os.walk(path):
        names.sort()
        for name in (["."] if Path(directory) == path else []) + sorted([*names, *files]):
            each = Path(directory, name)
            info = each.lstat()
            content: object = None
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(each)
            elif stat.S_ISREG(info.st_mode):
                content = each.read_bytes()
            shown = os.fspath(each.relative_to(path))
            is_directory = stat.S_ISDIR(info.st_mode)
            is_timeless = is_directory or (stat.S_ISCHR(info.st_mode) and not info.st_rdev)  # a deletion has no time
            group = shown if is_directory else first_names.setdefault((info.st_dev, info.st_ino), shown)
            attributes = [(n, os.getxattr(each, n, follow_symlinks=False)) for n in _attribute_names(each)]
            seen[shown] = (
                stat.filemode(info.st_mode), info.st_uid, info.st_gid, info.st_rdev, content, group,
                None if is_timeless else info.st_mtime_ns, tuple(attributes),
            )  # fmt: skip
    return seen


def _attribute_names(path: Path) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))

"""Looking into layers that lie on each other as overlayfs does, without mounting them."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bento.drivers.image.layers.whiteouts import is_opaque, is_whiteout


class Stacked:
    """Unpacked layers, topmost first, which do not change. Remembers where it has looked."""

    def __init__(self, layers: Iterable[Path]) -> None:
        directories = list(layers)
        self._tops = {"": directories[0] if directories else None}
        self._directories = {"": directories}  # that lie on each other under a name

    def find(self, path: str) -> Path | None:
        """Return what would be seen under a name: the topmost. No link is followed; None when there is nothing."""
        if path not in self._tops:
            # From the highest on that was not looked at, so that a long path is no deep recursion.
            missing = [path]
            while (above := missing[-1].rpartition("/")[0]) not in self._tops:
                missing.append(above)
            for each in reversed(missing):
                above, _, name = each.rpartition("/")
                self._tops[each], self._directories[each] = _look(self._directories[above], name)
        return self._tops[path]

    def has_deletion(self, path: str) -> bool:
        """Whether the topmost layer that has something under a name has a deletion there."""
        above, _, name = path.rpartition("/")
        self.find(above)
        for directory in self._directories[above]:
            with suppress(FileNotFoundError):
                return is_whiteout((directory / name).lstat())
        return False


def _look(directories: Iterable[Path], name: str) -> tuple[Path | None, list[Path]]:
    """Look for a name in directories that lie on each other. Return the topmost thing, and all directories of the name.

    There are none of these when the topmost is something else: nothing is looked for in what a link leads to.
    """
    found: list[Path] = []
    for directory in directories:
        each = directory / name
        try:
            there = each.lstat()
        except FileNotFoundError:
            continue
        if is_whiteout(there):
            break
        if not stat.S_ISDIR(there.st_mode):
            if not found:
                return each, []
            break
        found.append(each)
        if is_opaque(each):
            break
    return (found[0] if found else None), found


def is_directory(path: Path | None) -> bool:
    """Whether what ``find`` has returned is a directory."""
    return path is not None and stat.S_ISDIR(path.lstat().st_mode)

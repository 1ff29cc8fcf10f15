"""Looking into layers that lie on each other as overlayfs does, without mounting them."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from bento.drivers.image.whiteouts import is_opaque, is_whiteout


class Stacked:
    """Unpacked layers, topmost first, which do not change. Remembers where it has looked."""

    def __init__(self, layers: Iterable[Path]) -> None:
        self._seen: dict[str, list[Path]] = {"": list(layers)}

    def find(self, path: str) -> Path | None:
        """Return what would be seen under a name: the topmost. No link is followed; None when there is nothing."""
        found = self._seen.get(path)
        if found is None:
            # From the highest on that was not looked at, so that a long path is no deep recursion.
            missing = [path]
            while (above := missing[-1].rpartition("/")[0]) not in self._seen:
                missing.append(above)
            for each in reversed(missing):
                above, _, name = each.rpartition("/")
                found = self._seen[each] = _look(self._seen[above], name)
        return found[0] if found else None


def _look(directories: Iterable[Path], name: str) -> list[Path]:
    """Return what of this name is in directories that lie on each other: directories that do so, too, or one thing."""
    found: list[Path] = []
    for directory in directories:
        each = directory / name
        try:
            there = each.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if is_whiteout(there) or (found and not stat.S_ISDIR(there.st_mode)):
            break
        found.append(each)
        if not stat.S_ISDIR(there.st_mode) or is_opaque(each):
            break
    return found


def is_directory(path: Path | None) -> bool:
    """Whether what ``find`` has returned is a directory."""
    return path is not None and stat.S_ISDIR(path.lstat().st_mode)

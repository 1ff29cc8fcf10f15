"""Looking into layers that lie on each other as overlayfs does, without mounting them."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from bento.drivers.image.whiteouts import is_opaque, is_whiteout


def find(layers: Sequence[Path], path: str) -> Path | None:
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
            if is_opaque(each):
                break
        if first is None:
            return None
        candidates = found
    return first


def is_directory(path: Path | None) -> bool:
    """Whether what ``find`` has returned is a directory."""
    return path is not None and stat.S_ISDIR(path.lstat().st_mode)

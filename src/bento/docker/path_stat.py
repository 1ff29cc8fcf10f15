"""A path in a container, as the header ``X-Docker-Container-Path-Stat`` of Docker's API has it."""

from __future__ import annotations

import stat
from typing import Any, Final

from bento.model.change import PathStat
from bento.units import utc_text

_TYPES: Final = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_BITS: Final = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def document(found: PathStat) -> dict[str, Any]:
    """Return the header's document; its mode is that of Go (io/fs, FileMode)."""
    return {
        "name": found.name,
        "size": found.size,
        "mode": go_mode(found.mode),
        "mtime": utc_text(found.mtime_ns),
        "linkTarget": found.target,
    }


def go_mode(mode: int) -> int:
    """Return a mode of stat(2) in Go's bits."""
    special = sum(bit for ours, bit in _BITS.items() if mode & ours)
    return stat.S_IMODE(mode) & 0o777 | _TYPES.get(stat.S_IFMT(mode), 0) | special

"""What a path in a container is."""

from __future__ import annotations

from msgspec import Struct


class PathStat(Struct, frozen=True, kw_only=True):
    """A file, as stat(2) has it; a link itself, and not what it leads to. ``mode`` has its type, too."""

    name: str  # the last of its path; "/" of the root
    size: int  # bytes
    mode: int
    mtime_ns: int
    target: str = ""  # of a symbolic link

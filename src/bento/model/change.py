"""What a container has changed in its root filesystem, and what a path in it is."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Kind(Enum):
    """What became of a path; the values are those of Docker's interface."""

    CHANGED = 0
    ADDED = 1
    DELETED = 2


class Change(Struct, frozen=True):
    """One path, absolute, that is not what it is in the image."""

    kind: Kind
    path: str


class PathStat(Struct, frozen=True, kw_only=True):
    """A file, as stat(2) has it; a link itself, and not what it leads to. ``mode`` has its type, too."""

    name: str  # the last of its path; "/" of the root
    size: int  # bytes
    mode: int
    mtime_ns: int
    target: str = ""  # of a symbolic link

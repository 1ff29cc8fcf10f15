"""What a container has changed of its image's files."""

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

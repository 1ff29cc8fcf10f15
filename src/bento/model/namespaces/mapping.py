"""The ids of a user namespace, and what they are outside of it (user_namespaces(7))."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

ID_MAX: Final = 2**32 - 2
"""The id after it is "unchanged" to chown(2), and no owner."""
NOT_MAPPED: Final = "noidmap"
"""The option of a bind mount: the ids of its files are the machine's, in a user namespace, too."""
OVERFLOW: Final = 65534
"""What the kernel shows for an id that is not mapped (/proc/sys/kernel/overflowuid)."""


class IdRange(Struct, frozen=True):
    """``size`` ids that begin with ``inside`` in the namespace, and with ``outside`` on the machine."""

    inside: int
    outside: int
    size: int

    def overlaps(self, first: int, size: int) -> bool:
        """Whether one of these ids of the machine is among its own."""
        return first < self.outside + self.size and self.outside < first + size


class IdMapping(Struct, frozen=True):
    """The users and the groups of a user namespace. Each has at least one range, and the id 0."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]

    @property
    def root(self) -> tuple[int, int]:
        """What user 0 and group 0 of the namespace are on the machine."""
        return self.to_machine((0, 0))

    def to_machine(self, owner: tuple[int, int]) -> tuple[int, int]:
        """Return what a user and a group of the namespace are on the machine. Raises ValueError: one is not mapped."""
        return _outside(self.uids, owner[0]), _outside(self.gids, owner[1])

    def from_machine(self, owner: tuple[int, int]) -> tuple[int, int]:
        """Return what a user and a group of the machine are in the namespace; ``OVERFLOW`` for others."""
        return _inside(self.uids, owner[0]), _inside(self.gids, owner[1])


def _outside(ranges: Iterable[IdRange], number: int) -> int:
    for one in ranges:
        if one.inside <= number < one.inside + one.size:
            return number - one.inside + one.outside
    raise ValueError(number)


def _inside(ranges: Iterable[IdRange], number: int) -> int:
    for one in ranges:
        if one.outside <= number < one.outside + one.size:
            return number - one.outside + one.inside
    return OVERFLOW

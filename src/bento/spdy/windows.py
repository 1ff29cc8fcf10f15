"""Flow control: how much may be on its way (SPDY/3.1, 2.6.8)."""

from __future__ import annotations

from typing import Final

INITIAL: Final = 64 * 1024
LARGEST: Final = 0x7FFFFFFF


class Outgoing:
    """What the client lets us send. Below zero after it has made its initial window smaller."""

    def __init__(self, size: int) -> None:
        self.room = size

    def sent(self, count: int) -> None:
        """Note that so many bytes were sent."""
        self.room -= count

    def open(self, count: int) -> bool:
        """Make it larger, or smaller; return False when it is larger than there can be."""
        self.room += count
        return self.room <= LARGEST


class Incoming:
    """What we let the client send: as much as was consumed of what it has sent, told in few updates."""

    def __init__(self) -> None:
        self._room, self._untold = INITIAL, 0

    def received(self, count: int) -> bool:
        """Note that so many bytes have come; return False when that is more than was allowed."""
        self._room -= count
        return self._room >= 0

    def consumed(self, count: int) -> int:
        """Note that so many bytes need no room any more; return by how much the client is to be told so now, or 0."""
        self._untold += count
        if self._untold < INITIAL // 2:
            return 0
        told, self._untold = self._untold, 0
        self._room += told
        return told

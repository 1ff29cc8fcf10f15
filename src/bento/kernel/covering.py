"""Directories of the machine that a mount may cover, in a mount namespace of Bento's own.

Root of a user namespace is another user of the machine, which cannot go through the directories of the engine's roots:
they are for root alone. What it is to reach is mounted on a directory that each user may go through.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bento.errors import StorageUnusable

_PLACES: Final = ("/mnt", "/media", "/srv", "/usr/games", "/usr/src", "/var/local", "/home")
"""Directories that a monitor and a runtime need nothing of (hier(7))."""


def choose(count: int, kept: Iterable[str]) -> list[str]:
    """Return so many of them, which have none of ``kept``. Raises StorageUnusable."""
    needed = [os.path.realpath(one) for one in kept]
    fit = [one for one in _PLACES if not any(f"{path}/".startswith(f"{one}/") for path in needed) and _is_fit(one)]
    if len(fit) < count:
        raise StorageUnusable(
            f"too few directories of this machine can be covered: of {', '.join(_PLACES)}",
            hint="make /mnt and /media, empty",
        )
    return fit[:count]


def _is_fit(place: str) -> bool:
    return os.path.realpath(place) == place and _is_open(place) and not os.path.ismount(place)


def _is_open(place: str) -> bool:
    """Whether each user may go through it."""
    try:
        return all(stat.S_IMODE(os.stat(one).st_mode) & 0o001 for one in (place, *map(str, Path(place).parents)))
    except FileNotFoundError:
        return False

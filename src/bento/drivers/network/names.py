"""What an engine's links, tables and bridges are called, and the number that tells them from what others make.

The number is made of the root's path when the engine first makes something. It is kept in the root, with which
directory that is: a root that was moved finds what it has made, and one that is a copy of another has a number of its
own.
"""

from __future__ import annotations

import binascii
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bento.model.network import BRIDGE

if TYPE_CHECKING:
    from bento.kernel.net.links import Link

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
MOST: Final = len(_DIGITS)
"""So many networks a container can be on."""


class Names:
    """What is this engine's, by name; engines with other roots have others. 15 letters at most are a link's name."""

    def __init__(self, seed: int) -> None:
        """``seed``: the number of the engine (``seed_of``)."""
        self.seed = seed
        key = f"{self.seed:08x}"
        self.bridge = f"bento-{key}" if seed else "bento0"
        self.table = f"bento-{key}"
        self.links = f"b{key[:5]}"
        self.group = 1 << 30 | self.seed & (1 << 30) - 1  # of the bridges; 0 is that of all links at first

    def bridge_of(self, network_id: str) -> str:
        """Return what the bridge of a network is called, unless it was given a name."""
        return f"{self.links}-{network_id[:8]}"

    def link(self, container_id: str, interface: str = "eth0") -> str:
        """Return what the host's end of a container's pair of links is called."""
        return f"{self.links_of(container_id)}{_DIGITS[number_of(interface)]}"

    def links_of(self, container_id: str) -> str:
        """Return what the names of a container's links begin with."""
        return f"{self.links}{container_id[:8]}"

    def is_link(self, name: str) -> bool:
        """Whether a link is a container's."""
        return name.startswith(self.links) and "-" not in name

    def is_bridge(self, link: Link) -> bool:
        """Whether a link is a bridge of this engine."""
        return link.kind == BRIDGE and (link.name == self.bridge or link.group == self.group)


def number_of(interface: str) -> int:
    """Return the number of ``eth3``."""
    return int(interface.removeprefix("eth"))


_FILE: Final = "network-key"


def seed_of(root: Path, *, is_default: bool) -> int:
    """Return the engine's number, of 32 bits. The default root has 0, so long as it is where it was."""
    with suppress(OSError, ValueError):
        key, _, directory = (root / _FILE).read_text(encoding="utf-8").partition(" ")
        if directory == _directory(root):
            return int(key, 16) & 0xFFFFFFFF
    return 0 if is_default else binascii.crc32(os.fsencode(root))


def keep_seed(root: Path, seed: int) -> None:
    """Record it before anything is made. Idempotent. Nothing without a root. Raises OSError."""
    path = root / _FILE
    with suppress(FileNotFoundError):
        text = f"{seed:08x} {_directory(root)}"
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") == text:
            return
        new = root / f"{_FILE}.{os.getpid()}"
        new.write_text(text, encoding="utf-8")
        os.replace(new, path)


def _directory(root: Path) -> str:
    found = os.stat(root)
    return f"{found.st_dev}:{found.st_ino}"

"""The number that tells what this engine makes from what others make: of its root's path when it first makes something.

It is kept in the root, with which directory that is: a root that was moved finds what it has made, and one that is a
copy of another has a number of its own.
"""

from __future__ import annotations

import binascii
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_FILE: Final = "network-key"


def seed_of(root: Path, *, is_default: bool) -> int:
    """Return the engine's number, of 32 bits. The default root has 0, so long as it is where it was."""
    with suppress(OSError, ValueError):
        key, _, directory = (root / _FILE).read_text(encoding="utf-8").partition(" ")
        if directory == _directory(root):
            return int(key, 16) & 0xFFFFFFFF
    return 0 if is_default else binascii.crc32(os.fsencode(root))


def keep(root: Path, seed: int) -> None:
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

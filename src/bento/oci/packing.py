"""How an archive is packed, by its first bytes. Pure."""

from __future__ import annotations

from typing import Final

HEAD_BYTES: Final = 6
"""What ``packing_of`` needs of an archive."""
_MAGICS: Final = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"), (b"BZh", "bzip2"))
_SKIPPABLE: Final = (b"\x2a\x4d\x18", 0x50)
"""Three bytes after a first one, of which the low half may be anything: 0x184D2A5?, little endian."""


def packing_of(head: bytes) -> str:
    """Return what packed an archive that begins like this: gzip, zstd, xz or bzip2; "" when nothing did.

    A zstd stream may begin with skippable frames (RFC 8878, 3.1.2): pzstd writes such, and so do tools that pack in
    chunks.
    """
    tail, high_half = _SKIPPABLE
    if head[1:4] == tail and head[0] & 0xF0 == high_half:
        return "zstd"
    return next((name for magic, name in _MAGICS if head.startswith(magic)), "")

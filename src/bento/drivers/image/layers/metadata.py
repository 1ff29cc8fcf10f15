"""What is known of a layer beyond its files; kept in a file beside it, because it cannot be told from them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct


class LayerMetadata(Struct, frozen=True, kw_only=True):
    """What a layer is, besides its files."""

    size_bytes: int  # what its files hold
    implied: tuple[str, ...] = ()  # directories that it has without saying of what mode and owner; "" is the root
    once_implied: tuple[str, ...] = ()  # and such as it has described, or emptied, after something was put in them
    is_opaque: bool = False  # it hides all layers below it
    archives: tuple[str, ...] = ()  # digests of what was seen to unpack to it, packed or not


def read_metadata(path: Path) -> LayerMetadata:
    """Return what is known of a layer. Raises FileNotFoundError. What cannot be read is nothing known."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(path.read_bytes(), type=LayerMetadata)
    return LayerMetadata(size_bytes=0)

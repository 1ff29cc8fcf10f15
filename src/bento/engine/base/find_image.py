"""An image by its name or id; ``host`` is this machine's own root filesystem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bento.errors import NotFound
from bento.model.image import Image, ImageConfig

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

HOST_IMAGE: Final = "host"
HOST_REFS: Final = (HOST_IMAGE, "sha256:" + "0" * 64)
"""How it is named: its id is no other image's."""


def host_image() -> Image:
    """The pseudo-image: this machine's own root filesystem, copy-on-write, no download."""
    return Image(id=HOST_REFS[1], layers=("/",), config=ImageConfig(), created_unix_ns=0, size_bytes=0)


def find_image(drivers: Drivers, ref: str) -> Image:
    """Return the image of this name or id; ``host`` always exists. Raises NotFound with what to do."""
    if ref in HOST_REFS:
        return host_image()
    try:
        return drivers.store.find_image(ref)
    except NotFound:
        raise NotFound(
            f"no such image: {ref}", hint="see bento images; bento pull fetches one; 'host' is this machine's own"
        ) from None

"""Which layers and blobs are still needed: whoever makes or forgets a record tells the image driver.

Nothing counts references: what is needed is what the records reach.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bento.model.container import Container

if TYPE_CHECKING:
    from bento.engine.parts import Parts

HOST_LAYER = "/"
"""The machine's own root filesystem: no image's, and never deleted."""


def unused(parts: Parts, things: Iterable[str]) -> set[str]:
    """Return those of the layers and blobs that no stored image and no container stands on.

    Holds as long as nobody can make a record: within ``record``, ``choose`` and ``kept`` of the image driver.
    A layer is known by its name alone: by whatever path a record comes to it, it is needed.
    """
    left = {(_name(thing), thing) for thing in things}
    needed = {_name(thing) for image in parts.store.list_images() for thing in (*image.layers, *image.blobs)}
    if left and not {name for name, _ in left} <= needed:
        needed.update(_name(layer) for container in parts.store.list() for layer in container.spec.layers)
    return {thing for name, thing in left if name not in needed}


def _name(thing: str) -> str:
    """Return what tells a layer, or a blob, from others of this root."""
    return os.path.basename(thing)


def forget(parts: Parts, container: Container) -> int:
    """Remove a container's record, and the layers of an image that was replaced and that only it still stood on.

    Returns how many bytes these had.
    """
    own = set(container.spec.layers) - {HOST_LAYER}
    if not own:
        parts.store.remove(container.id)
        return 0

    def choose() -> set[str]:
        parts.store.remove(container.id)
        return unused(parts, own)

    return parts.images.remove(choose).freed_bytes

"""Which layers and blobs are still needed: what makes or deletes a record informs the image driver.

Nothing counts references: what is needed is what the records reach.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bento import log
from bento.errors import StateCorrupt
from bento.model.container import Container

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

HOST_LAYER = "/"
"""The machine's own root filesystem: no image's, and never deleted."""


def unused(drivers: Drivers, things: Iterable[str]) -> set[str]:
    """Return those of the layers and blobs that no stored image and no container stands on.

    Holds as long as no record can be made: within ``record``, ``choose`` and ``gc_lock`` of the image driver.
    None is, while a record cannot be read: it may need any of them.
    A layer is known by its name alone: by whatever path a record comes to it, it is needed.
    """
    left = {(_name(thing), thing) for thing in things}
    unknown: list[StateCorrupt] = []
    images = drivers.store.list_images(on_unreadable=unknown.append)
    needed = {_name(thing) for image in images for thing in (*image.layers, *image.blobs)}
    if left and not {name for name, _ in left} <= needed:
        containers = drivers.store.list(on_unreadable=unknown.append)
        needed.update(_name(layer) for container in containers for layer in container.spec.layers)
    for error in unknown:
        log.warning_once(f"no layer is deleted: {error}")
    return set() if unknown else {thing for name, thing in left if name not in needed}


def _name(thing: str) -> str:
    """Return what identifies a layer, or a blob, within this root."""
    return os.path.basename(thing)


def forget(drivers: Drivers, container: Container) -> int:
    """Remove a container's record, and the layers of an image that was replaced and that only it still stood on.

    Returns how many bytes these had.
    """
    own = set(container.spec.layers) - {HOST_LAYER}
    if not own:
        drivers.store.remove(container.id)
        return 0

    def choose() -> set[str]:
        drivers.store.remove(container.id)
        return unused(drivers, own)

    return drivers.images.remove(choose).freed_bytes

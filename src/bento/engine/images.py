"""Images: ``import``, ``images``, ``rmi``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bento.engine.create import HOST_IMAGE
from bento.engine.layers import unused
from bento.errors import Conflict, UsageError
from bento.model.image import Image, ImageConfig
from bento.units import parse_name

if TYPE_CHECKING:
    from bento.engine.parts import Parts


def import_image(parts: Parts, source: Path, name: str, config: ImageConfig | None) -> Image:
    """Make an image of a directory or tar archive; an older image of the name loses it.

    Raises UsageError for the name or the source, StorageUnusable; then nothing is left.
    """
    name = parse_name(name)
    if name == HOST_IMAGE:
        raise UsageError(
            f"the image name {HOST_IMAGE!r} stands for this machine's own root filesystem", hint="choose another"
        )
    parts.storage.check()

    def record(image: Image) -> set[str]:
        replaced = [layer for old in parts.store.list_images() if old.name == name for layer in old.layers]
        parts.store.put_image(image)
        return unused(parts, replaced)

    return parts.images.import_rootfs(source, name, config or ImageConfig(), record)


def remove_image(parts: Parts, ref: str) -> Image:
    """Forget an image, and delete its files when no other image shares them.

    Raises NotFound, Conflict when containers hold it.
    """
    if ref == HOST_IMAGE:
        raise UsageError(f"the image {HOST_IMAGE!r} is this machine itself and cannot be removed")
    removed: list[Image] = []

    def choose() -> set[str]:
        image = parts.store.find_image(ref)
        holders = [container.name for container in parts.store.list() if container.spec.image == image.name]
        if holders:
            raise Conflict(f"image {image.name} is used by {', '.join(holders)}", hint="remove these containers first")
        parts.store.remove_image(image.name)
        removed.append(image)
        return unused(parts, image.layers)

    parts.images.remove_layers(choose)
    return removed[0]

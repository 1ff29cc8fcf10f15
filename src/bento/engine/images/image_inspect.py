"""``history``, and ``inspect`` of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bento.docker import image as docker_image
from bento.engine.base.find_image import HOST_IMAGE, HOST_REFS, find_image
from bento.engine.images.images import holders
from bento.errors import UsageError
from bento.model.image import HistoryStep, Image

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def history(drivers: Drivers, ref: str) -> list[HistoryStep]:
    """Return how an image was built, last step first. Raises NotFound, Conflict, UsageError for ``host``."""
    if ref in HOST_REFS:
        raise UsageError(f"the image {HOST_IMAGE!r} is this machine itself and has no history")
    image = find_image(drivers, ref)
    layers = list(zip(image.diff_ids, image.layer_sizes_bytes, strict=True))
    if not image.diff_ids:  # of an older Bento
        layers = [("", image.size_bytes)] * len(image.layers[:1])
    steps = []
    for entry in image.history:
        diff_id, size = layers.pop(0) if layers and not entry.is_empty_layer else ("", 0)
        steps.append(
            HistoryStep(
                created_unix_ns=entry.created_unix_ns,
                created_by=entry.created_by,
                comment=entry.comment,
                author=entry.author,
                size_bytes=size,
                diff_id=diff_id,
            )
        )
    # The image's history says nothing of these.
    steps += [
        HistoryStep(created_unix_ns=image.created_unix_ns, size_bytes=size, diff_id=diff_id) for diff_id, size in layers
    ]
    return [_of(image, steps.pop()), *reversed(steps)] if steps else []


def _of(image: Image, last: HistoryStep) -> HistoryStep:
    return HistoryStep(
        image_id=image.id,
        created_unix_ns=last.created_unix_ns or image.created_unix_ns,
        created_by=last.created_by,
        comment=last.comment,
        author=last.author,
        size_bytes=last.size_bytes,
        diff_id=last.diff_id,
    )


def inspect_image(drivers: Drivers, ref: str) -> dict[str, Any]:
    """Return an image as one element of ``inspect``'s array. Raises NotFound, Conflict."""
    image = find_image(drivers, ref)
    return docker_image.inspect(image, holders(drivers, image))

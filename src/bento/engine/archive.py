"""``save`` and ``load``: images as archives and directories, as Docker, Podman and skopeo have them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bento.engine.create import HOST_IMAGE, find_image
from bento.engine.images import record
from bento.engine.pull import Pulled, check_platform
from bento.errors import UsageError
from bento.model import reference
from bento.oci.image import parse_platform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bento.engine.parts import Parts
    from bento.model.image import Image
    from bento.model.transfer import TransferProgress
    from bento.oci.image import Platform

FORMATS: Final = ("docker-archive", "oci-archive", "oci-dir", "docker-dir")


def save(parts: Parts, refs: Sequence[str], target: Path | int, format: str = FORMATS[0]) -> None:
    """Write images into one archive, or a directory.

    ``target`` is a file, which is replaced only by a complete one; for the formats that are directories, one that is
    not there yet, or empty; or a descriptor to write to. Blocks. Raises NotFound, UsageError, StorageUnusable.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}", hint=f"use one of {', '.join(FORMATS)}")
    if HOST_IMAGE in refs:
        raise UsageError(f"the image {HOST_IMAGE!r} is this machine itself and cannot be saved")
    chosen: dict[str, tuple[Image, list[str]]] = {}
    for ref in refs:
        image = find_image(parts, ref)
        chosen.setdefault(image.id, (image, []))[1].extend(_names_for(image, ref))
    if format == "docker-dir" and len(chosen) != 1:
        raise UsageError("a docker-dir holds one image", hint="name one, or choose another format")
    with parts.images.transfer() as transfer:
        transfer.save([(image, tuple(dict.fromkeys(names))) for image, names in chosen.values()], target, format)


def load(
    parts: Parts, source: Path, *, platform: str = "", on_progress: Callable[[TransferProgress], None] | None = None
) -> list[Pulled]:
    """Read all images of an archive; ``-`` is standard input. Blocks.

    Raises UsageError for what is no such archive, StorageUnusable, MissingTool; images that were whole before stay.
    """
    wanted = parse_platform(platform) if platform else None
    parts.storage.check()
    parts.images.remove_leftovers()
    loaded = []
    with parts.images.transfer(on_progress) as transfer:
        for found in transfer.load(source, wanted):
            image = transfer.adopt(found.manifest_digest, partial(_keep, parts, found.names, wanted))
            loaded += [Pulled(image, name) for name in found.names or ("",)]
    return loaded


def _keep(parts: Parts, names: tuple[str, ...], wanted: Platform | None, made: Image) -> set[str]:
    check_platform(made, names[0] if names else made.id, wanted)
    return record(parts, made, *names)


def _names_for(image: Image, ref: str) -> tuple[str, ...]:
    """The names that the saved image gets: the one it was called by; all of them when that was its id."""
    full = reference.complete(ref)
    return (full,) if full in image.names else image.names

"""``save`` and ``load``: images as archives and directories, as Docker, Podman and skopeo have them."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bento import log
from bento.engine.base.find_image import HOST_IMAGE, HOST_REFS, find_image
from bento.engine.base.happened import of_image, tell
from bento.engine.images.images import blame, names_meant, record, recorded
from bento.engine.images.pull import Pulled, check_platform
from bento.errors import NotFound, UsageError
from bento.model import reference
from bento.parse.images import parse_platform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bento.drivers.image.base import ArchivedImage
    from bento.engine.base.drivers import Drivers
    from bento.model.image import Image
    from bento.model.transfer import OnProgress
    from bento.oci.platform import Platform
    from bento.parse.places import ArchivePlace

FORMATS: Final = ("docker-archive", "oci-archive", "oci-dir", "docker-dir")


def push_archive(drivers: Drivers, ref: str, place: ArchivePlace) -> str:
    """Write an image into an archive, under the name that the place has for it; return its digest. Raises as save."""
    image = find_image(drivers, ref)
    save(drivers, [ref], Path(place.path), place.format, name=place.name)
    return image.digest


def save(
    drivers: Drivers, refs: Sequence[str], target: Path | int, format: str = FORMATS[0], *, name: str = ""
) -> None:
    """Write images into one archive, or a directory. ``name``: a full one, instead of those they have.

    ``target`` is a file, which is replaced only by a complete one; for the formats that are directories, one that is
    not there yet, or empty; or a descriptor to write to. Blocks. Raises NotFound, UsageError, StorageUnusable.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}", hint=f"use one of {', '.join(FORMATS)}")
    if not set(HOST_REFS).isdisjoint(refs):
        raise UsageError(f"the image {HOST_IMAGE!r} is this machine itself and cannot be saved")
    chosen: dict[str, tuple[Image, list[str]]] = {}
    for ref in refs:
        image = find_image(drivers, ref)
        chosen.setdefault(image.id, (image, []))[1].extend([name] if name else names_meant(image, ref))
    if format == "docker-dir" and len(chosen) != 1:
        raise UsageError("a docker-dir holds one image", hint="name one, or choose another format")
    with drivers.images.transfer() as transfer:
        transfer.save([(image, tuple(dict.fromkeys(names))) for image, names in chosen.values()], target, format)
    tell(drivers, *(of_image(image, "save") for image, _ in chosen.values()))


def load(
    drivers: Drivers,
    source: Path,
    *,
    name: str = "",
    platform: str = "",
    on_progress: OnProgress | None = None,
) -> list[Pulled]:
    """Read all images of an archive, or the one of this full name; ``-`` is standard input. Blocks.

    Names that it has no right to are left out, with a warning. Raises BadImage for what is no such archive, NotFound
    for a name that is not in it, StorageUnusable, MissingTool; images that were whole before stay.
    """
    wanted = parse_platform(platform) if platform else None
    drivers.storage.check()
    drivers.images.remove_leftovers()
    loaded: dict[str, Pulled] = {}
    words = "standard input" if os.fspath(source) == "-" else os.fspath(source)
    with drivers.images.transfer(on_progress) as transfer, blame(words):
        for found in transfer.load(source, wanted):
            if name and name not in found.names:
                continue
            names = _credible(found)
            made = transfer.commit(found.manifest_digest, partial(_keep, drivers, names, wanted))
            image = recorded(drivers, made)
            loaded.update({each or image.id: Pulled(image, each) for each in names or ("",)})
    if name and not loaded:
        raise NotFound(f"{source} holds no image {reference.familiar(name)}", hint="bento load takes all that it holds")
    return list(loaded.values())


def _credible(found: ArchivedImage) -> tuple[str, ...]:
    """The names that an archive may give: its maker can write into it that this is some NAME@DIGEST, or the host."""
    names = []
    for name in found.names:
        digest = reference.split(name)[2]
        if digest and digest != found.manifest_digest:
            log.warning(f"the name {name} of the archive is left out: it is another image that has this digest")
        elif name == reference.complete(HOST_IMAGE):
            log.warning(f"the name {name} of the archive is left out: it stands for this machine's own root filesystem")
        else:
            names.append(name)
    return tuple(names)


def _keep(drivers: Drivers, names: tuple[str, ...], wanted: Platform | None, made: Image) -> set[str]:
    check_platform(made, names[0] if names else made.id, wanted)
    name = reference.familiar(names[0]) if names else ""
    return record(drivers, made, *names, events=[of_image(made, "load", name)])

"""Images: ``import``, ``tag``, ``rmi``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.engine.base.find_image import HOST_IMAGE, HOST_REFS
from bento.engine.base.happened import of_image
from bento.engine.base.layers import unused
from bento.errors import BadImage, Conflict, NotFound, UsageError
from bento.model import reference
from bento.model.container import IMAGE, Container
from bento.model.disk import RemovedImage
from bento.model.image import Image, ImageConfig
from bento.oci.platform import host_platform
from bento.parse.images import parse_platform

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.event import Event


@contextmanager
def blame(subject: str) -> Iterator[None]:
    """Say of what came from elsewhere, and makes no image, what it is: the call itself was no mistake.

    Raises BadImage for any UsageError within.
    """
    try:
        yield
    except UsageError as error:
        message = error.message if subject in error.message else f"{subject}: {error.message}"
        raise BadImage(message, hint=error.hint) from error


def new_name(text: str) -> str:
    """Return the full form of a name for an image. Raises UsageError."""
    parsed = reference.parse(text)
    if parsed.digest:
        raise UsageError(f"{text!r} names an image by its digest", hint="give a name and a tag")
    refuse_host(str(parsed))
    return str(parsed)


def refuse_host(full: str) -> None:
    """Refuse the name that stands for this machine's own root filesystem. Raises UsageError."""
    if full == reference.complete(HOST_IMAGE):
        raise UsageError(
            f"the image name {HOST_IMAGE!r} stands for this machine's own root filesystem", hint="choose another"
        )


def record(drivers: Drivers, image: Image, *names: str, events: Iterable[Event]) -> set[str]:
    """Store an image that is in place, under full names; return what nothing stands on any more, for the image driver.

    An older image of such a name loses it. One that is known and whole only gets the names: the same image may come
    packed otherwise, with another manifest, and the digest that it has here must not change behind its first name.
    ``events``: what brought it.
    Within ``record`` of the image driver alone.
    """
    before = drivers.store.get_image(image.id)
    if before is not None and _is_whole(drivers, before) and before.layers == image.layers:
        drivers.store.name_image(image.id, names, events=events)
        return unused(drivers, image.blobs)
    drivers.store.put_image(replace(image, names=names), events=events)
    return unused(drivers, (*before.layers, *before.blobs)) if before else set()


def _is_whole(drivers: Drivers, image: Image) -> bool:
    """Whether all blobs of an image are there; it has none when an older Bento made it."""
    places = [drivers.images.blobs_dir / digest.replace(":", "/") for digest in image.blobs]
    return bool(places) and all(place.exists() for place in places)


def recorded(drivers: Drivers, image: Image) -> Image:
    """Return an image that has just been recorded as it is known here."""
    return drivers.store.get_image(image.id) or image


def import_image(
    drivers: Drivers, source: Path, name: str, config: ImageConfig | None, *, message: str = "", platform: str = ""
) -> Image:
    """Make an image of a directory or tar archive; an older image of the name loses it. ``name`` "": it has none.

    Raises UsageError for the name, BadImage and NotFound for the source, StorageUnusable; then nothing is left.
    """
    names = [new_name(name)] if name else []
    made_for = parse_platform(platform) if platform else host_platform()
    drivers.storage.check()
    with blame(os.fspath(source) if os.fspath(source) != "-" else "standard input"):
        image = drivers.images.import_rootfs(
            source,
            config or ImageConfig(),
            lambda made: record(drivers, made, *names, events=[of_image(made, "import", _first(names))]),
            platform=made_for,
            message=message,
        )
    return recorded(drivers, image)


def _first(names: Sequence[str]) -> str:
    return reference.familiar(names[0]) if names else ""


def tag_image(drivers: Drivers, ref: str, name: str) -> Image:
    """Give an image one more name; the image that had it before loses it. Raises NotFound, UsageError."""
    full = new_name(name)
    if ref in HOST_REFS:
        raise UsageError(f"the image {HOST_IMAGE!r} is this machine itself and cannot be named")
    with drivers.images.gc_lock():
        image = drivers.store.find_image(ref)
        drivers.store.name_image(image.id, [full], events=[of_image(image, "tag", reference.familiar(full))])
    return replace(image, names=tuple(sorted({*image.names, full})))


def remove_image(drivers: Drivers, ref: str, *, force: bool = False, all_names: bool = False) -> RemovedImage:
    """Take a name from an image; with the last one the image goes, with what no other shares.

    By its id or digest all its names go, when ``force`` or ``all_names``, or when it has one at most. ``force`` takes
    the names also from an image that containers hold; it stays, without names. A name must be a whole one: a short one
    that finds an image of another registry elsewhere does not here. Raises NotFound, Conflict when containers hold it.
    """
    if ref in HOST_REFS:
        raise UsageError(f"the image {HOST_IMAGE!r} is this machine itself and cannot be removed")
    outcome = RemovedImage()

    def choose() -> set[str]:
        nonlocal outcome
        image = drivers.store.find_image(ref)
        named = _named_exactly(image, ref)
        if not named and len(image.names) > 1 and not (force or all_names):
            names = ", ".join(map(reference.familiar, image.names))
            raise Conflict(f"image {ref} has several names: {names}", hint="remove one of them, or use -f")
        going = named or image.names
        held_by = () if set(image.names) - set(going) else holders(drivers, image)
        if held_by and not (force and going):
            only_name = ", or use -f to take only its name" if going else ""
            raise Conflict(
                f"image {image.name} is used by {', '.join(held_by)}",
                hint=f"remove these containers first{only_name}",
            )
        if held_by or set(image.names) - set(going):
            drivers.store.unname_image(going)
            outcome = RemovedImage(untagged=going)
            return set()
        drivers.store.remove_image(image.id)
        outcome = RemovedImage(untagged=going, deleted=image.id)
        return unused(drivers, (*image.layers, *image.blobs))

    removed = drivers.images.remove(choose)
    return replace(outcome, freed_bytes=removed.freed_bytes)


def remove_unused(drivers: Drivers, image_id: str, *, named: bool) -> RemovedImage:
    """Remove an image, unless containers were made from it, or it has names and ``named`` is not set.

    What is returned names nothing when it stays. Idempotent.
    """
    outcome = RemovedImage()

    def choose() -> set[str]:
        nonlocal outcome
        image = drivers.store.get_image(image_id)
        if image is None or (image.names and not named) or holders(drivers, image):
            return set()
        drivers.store.remove_image(image.id)
        outcome = RemovedImage(untagged=image.names, deleted=image.id)
        return unused(drivers, (*image.layers, *image.blobs))

    removed = drivers.images.remove(choose)
    return replace(outcome, freed_bytes=removed.freed_bytes)


def holders(drivers: Drivers, image: Image) -> tuple[str, ...]:
    """Return the names of the containers that were made from an image, or have it mounted."""
    return tuple(container.name for container in drivers.store.list() if _holds(container, image.id))


def _holds(container: Container, image_id: str) -> bool:
    mounted = (mount.source for mount in container.spec.files.mounts if mount.kind == IMAGE)
    return container.spec.image_id == image_id or image_id in mounted


def names_meant(image: Image, ref: str) -> tuple[str, ...]:
    """Return the names of an image that ``ref``, by which it was found, means; all of them when that was its id."""
    full = reference.complete(ref)
    if full in image.names:
        return (full,)
    if _is_id(image, ref):
        return image.names
    repository, at, _ = full.partition("@")
    if at:
        return tuple(name for name in image.names if reference.repository(name) == repository)
    return tuple(name for name in image.names if name.endswith("/" + reference.familiar(full)))


def _named_exactly(image: Image, ref: str) -> tuple[str, ...]:
    """Return the name that ``ref`` is; () when it is an id or a digest. Raises NotFound when it is only like a name."""
    full = reference.complete(ref)
    if full in image.names:
        return (full,)
    if _is_id(image, ref) or full.endswith(f"@{image.digest}"):
        return ()
    alike = names_meant(image, ref)
    raise NotFound(f"no such image: {ref}", hint=f"did you mean {reference.familiar(alike[0])}?")


def _is_id(image: Image, ref: str) -> bool:
    return image.id.removeprefix("sha256:").startswith(ref.removeprefix("sha256:"))

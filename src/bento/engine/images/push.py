"""``push``: an image of this engine to a registry, or elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bento.engine.base.find_image import HOST_IMAGE, HOST_REFS, find_image
from bento.engine.base.happened import of_image, tell
from bento.engine.images.images import names_meant
from bento.engine.images.pull import REGISTRY
from bento.errors import NotFound, UsageError
from bento.model import reference
from bento.model.transfer import Access

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.event import Event
    from bento.model.image import Image
    from bento.model.transfer import OnProgress

_DIRECTORIES: Final = ("oci:", "dir:")
_OTHERS: Final = (*_DIRECTORIES, "containers-storage:")


def push(
    drivers: Drivers,
    ref: str,
    destination: str = "",
    *,
    access: Access | None,
    on_progress: OnProgress | None = None,
) -> str:
    """Copy an image to where its name says, or to ``destination``; return the digest of its manifest there. Blocks.

    In a registry the digest is the one that the image has here. Raises NotFound, UsageError, NotPermitted,
    TransportFailed, MissingTool.
    """
    if ref in HOST_REFS:
        raise UsageError(f"the image {HOST_IMAGE!r} is this machine itself and cannot be pushed")
    image = find_image(drivers, ref)
    target = _target(image, ref, destination)
    with drivers.images.transfer() as transfer:
        blobs = transfer.hold(image)
        manifest = (blobs / image.digest.replace(":", "/")).read_bytes()
        try:
            digest = drivers.transport.send(
                manifest, blobs, transfer, target, access=access or Access(), on_progress=on_progress
            )
        except NotFound as error:
            if not target.startswith(_DIRECTORIES):
                raise
            words = f"{target} cannot be written: the directory it is to lie in is not there"
            raise NotFound(words, hint="make that directory first") from error
    tell(drivers, _pushed(image, target))
    return digest


def _pushed(image: Image, target: str) -> Event:
    """As Docker has it: the actor is the name and the tag, and the attribute the name alone."""
    if not target.startswith(REGISTRY):
        return of_image(image, "push", target, actor=target)
    name = target.removeprefix(REGISTRY)
    return of_image(image, "push", reference.split(name)[0], actor=reference.familiar(name))


def tags_of(drivers: Drivers, repository: str) -> list[str]:
    """Return the names with a tag that images have in a repository. Raises UsageError, and NotFound for none."""
    parsed = reference.parse(reference.complete(repository))
    if repository.rpartition("/")[2] != parsed.familiar_repository.rpartition("/")[2]:
        raise UsageError(f"{repository} has a tag", hint="name the repository alone: all of its tags are pushed")
    full = parsed.repository
    names = sorted(
        name
        for image in drivers.store.list_images()
        for name in image.names
        if reference.repository(name) == full and reference.split(name)[1]
    )
    if not names:
        raise NotFound(f"no image has a tag in {repository}", hint="'bento images' lists them")
    return names


def _target(image: Image, ref: str, destination: str) -> str:
    if destination.startswith(_OTHERS):
        return destination
    if destination:
        return REGISTRY + _tagged(destination.removeprefix(REGISTRY))
    if not image.names:
        raise UsageError(f"image {ref} has no name", hint="say where it shall go, or give it a name with bento tag")
    return REGISTRY + _tagged(names_meant(image, ref)[0])


def _tagged(name: str) -> str:
    parsed = reference.parse(name)
    if parsed.digest:
        raise UsageError(f"{name} is a digest: what is pushed gets a tag", hint="name a tag")
    return str(parsed)

"""``pull``: find out which image a name means, have it brought, and record it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from bento import log
from bento.engine.base.find_image import HOST_IMAGE, HOST_REFS, find_image
from bento.engine.base.happened import of_image
from bento.engine.images.images import blame, record, recorded, refuse_host
from bento.errors import MissingTool, NotFound, NotPermitted, TransportFailed, UsageError
from bento.model import reference
from bento.model.image import Image
from bento.model.transfer import POLICIES, Access
from bento.oci.platform import Platform, host_platform
from bento.parse.images import parse_platform
from bento.parse.places import ARCHIVES

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.event import Event
    from bento.model.transfer import OnProgress


REGISTRY: Final = "docker://"
_OTHERS: Final = ("oci:", "dir:", "containers-storage:")


class Pulled(Struct, frozen=True):
    """An image that was brought. ``name`` is its full name; "" when its source has none for it."""

    image: Image
    name: str


def pull(
    drivers: Drivers, source: str, *, platform: str = "", access: Access | None, on_progress: OnProgress | None = None
) -> Pulled:
    """Bring an image from a registry, or by another transport, and record it. Blocks.

    A name without a registry is looked for in the configured ones, in their order; the next one is asked only when
    one says that it has no such image, or none for us.

    Raises UsageError, BadImage, NotFound, NotPermitted, TransportFailed, StorageUnusable, MissingTool; then nothing is
    recorded, and what has come whole is not fetched again the next time, but for what makes no image.
    """
    wanted = parse_platform(platform) if platform else None
    access = access or Access()
    drivers.storage.check()
    if source == HOST_IMAGE:
        raise UsageError(
            f"{HOST_IMAGE!r} is this machine's own root filesystem: there is nothing to fetch", hint="run it as it is"
        )
    if source.startswith(_OTHERS):
        return Pulled(_bring(drivers, source, name := _name_in(source), wanted, access, on_progress), name)
    refusals: list[NotFound | NotPermitted] = []
    if source.startswith(ARCHIVES):
        raise UsageError(f"{source} is an archive, which may hold several images", hint="load it, then name one")
    for name in candidates(drivers, source.removeprefix(REGISTRY)):
        try:
            return Pulled(_bring(drivers, f"{REGISTRY}{name}", name, wanted, access, on_progress), name)
        except (NotFound, NotPermitted) as error:
            refusals.append(error)
    if len(refusals) == 1:
        raise refusals[0]
    tried = "; ".join(error.message for error in refusals)
    raise type(refusals[-1])(f"{source} is in none of the registries: {tried}", hint="name the registry")


def provide(
    drivers: Drivers,
    ref: str,
    policy: str,
    *,
    platform: str = "",
    access: Access | None,
    on_progress: OnProgress | None = None,
) -> Pulled | None:
    """Have the image of this name or id here, as the policy says: ``missing``, ``always``, ``newer`` or ``never``.

    ``newer`` asks always, and makes do with what is here when it gets no answer. One that is here for another platform
    than the one asked for is not here. Returns what was fetched; None when nothing was. Raises as ``pull``; NotFound
    when it is not here and must not be fetched.
    """
    if policy not in POLICIES:
        raise UsageError(f"unknown pull policy {policy!r}", hint=f"use {', '.join(POLICIES)}")
    wanted = parse_platform(platform) if platform else None
    if ref in HOST_REFS:
        if wanted is not None and not _fits(host_platform(), wanted, is_exact=True):
            raise UsageError(f"{HOST_IMAGE!r} is this machine, and not for {wanted}", hint="omit --platform")
        return None
    missing = _missing(drivers, ref, wanted)
    if missing is None and policy in ("missing", "never"):
        return None
    if missing is not None and policy == "never":
        raise NotFound(missing.message, hint="--pull never: see bento images, or pull it")
    try:
        return pull(drivers, ref, platform=platform, access=access, on_progress=on_progress)
    except (NotFound, NotPermitted, TransportFailed, MissingTool) as error:
        if policy == "newer" and missing is None:
            return None
        if policy == "always":
            raise
        words = f"no such image: {ref}, and it cannot be fetched: {error.message}"
        raise type(error)(words, hint=error.hint) from error


def _missing(drivers: Drivers, ref: str, wanted: Platform | None) -> NotFound | None:
    """Return why an image counts as not here; None when it is."""
    try:
        image = find_image(drivers, ref)
    except NotFound as error:
        return error
    own = Platform(image.os, image.architecture, image.variant)
    if wanted is not None and not _fits(own, wanted, is_exact=True):
        return NotFound(f"image {ref} is here for {own}, not for {wanted}")
    return None


def candidates(drivers: Drivers, name: str) -> list[str]:
    """Return the full names that a name may mean. Raises UsageError."""
    if not name or reference.has_registry(name):
        return [str(reference.parse(name))]
    if not drivers.settings.registries:
        raise UsageError(
            f"{name} names no registry, and none is configured", hint="set registries, or name the registry"
        )
    for registry in drivers.settings.registries:
        if not reference.has_registry(f"{registry}/{name}"):
            raise UsageError(
                f"bad registry {registry!r} in the configuration", hint="use HOST[:PORT], such as docker.io"
            )
    return [str(reference.parse(f"{registry}/{name}")) for registry in drivers.settings.registries]


def check_platform(image: Image, what: str, wanted: Platform | None) -> None:
    """Refuse an image that is not for the platform that was asked for; warn of one that is not for this machine."""
    own, want = Platform(image.os, image.architecture, image.variant), wanted or host_platform()
    if _fits(own, want, is_exact=wanted is not None):
        return
    if wanted is not None:
        raise UsageError(f"{what} is for {own}, not for {wanted}", hint="omit --platform, or name another image")
    log.warning(f"{what} is for {own}, and this machine is {want}: its programs may not run")


def _fits(own: Platform, want: Platform, *, is_exact: bool) -> bool:
    """An image that names no architecture fits anywhere; variants count when both are named, and asked for."""
    if not own.architecture:
        return True
    is_same = (own.os, own.architecture) == (want.os, want.architecture)
    return is_same and not (is_exact and want.variant and own.variant and own.variant != want.variant)


def _bring(
    drivers: Drivers, source: str, name: str, wanted: Platform | None, access: Access, on_progress: OnProgress | None
) -> Image:
    names = (name,) if name else ()
    refuse_host(name)

    def keep(made: Image) -> set[str]:
        check_platform(made, name or source, wanted)
        return record(drivers, made, *names, events=[_pulled(made, name)])

    drivers.images.remove_leftovers()  # what an interrupted pull was in the midst of, which may be large
    with drivers.images.transfer(on_progress) as transfer, blame(name or source):
        digest = drivers.transport.fetch(
            source, transfer, access=access, platform=wanted or host_platform(), on_progress=on_progress
        )
        return recorded(drivers, transfer.commit(digest, keep))


def _pulled(made: Image, name: str) -> Event:
    """As Docker has it: the actor is the name and the tag, and the attribute the name alone."""
    if not name:
        return of_image(made, "pull")
    return of_image(made, "pull", reference.split(name)[0], actor=reference.familiar(name))


def _name_in(source: str) -> str:
    """Return the name that a place outside of registries has for its image, when that is a whole one.

    None with a digest: what is there under such a name may be anything.
    """
    kind, _, rest = source.partition(":")
    if "@" in (name := rest.rpartition("]")[2] if kind == "containers-storage" else rest.partition(":")[2]):
        return ""
    if kind == "containers-storage":
        return reference.complete(name)
    if kind == "oci":
        return reference.complete(name) if "/" in name or ":" in name else ""
    return ""

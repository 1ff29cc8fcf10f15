"""What every store answers to a name or id that fits nothing, or too much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bento.errors import Conflict, NotFound
from bento.model import reference
from bento.model.image import Image

_IMAGE_PREFIX = "sha256:"
_HEX = frozenset("0123456789abcdef")


def image_digits(ref: str) -> str:
    """Return the hexadecimal digits of an image id or prefix; "" when ``ref`` can be no id."""
    digits = ref.removeprefix(_IMAGE_PREFIX)
    return digits if _HEX.issuperset(digits) else ""


def names_to_try(ref: str) -> tuple[str, str]:
    """Return the full name to look for, and what a name that says no registry may end with; "" when it says one."""
    full = reference.complete(ref)
    suffix = "" if reference.has_registry(ref) or not ref else full.removeprefix(reference.DEFAULT_DOMAIN)
    return full, suffix.replace("/library/", "/", 1) if suffix.startswith("/library/") else suffix


def fits_suffix(full: str, suffix: str) -> bool:
    """Whether a stored name is ``REGISTRY[/PATH]`` and then the name that was asked for."""
    return bool(suffix) and full.endswith(suffix)


def with_digest(ref: str, images: Iterable[Image]) -> list[Image]:
    """Return the images that ``REPOSITORY@DIGEST`` means: with a name in this repository, and this manifest."""
    repository, at, digest = reference.complete(ref).partition("@")
    if not at:
        return []
    return [
        image for image in images if image.digest == digest and repository in map(reference.repository, image.names)
    ]


def one_image(ref: str, names: Iterable[tuple[str, str]]) -> str | None:
    """Return the id that all of (name, id) have; None when there are none. Raises Conflict when there are several."""
    found = sorted(names)
    if len({image_id for _, image_id in found}) > 1:
        raise Conflict(
            f"several images are called {ref!r}: {_some([reference.familiar(name) for name, _ in found])}",
            hint="give the registry, too",
        )
    return found[0][1] if found else None


def no_container(ref: str) -> NotFound:
    """Return the error for a container that does not exist."""
    return NotFound(f"no such container: {ref}", hint="'bento ps -a' lists them")


def no_image(ref: str) -> NotFound:
    """Return the error for an image that does not exist."""
    return NotFound(f"no such image: {ref}", hint="'bento images' lists them, 'bento pull' fetches one")


def no_volume(name: str) -> NotFound:
    """Return the error for a volume that does not exist."""
    return NotFound(f"no such volume: {name}", hint="'bento volume ls' lists them")


def no_network(ref: str) -> NotFound:
    """Return the error for a network that does not exist."""
    return NotFound(f"network {ref} not found", hint="'bento network ls' lists them")


def no_pod(ref: str) -> NotFound:
    """Return the error for a pod that does not exist."""
    return NotFound(f"no such pod: {ref}", hint="'bento pod ls' lists them")


def ambiguous_pod(ref: str, names: Sequence[str]) -> Conflict:
    """Return the error for an id prefix that fits several pods."""
    return Conflict(f"several pods begin with {ref!r}: {_some(names)}", hint="give more digits, or the name")


def pod_taken(name: str) -> Conflict:
    """Return the error for a pod's name that is in use."""
    return Conflict(f"the name {name!r} is taken by a pod", hint=f"choose another, or remove it: bento pod rm {name}")


def ambiguous_container(ref: str, names: Sequence[str]) -> Conflict:
    """Return the error for an id prefix that fits several containers."""
    return Conflict(f"several containers begin with {ref!r}: {_some(names)}", hint="give more digits, or the name")


def ambiguous_image(ref: str, names: Sequence[str]) -> Conflict:
    """Return the error for an id prefix that fits several images."""
    return Conflict(f"several images begin with {ref!r}: {_some(names)}", hint="give more digits, or the name")


def ambiguous_network(ref: str, names: Sequence[str]) -> Conflict:
    """Return the error for an id prefix that fits several networks."""
    return Conflict(f"several networks begin with {ref!r}: {_some(names)}", hint="give more digits, or the name")


def network_taken(name: str) -> Conflict:
    """Return the error for a network's name that is in use, in Docker's words."""
    return Conflict(
        f"network with name {name} already exists", hint=f"choose another, or remove it: bento network rm {name}"
    )


def name_taken(name: str) -> Conflict:
    """Return the error for a container name that is in use."""
    return Conflict(f"the name {name!r} is already taken", hint=f"choose another, or remove it: bento rm {name}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")

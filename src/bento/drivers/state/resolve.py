"""What every store answers to a name or id that fits nothing, or too much."""

from __future__ import annotations

from collections.abc import Sequence

from bento.errors import Conflict, NotFound

_IMAGE_PREFIX = "sha256:"
_HEX = frozenset("0123456789abcdef")


def image_digits(ref: str) -> str:
    """Return the hexadecimal digits of an image id or prefix; "" when ``ref`` can be no id."""
    digits = ref.removeprefix(_IMAGE_PREFIX)
    return digits if _HEX.issuperset(digits) else ""


def no_container(ref: str) -> NotFound:
    """Return the error for a container nobody knows."""
    return NotFound(f"no such container: {ref}", hint="'bento ps -a' lists them")


def no_image(ref: str) -> NotFound:
    """Return the error for an image nobody knows."""
    return NotFound(f"no such image: {ref}", hint="'bento images' lists them, 'bento import' makes one")


def no_volume(name: str) -> NotFound:
    """Return the error for a volume nobody knows."""
    return NotFound(f"no such volume: {name}", hint="'bento volume ls' lists them")


def ambiguous_container(ref: str, names: Sequence[str]) -> Conflict:
    """Return the error for an id prefix that fits several containers."""
    return Conflict(f"several containers begin with {ref!r}: {_some(names)}", hint="give more digits, or the name")


def ambiguous_image(ref: str, names: Sequence[str]) -> Conflict:
    """Return the error for an id prefix that fits several images."""
    return Conflict(f"several images begin with {ref!r}: {_some(names)}", hint="give more digits, or the name")


def name_taken(name: str) -> Conflict:
    """Return the error for a container name that is in use."""
    return Conflict(f"the name {name!r} is already taken", hint=f"choose another, or remove it: bento rm {name}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")

"""Places of files: CONTAINER:PATH of ``cp``, and archives of images in the words of skopeo."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from bento.errors import UsageError
from bento.model import reference

ARCHIVES: Final = ("docker-archive:", "oci-archive:")


class ArchivePlace(Struct, frozen=True):
    """An archive: ``docker-archive:FILE[:NAME]``. ``name`` is a full one; "": none is said."""

    format: str
    path: str
    name: str


def parse_archive(text: str) -> ArchivePlace | None:
    """Return the archive that is named as a place; None when this is no such place. Raises UsageError."""
    format, _, rest = text.partition(":")
    if not text.startswith(ARCHIVES):
        return None
    path, colon, name = rest.partition(":")
    if not path or (colon and not name):
        raise UsageError(f"{text} names no file", hint=f"write {format}:FILE or {format}:FILE:NAME")
    return ArchivePlace(format, path, str(reference.parse(name)) if name else "")


def parse_copy_place(text: str) -> tuple[str, str]:
    """Return the container and the path of an end of ``cp``; ("", path) for one of this machine.

    That is absolute, begins with a dot, or has no colon. Raises UsageError.
    """
    ref, colon, path = text.partition(":")
    if not colon or text.startswith((".", "/")):
        if not text:
            raise UsageError("cp: an empty path", hint="use . for the current directory")
        return "", text
    if not ref or not path:
        raise UsageError(f"cp: {text!r} names no container, or no path in it", hint="write CONTAINER:PATH")
    return ref, path

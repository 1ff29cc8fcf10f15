"""Names of images, as Docker writes, completes and abbreviates them.

The grammar is that of the distribution project's "reference": ``[HOST[:PORT]/]PATH[:TAG][@DIGEST]``. A name is stored
in full: ``nginx`` is ``docker.io/library/nginx:latest``. What people read is the familiar form: ``nginx:latest``.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from bento.errors import UsageError

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
_OFFICIAL: Final = "library/"
_NAME_MAX: Final = 255

_DOMAIN: Final = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])"
    r"(?::[0-9]+)?"
)
_PATH: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX: Final = re.compile(r"[a-f0-9]{64}")
_DIGEST_LENGTHS: Final = {"sha256": 64, "sha512": 128}


class Reference(Struct, frozen=True):
    """A name in its parts. One of ``tag`` and ``digest`` is given, the other ""; ``str`` is the full form."""

    domain: str
    path: str
    tag: str
    digest: str = ""

    @property
    def repository(self) -> str:
        """The full name without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_repository(self) -> str:
        """What Docker shows as REPOSITORY: without what goes without saying."""
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        short = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in short else short

    @property
    def familiar(self) -> str:
        """The name as people write it, always with its tag or digest."""
        return self.familiar_repository + (f"@{self.digest}" if self.digest else f":{self.tag}")

    def __str__(self) -> str:
        return self.repository + (f"@{self.digest}" if self.digest else f":{self.tag}")


def is_digest(text: str) -> bool:
    """Whether this is ``sha256:`` and 64 hexadecimal digits, or ``sha512:`` and 128 (image-spec, descriptor.md)."""
    algorithm, _, digits = text.partition(":")
    return len(digits) == _DIGEST_LENGTHS.get(algorithm, -1) and re.fullmatch("[a-f0-9]+", digits) is not None


def parse(text: str) -> Reference:
    """Return the name in its parts, completed: registry ``docker.io``, tag ``latest``. A digest makes a tag moot.

    Raises UsageError for what Docker would refuse, too.
    """
    if not text:
        raise UsageError("the name of the image is empty", hint="write [REGISTRY/]NAME[:TAG]")
    name, at, digest = text.partition("@")
    if "://" in text:
        raise _bad(text, "a name has no scheme: write HOST[:PORT]/NAME; --tls-verify=false speaks plain HTTP")
    if at and not is_digest(digest):
        raise _bad(text, "after '@' stands sha256: and 64 digits, or sha512: and 128")
    domain, path = _split_domain(name)
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _bad(text, "a tag has letters, digits, '_', '.', '-'; 128 at most")
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _OFFICIAL + path
    if not _DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path) or len(domain) + 1 + len(path) > _NAME_MAX:
        raise _bad(text, "write [REGISTRY/]NAME[:TAG], in lower case letters, digits, and single '.', '_', '-' between")
    if not colon and not at and _HEX.fullmatch(text):
        raise _bad(text, "64 hexadecimal digits are an id")
    return Reference(domain, path, "" if at else tag or DEFAULT_TAG, digest)


def has_registry(text: str) -> bool:
    """Whether a name says where it is to be had: ``localhost/x``, ``host:5000/x``, ``a.b/x``; not ``user/x``."""
    first, slash, _ = text.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost" or first.lower() != first)


def complete(text: str) -> str:
    """Return the full form of a name to look for. What is no name, such as one of an older Bento, fits itself only."""
    try:
        return str(parse(text))
    except UsageError:
        return f"{DEFAULT_DOMAIN}/{_OFFICIAL}{text}:{DEFAULT_TAG}"


def familiar(full: str) -> str:
    """Return a stored name as people write it."""
    return _stored(full).familiar


def repository(full: str) -> str:
    """Return a stored name without its tag or digest."""
    return _stored(full).repository


def split(full: str) -> tuple[str, str, str]:
    """Return repository (in its familiar form), tag and digest of a stored name; "" for what it does not have."""
    stored = _stored(full)
    return stored.familiar_repository, stored.tag, stored.digest


def _stored(full: str) -> Reference:
    name, _, digest = full.partition("@")
    domain, _, path = name.partition("/")
    path, _, tag = path.rpartition(":") if not digest else (path, "", "")
    return Reference(domain, path, tag, digest)


def _split_domain(name: str) -> tuple[str, str]:
    if not has_registry(name):
        return DEFAULT_DOMAIN, name
    domain, _, path = name.partition("/")
    return (DEFAULT_DOMAIN if domain == "index.docker.io" else domain), path


def _bad(text: str, hint: str) -> UsageError:
    return UsageError(f"invalid image name {text!r}", hint=hint)

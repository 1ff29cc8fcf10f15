"""The words about images: ``--platform``, a registry, and ``--creds``, the user that it is asked as."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from bento.errors import UsageError
from bento.model.transfer import Credentials
from bento.oci.platform import Platform

_OTHER_ARCHITECTURES: Final = ("arm", "loong64", "mips64le", "ppc64le", "riscv64", "s390x")
_ARCHITECTURES: Final = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386"}
"""What people say, in Go's words."""
_PLATFORM_HINT: Final = "use OS/ARCH[/VARIANT], such as linux/arm64"
_DEFAULT: Final = "docker.io"
_HUB: Final = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
"""Other names by which Docker Hub is known; credentials are kept by the first."""
_REGISTRY: Final = re.compile(r"[A-Za-z0-9.\-\[\]:]+(?:/[a-z0-9._/\-]+)?")


def parse_platform(text: str) -> Platform:
    """``OS/ARCH[/VARIANT]``, or ARCH alone; in capital letters or not, and in the kernel's words. Raises UsageError."""
    words = text.lower().split("/")
    if len(words) == 1 and words[0] in {*_ARCHITECTURES, *_ARCHITECTURES.values(), *_OTHER_ARCHITECTURES}:
        words = ["linux", *words]
    if len(words) > 1:
        words[1] = _ARCHITECTURES.get(words[1], words[1])
    if not 2 <= len(words) <= 3 or not all(word.isascii() and word.isalnum() for word in words):
        raise UsageError(f"bad platform {text!r}", hint=_PLATFORM_HINT)
    if words[0] != "linux":
        raise UsageError(f"Bento cannot run images for {words[0]}", hint=_PLATFORM_HINT)
    return Platform(*words)


def parse_registry(text: str) -> str:
    """Return ``HOST[:PORT]``, maybe with a path, of what people give for it; "" is Docker Hub. Raises UsageError."""
    name = re.sub(r"^https?://", "", text.strip())
    name = re.sub(r"/v[12]/?$", "", name).rstrip("/") or ("" if text.strip() else _DEFAULT)
    if not _REGISTRY.fullmatch(name) or name.startswith("-"):
        raise UsageError(f"bad registry {text!r}", hint="give HOST or HOST:PORT, such as registry.example.com:5000")
    return _DEFAULT if name in _HUB else name


def parse_credentials(text: str, ask: Callable[[str], str]) -> Credentials:
    """``USER[:PASSWORD]``. ``ask`` is called with the user for a password that is not there. Raises UsageError."""
    user, colon, password = text.partition(":")
    if not user:
        raise UsageError("--creds names no user", hint="use --creds USER or --creds USER:PASSWORD")
    return Credentials(user, password if colon else ask(user))

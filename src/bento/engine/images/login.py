"""``login`` and ``logout``: credentials at registries, kept where skopeo, Podman and Buildah find them, too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bento.errors import UsageError
from bento.model.transfer import Access

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.transfer import Credentials

_DEFAULT: Final = "docker.io"
_HUB: Final = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
"""Other names by which Docker Hub is known; credentials are kept by the first."""
_REGISTRY: Final = re.compile(r"[A-Za-z0-9.\-\[\]:]+(?:/[a-z0-9._/\-]+)?")


def login(drivers: Drivers, registry: str, credentials: Credentials | None, access: Access | None) -> str:
    """Have a registry check credentials, and keep them; return the user. See ``TransportDriver.login``. Blocks."""
    if credentials is not None and not (credentials.user and credentials.password):
        raise UsageError("a login needs a user and a password", hint="neither may be empty")
    return drivers.transport.login(parse_registry(registry), credentials, access or Access())


def logout(drivers: Drivers, registry: str, access: Access | None, *, is_all: bool = False) -> bool:
    """Forget the credentials of a registry, or of all; False when there were none."""
    return drivers.transport.logout("" if is_all else parse_registry(registry), access or Access())


def parse_registry(text: str) -> str:
    """Return ``HOST[:PORT]``, maybe with a path, of what people give for it; "" is Docker Hub. Raises UsageError."""
    name = re.sub(r"^https?://", "", text.strip())
    name = re.sub(r"/v[12]/?$", "", name).rstrip("/") or ("" if text.strip() else _DEFAULT)
    if not _REGISTRY.fullmatch(name) or name.startswith("-"):
        raise UsageError(f"bad registry {text!r}", hint="give HOST or HOST:PORT, such as registry.example.com:5000")
    return _DEFAULT if name in _HUB else name

"""``login`` and ``logout``: credentials at registries, kept where skopeo, Podman and Buildah find them, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.errors import UsageError
from bento.model.transfer import Access
from bento.parse.images import parse_registry

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.transfer import Credentials


def login(drivers: Drivers, registry: str, credentials: Credentials | None, access: Access | None) -> str:
    """Have a registry check credentials, and keep them; return the user. See ``TransportDriver.login``. Blocks."""
    if credentials is not None and not (credentials.user and credentials.password):
        raise UsageError("a login needs a user and a password", hint="neither may be empty")
    return drivers.transport.login(parse_registry(registry), credentials, access or Access())


def logout(drivers: Drivers, registry: str, access: Access | None, *, is_all: bool = False) -> bool:
    """Forget the credentials of a registry, or of all; False when there were none."""
    return drivers.transport.logout("" if is_all else parse_registry(registry), access or Access())

"""What a registry has under a name, without fetching it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.engine.images.images import blame
from bento.engine.images.pull import REGISTRY, candidates
from bento.errors import NotFound, NotPermitted
from bento.oci import remote_image

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.transfer import Access
    from bento.oci.remote_image import RemoteImage


def look(drivers: Drivers, name: str, access: Access) -> RemoteImage:
    """Return what the first of the registries that knows the name has there. See ``Engine.remote_image``."""
    refusal: NotFound | NotPermitted | None = None
    for full in candidates(drivers, name.removeprefix(REGISTRY)):
        try:
            with drivers.images.transfer() as transfer, blame(full):
                manifest, config = drivers.transport.look(f"{REGISTRY}{full}", transfer, access=access)
                return remote_image.read(manifest, config)
        except (NotFound, NotPermitted) as error:
            refusal = refusal or error
    raise refusal or NotFound(f"there is no image {name}")

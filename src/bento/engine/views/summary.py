"""Containers as Docker's API lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bento import clock
from bento.docker.container_api import summary
from bento.docker.words import Now
from bento.model.container import VOLUME, Container
from bento.model.network import BUILTIN, builtin_id

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def summaries(drivers: Drivers, containers: Sequence[Container], *, is_sized: bool = False) -> list[dict[str, Any]]:
    """Return each as an element of the list; ``is_sized``: with what it takes of the disk, slow."""
    now = Now(wall_ns=clock.wall_ns(), boot_s=clock.boot_s())
    network_ids = {name: builtin_id(name) for name in BUILTIN}
    network_ids |= {network.name: network.id for network in drivers.store.list_networks()}
    volumes = {m.source for c in containers for m in c.spec.files.mounts if m.kind == VOLUME}
    paths = {name: str(drivers.volumes.path(name)) for name in volumes}
    found = [summary(each, now, network_ids=network_ids, volume_paths=paths) for each in containers]
    if is_sized:
        for each, document in zip(containers, found, strict=True):
            image = drivers.store.get_image(each.spec.image_id)
            own_bytes = drivers.storage.size_bytes(each.id)
            document |= {"SizeRw": own_bytes, "SizeRootFs": own_bytes + (image.size_bytes if image else 0)}
    return found

"""``inspect``: what is known of a container, in Docker's words; ``port``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bento.docker import container_inspect
from bento.engine.base import exec_sessions
from bento.engine.resources import networks
from bento.engine.views.logs import log_path
from bento.errors import NotFound, WrongState
from bento.model.container import VOLUME, Container
from bento.model.network import Port
from bento.oci.platform import host_platform

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def inspect(drivers: Drivers, container: Container, *, is_sized: bool = False) -> dict[str, Any]:
    """Return a container as one element of ``inspect``'s array; ``is_sized``: with what it takes of the disk, slow."""
    volumes = {mount.source for mount in container.spec.files.mounts if mount.kind == VOLUME}
    run = container.run if container.status.is_live else None
    document = container_inspect.inspect(
        container,
        exec_ids=[session.id for session in exec_sessions.live(drivers, container.id)],
        log_path=str(log_path(drivers, container)),
        bundle=str(drivers.storage.bundle(container.id)),
        platform=str(host_platform()),
        is_short_of_memory=run is not None and bool(drivers.processes.oom_kills(run)),
        network_ids=_network_ids(drivers, container),
        volume_paths={name: str(drivers.volumes.path(name)) for name in volumes},
    )
    if is_sized:
        image = drivers.store.get_image(container.spec.image_id)
        own_bytes = drivers.storage.size_bytes(container.id)
        document |= container_inspect.sizes(own_bytes, image.size_bytes if image is not None else None)
    return document


def _network_ids(drivers: Drivers, container: Container) -> dict[str, str]:
    """Return the ids of its networks, by name; one that is gone has none."""
    found = {}
    for name in [asked.network for asked in container.spec.networks] or [container.spec.network]:
        with suppress(NotFound):
            found[name] = networks.find(drivers, name).id
    return found


def published(container: Container) -> tuple[Port, ...]:
    """Return the ports of a container that runs, with the host ports that were chosen. Raises WrongState."""
    if not container.status.is_live or container.run is None:
        raise WrongState(f"container {container.name} does not run", hint="its ports are published while it does")
    return container.run.ports

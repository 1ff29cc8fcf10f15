"""The default network, whose bridge is there only while a container, or a pod, is to be on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento import log
from bento.engine.resources import networking
from bento.errors import BentoError, StateCorrupt
from bento.model.container import Container
from bento.model.network import BRIDGE, Network

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def lower_default(drivers: Drivers) -> None:
    """Take the bridge of the default network down when no container on record is to be on it. Blocks. Idempotent."""
    unknown: list[StateCorrupt] = []
    containers = drivers.store.list(on_unreadable=unknown.append)
    if unknown or any(is_on_default(container) for container in containers) or _has_pod_on_default(drivers):
        return
    default = drivers.network.default()  # now: mostly it is not needed, and the driver takes milliseconds to import
    if not default.subnets:
        return
    try:
        networking.finish(lambda: drivers.network.lower_network(default))
    except BentoError as error:  # what it was for is done, and doctor finds it
        log.warning(str(error))


def is_on_default(container: Container) -> bool:
    """Whether a container has, or is to have, a connection to the default network."""
    has = container.run is not None and any(one.network == BRIDGE for one in container.run.connections)
    return has or any(one.network == BRIDGE for one in container.spec.networks)


def _has_pod_on_default(drivers: Drivers) -> bool:
    unknown: list[StateCorrupt] = []
    pods = drivers.store.list_pods(on_unreadable=unknown.append)
    return bool(unknown) or any(pod.settings.network == BRIDGE for pod in pods)


def claimed(drivers: Drivers) -> list[Network]:
    """Return the networks that are to be there."""
    found = drivers.store.list_networks(on_unreadable=lambda _: None)
    is_used = any(map(is_on_default, drivers.store.list(on_unreadable=lambda _: None)))
    if is_used or _has_pod_on_default(drivers):
        found.append(drivers.network.default())
    return found

"""Ports published on [::1]: the process that passes on what comes to them, for each container that has some.

It ends by itself with its container. A stop kills one that is still there, so that the next start finds the port free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento import log
from bento.drivers.proxy.base import Proxied
from bento.errors import BentoError, NotFound
from bento.model.container import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container


def proxied(container: Container) -> Proxied | None:
    """Return what the proxy of a container that runs is told; None: it has none."""
    run = container.run
    if run is None or run.init is None or not run.proxied_ports:
        return None
    way = next((one for one in run.connections if one.ports), None)
    return Proxied(
        container_id=container.id,
        process=run.init,
        monitor=run.monitor,
        address=(way.address6 or way.address) if way else "",
        ports=run.proxied_ports,
    )


def publish(drivers: Drivers, container: Container) -> None:
    """Have the container's ports passed on to where it is now. Idempotent. Raises as ``ProxyDriver.put``."""
    one = proxied(container)
    if one is not None:
        drivers.proxy.put(one)


def needs_proxy(container: Container) -> bool:
    """Whether ports of this container are passed on now."""
    is_live = container.status.is_live and container.status not in (Status.STARTING, Status.STOPPING)
    return is_live and proxied(container) is not None


def misses_proxy(drivers: Drivers, container: Container) -> bool:
    """Whether there is no such process, or one that passes on to another address."""
    one = proxied(container) if needs_proxy(container) else None
    return one is not None and not drivers.proxy.is_put(one)


def resume(drivers: Drivers, containers: Iterable[Container]) -> None:
    """Start the proxies again that were killed, and tell others what they were not told. What fails is a warning."""
    for container in containers:
        try:
            if misses_proxy(drivers, container):
                publish(drivers, drivers.store.get(container.id))
        except NotFound:  # removed meanwhile
            continue
        except (BentoError, OSError) as error:
            log.warning(f"container {container.name} is not reached on [::1]: {error}")


def end(drivers: Drivers, container_id: str) -> None:
    """Have what there is of a proxy end. Blocks until it has. Idempotent."""
    ending = drivers.proxy.end(container_id)
    if ending is not None:
        ending.finish(_ENDS_WITHIN_S)


_ENDS_WITHIN_S = 5.0

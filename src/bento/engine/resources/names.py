"""Names of containers, for containers: what the resolver is told of those that run, and when.

It forgets a container by itself when that ends. So a stop has nothing to tell it: only the file of what it was told is
deleted, with the connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento import log
from bento.drivers.resolver.base import Member, Place
from bento.errors import BentoError, NotFound
from bento.model.container import Status
from bento.oci import etc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container
    from bento.model.network import Connection


def publish(drivers: Drivers, container: Container) -> None:
    """Have a container that runs found by its names, and resolve those of others, as its record says. Idempotent.

    Also where its record is changed meanwhile: a rename takes no lock. Call it after its links were made, and not from
    a thread in its mounts. Blocks for a millisecond. Raises RuntimeFailed, KernelError, StorageUnusable.
    """
    told: Container | None = None
    while told is None or _differs(told, container):
        one = member(container)
        if one is not None:
            drivers.resolver.put(one)
        elif container.run is not None and container.run.init is not None:
            drivers.resolver.drop(container.id)  # it may have been on another network before
        else:
            drivers.resolver.forget(container.id)  # it has ended, maybe before what was put here
            return
        told = container
        try:
            container = drivers.store.get(container.id)
        except NotFound:
            drivers.resolver.forget(container.id)
            return


def _differs(told: Container, now: Container) -> bool:
    return told.name != now.name or told.run != now.run


def follow(drivers: Drivers, before: Container, after: Container) -> None:
    """Have a change of its connections followed while it runs, in its /etc, too. Raises as ``publish``.

    What the container itself has written there stays.
    """
    if after.run is None or after.run.init is None:
        return
    if before.run is not None and before.run.connections != after.run.connections:
        drivers.runtime(after.run.runtime).rewrite_etc(before, after, bundle=drivers.storage.bundle(after.id))
    publish(drivers, after)


def resume(drivers: Drivers, containers: Iterable[Container]) -> None:
    """Start the resolver again where it was killed and one of these needs it. What goes wrong is a warning."""
    if not any(map(needs_resolver, containers)):
        return
    try:
        drivers.resolver.resume()
    except (BentoError, OSError) as error:
        log.warning(f"containers do not find each other by name: {error}")


def needs_resolver(container: Container) -> bool:
    """Whether this container resolves names now."""
    is_live = container.status.is_live and container.status is not Status.STARTING
    return is_live and container.run is not None and container.run.has_names


def member(container: Container) -> Member | None:
    """Return what the resolver is told of a container that runs; None: nothing."""
    run = container.run
    if run is None or run.init is None or not run.has_names:
        return None
    return Member(
        container_id=container.id,
        process=run.init,
        places=tuple(_place(container, one) for one in run.connections if one.names),
        servers=container.spec.sandbox.dns,
        is_cut_off=all(one.internal for one in run.connections),
    )


def _place(container: Container, connection: Connection) -> Place:
    both = ((connection.address, connection.prefix), (connection.address6, connection.prefix6))
    return Place(
        network=connection.network,
        names=etc.names_of(container, connection.aliases),
        addresses=tuple(address for address, _ in both if address),
        subnets=tuple(f"{address}/{prefix}" for address, prefix in both if address),
        links=connection.links,
    )

"""What is stopped when systemd stops the unit of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from bento.engine.stop.request import StopOptions
from bento.errors import NotFound
from bento.model.stop import AskedBy, OnPaused

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container


class UnitStop(Struct, frozen=True):
    """Containers to be stopped together, and how. None: that run has ended already."""

    container_ids: tuple[str, ...]
    options: StopOptions


def wanted(drivers: Drivers, container_id: str, run: int) -> UnitStop:
    """Return what is to be stopped: the container, and those that require it where systemd stops them, too.

    systemd stops the units of a slice, and of the machine, all at once. Their order is Bento's: each asks for its own
    dependants as well, and joins their stops (rules S5, S27).
    """
    try:
        container = drivers.store.get(container_id)
    except NotFound:
        return UnitStop((), StopOptions())
    if not container.status.is_live or container.run is None or container.run.number != run:
        return UnitStop((), StopOptions())
    asked_by = AskedBy.SHUTDOWN if drivers.units.is_stopping() else AskedBy.SYSTEMD
    options = StopOptions(on_paused=OnPaused.THAW, asked_by=asked_by)
    above = _dependants(container_id, drivers.store.list())
    stopped = drivers.units.being_stopped(above) if above else ()
    return UnitStop((container_id, *stopped), options)


def _dependants(container_id: str, containers: list[Container]) -> list[str]:
    """Return what lives as a unit and requires a container, or what requires it."""
    found = [container_id]
    for one in found:
        found += [
            c.id
            for c in containers
            if one in c.spec.requires and c.id not in found and c.status.is_live and c.spec.cgroups.parent
        ]
    return found[1:]

"""What ``doctor`` finds of the resolver of names: none where one is needed, or one that was told what is not so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from bento import log
from bento.engine.base.place import elsewhere
from bento.engine.resources import names
from bento.errors import BentoError, NotFound
from bento.model.container import Status

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


class Trouble(Struct, frozen=True):
    """One thing that is wrong. ``container_id`` "": the process is missing."""

    kind: str  # as ``doctor.Finding`` has it
    what: str
    container_id: str = ""


def look(drivers: Drivers) -> list[Trouble]:
    """Return what is wrong."""
    records = drivers.store.list(on_unreadable=lambda _: None)
    named = [one for one in records if names.needs_resolver(one) and elsewhere(drivers, one) is None]
    known = drivers.resolver.known()
    found = []
    if named and not drivers.resolver.is_alive():
        found.append(Trouble("missing", "no process resolves the names of containers"))
    found += [
        Trouble("missing", f"container {one.name} is not found by its names", one.id)
        for one in named
        if one.status is Status.RUNNING and known.get(one.id) != names.member(one)
    ]
    live = {one.id for one in records if one.status.is_live}
    found += [
        Trouble("name", "of a container that has ended", container_id)
        for container_id in drivers.resolver.leftovers()
        if container_id not in live  # else it is being stopped
    ]
    return found


def mend(drivers: Drivers, trouble: Trouble, container_id: str) -> bool:
    """Put it right; return whether that was done."""
    try:
        if not container_id:
            drivers.resolver.resume()
        elif trouble.kind == "name":
            drivers.resolver.forget(container_id)
        else:
            names.publish(drivers, drivers.store.get(container_id))
    except NotFound:
        return True
    except (BentoError, OSError) as error:
        log.warning(str(error))
        return False
    return True

"""What ``doctor`` finds of records that cannot be read, but those of containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from bento import clock
from bento.engine.maintenance.finding import Finding
from bento.errors import StateCorrupt
from bento.model.volume import Volume

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def look(drivers: Drivers) -> Iterator[tuple[Finding, Callable[[str], None]]]:
    """Yield each with what puts it right."""
    store = drivers.store
    for kind, list_all, mend in (
        ("image", store.list_images, store.remove_image),
        ("volume", store.list_volumes, partial(_write_volume, drivers)),
        ("network", store.list_networks, store.remove_network),
        ("pod", store.list_pods, store.remove_pod),  # what it holds is found by itself then
    ):
        unreadable: list[StateCorrupt] = []
        list_all(on_unreadable=unreadable.append)
        for error in unreadable:
            yield finding(kind, error), partial(_mend, mend, error.record_id)


def finding(kind: str, error: StateCorrupt, container_id: str = "") -> Finding:
    """Return the finding for one record."""
    whose = "" if container_id else f" of {kind} {error.record_id}"
    return Finding(kind="record", what=f"unreadable document{whose}", container_id=container_id)


def _mend(mend: Callable[[str], object], record_id: str, _: str) -> None:
    mend(record_id)


def _write_volume(drivers: Drivers, name: str) -> None:
    drivers.store.put_volume(Volume(name=name, created_unix_ns=clock.wall_ns()))

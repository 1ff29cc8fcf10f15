"""Containers that run and have no record, such as those of a root whose directory was deleted: found, and ended.

What is found gets a record again, by which it is stopped and cleaned up as any other; the record goes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock, log
from bento.engine.base.liveness import lives, recover_start
from bento.engine.base.place import here, is_own_run_dir
from bento.engine.lifecycle.remove import remove
from bento.engine.resources import default_network, networking
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.errors import BentoError, Conflict
from bento.model.container import Container, ContainerSpec, Status
from bento.model.stop import OnPaused

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def find(drivers: Drivers, container_id: str, *, is_monitored: bool) -> Container | None:
    """Return what a record of this id would say, which has none; None when nothing of it lives, or is this root's.

    ``is_monitored``: a process names its run directory. The caller holds its operation lock.
    """
    is_known = is_monitored or drivers.run_dir(container_id).is_dir()
    if not is_known or not is_own_run_dir(drivers, container_id):
        return None
    container = Container(
        id=container_id,
        name=f"stray-{container_id[:12]}",
        created_unix_ns=clock.wall_ns(),
        spec=ContainerSpec(image="", image_id="", layers=(), command=("?",), runtime=_runtime(drivers, container_id)),
        status=Status.RUNNING,
    )
    found = recover_start(drivers, container)
    if found.run is None or not (
        lives(drivers, found.run.init) or drivers.processes.shows_life(found.run, container_id)
    ):
        return None
    return replace(found, run=replace(found.run, place=here(drivers)))


def end(drivers: Drivers, container: Container) -> bool:
    """Stop such a container and remove what it had; whether that was done. Blocks for up to the grace."""
    log.warning(f"container {container.id[:12]} runs and has no record: it is ended")
    try:
        drivers.store.add(container)
        stop_containers(drivers, [container.id], StopOptions(on_paused=OnPaused.THAW))
        remove(drivers, container.id, force=True)
        networking.release_left(drivers, container.id)
        default_network.lower_default(drivers)
    except Conflict:  # it has a record again
        return False
    except BentoError as error:
        log.warning(str(error))
        return False
    return True


def _runtime(drivers: Drivers, container_id: str) -> str:
    """Return the name of the runtime that keeps state of a container; "" for the default one."""
    return next((path.parent.name for known, path in drivers.runtime_states() if known == container_id), "")

"""Containers that run and have no record, such as those of a root whose directory was deleted: found, and ended.

What is found gets a record again, by which it is stopped and cleaned up as any other; the record goes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock, log
from bento.engine import networking
from bento.engine.adopt import adopt, lives
from bento.engine.place import here, is_own_run_dir
from bento.engine.remove import remove
from bento.engine.request import StopOptions
from bento.engine.stop import stop_containers
from bento.errors import BentoError, Conflict
from bento.model.container import Container, ContainerSpec, Status
from bento.model.stop import OnPaused

if TYPE_CHECKING:
    from bento.engine.parts import Parts


def find(parts: Parts, container_id: str, *, is_monitored: bool) -> Container | None:
    """Return what a record of this id would say, which has none; None when nothing of it lives, or is this root's.

    ``is_monitored``: a process names its run directory. The caller holds its operation lock.
    """
    is_known = is_monitored or parts.run_dir(container_id).is_dir()
    if not is_known or not is_own_run_dir(parts, container_id):
        return None
    container = Container(
        id=container_id,
        name=f"stray-{container_id[:12]}",
        created_unix_ns=clock.wall_ns(),
        spec=ContainerSpec(image="", image_id="", layers=(), command=("?",), runtime=_runtime(parts, container_id)),
        status=Status.RUNNING,
    )
    found = adopt(parts, container)
    if found.run is None or not (lives(parts, found.run.init) or parts.processes.shows_life(found.run, container_id)):
        return None
    return replace(found, run=replace(found.run, place=here(parts)))


def end(parts: Parts, container: Container) -> bool:
    """Stop such a container and take away what it had; whether that was done. Blocks for up to the grace."""
    log.warning(f"container {container.id[:12]} runs and has no record: it is ended")
    try:
        parts.store.add(container)
        stop_containers(parts, [container.id], StopOptions(on_paused=OnPaused.THAW))
        remove(parts, container.id, force=True)
        networking.release_left(parts, container.id)
    except Conflict:  # it has a record again
        return False
    except BentoError as error:
        log.warning(str(error))
        return False
    return True


def _runtime(parts: Parts, container_id: str) -> str:
    """Return the name of the runtime that keeps state of a container; "" for the default one."""
    return next((path.parent.name for known, path in parts.runtime_states() if known == container_id), "")

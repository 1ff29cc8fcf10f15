"""Removing what is a container's own, once nothing holds its root filesystem (rules S21, S22).

A process that has entered the container's mount namespace from outside (``nsenter -m``) keeps the root filesystem
mounted after the container's end. Until it has ended, nothing may mount the same upper directory once more (the kernel:
undefined behaviour), nor delete it. What removes a ``--rm`` container: see ``engine.base.exit_owner``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.engine.base.exit_owner import has_exit_owner, leave_run_dir
from bento.engine.base.layers import forget
from bento.engine.base.place import is_own_run_dir
from bento.engine.resources import networking
from bento.engine.resources.mounting import let_go
from bento.errors import Conflict
from bento.files.tree import remove_tree
from bento.lazy import LazyModule
from bento.model.container import Container, Status

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.resources import default_network, logs
else:  # a stop erases little
    default_network = LazyModule("bento.engine.resources.default_network")
    logs = LazyModule("bento.engine.resources.logs")


def erase(drivers: Drivers, container: Container, *, volumes: bool = False) -> int:
    """Delete everything of a container that is not live. The record goes last: an interrupted removal
    is finished by the next one. The caller holds the operation lock. Idempotent.
    ``volumes``: its anonymous volumes, too; always so for a ``--rm`` container.
    Returns how many bytes of image layers have gone with it.
    Raises Conflict while a process holds the root filesystem; then nothing was deleted.
    """
    refuse_if_held(drivers, container)
    if _may_have_lost_its_run(container):
        networking.release_left(drivers, container.id)
    else:
        networking.release(drivers, container)
    let_go(drivers, container, remove=volumes or container.spec.auto_remove)
    is_own = is_own_run_dir(drivers, container.id)  # asked while there is what its link leads to
    drivers.storage.remove(container.id)
    if is_own:
        remove_tree(drivers.run_dir(container.id))
        if container.spec.log.file_count > 1:
            logs.forget(drivers, container.id)
    freed_bytes = forget(drivers, container)
    if (
        default_network.is_on_default(container) or not container.spec.image
    ):  # a record made anew: it may have been on it
        default_network.lower_default(drivers)
    return freed_bytes


def _may_have_lost_its_run(container: Container) -> bool:
    """Whether there may be connections that the record does not know of; their links would keep a bridge."""
    return not container.spec.image or (container.run is None and container.status is not Status.CREATED)


def delete_abandoned_run(drivers: Drivers, container: Container) -> bool:
    """Delete a ``--rm`` container whose end was recorded by a process that died before it could delete it.

    False: it is not one, a living process will delete it or start it again, or its root filesystem could not be
    released, which only its record shows. The caller holds both locks, or has seen that no process holds the
    stop lock. Raises as ``erase`` does.
    """
    is_ended = container.status is Status.STOPPED and container.exit is not None and container.exit.is_released
    if not container.spec.auto_remove or not is_ended or has_exit_owner(drivers, container.id):
        return False
    erase(drivers, container)
    return True


def remove_left_run_dir(drivers: Drivers, container: Container) -> None:
    """Remove the run directory that a driver has left which was killed just after it had recorded the end.

    Idempotent. The caller holds both locks.
    """
    if container.status is Status.STOPPED and is_own_run_dir(drivers, container.id):
        leave_run_dir(drivers, container)


def holders(drivers: Drivers, container_id: str) -> str:
    """Return the processes that hold a root filesystem, for messages. Slow: looks at every process."""
    found = drivers.storage.holders(container_id)
    return ", ".join(f"{holder.comm} ({holder.pid})" for holder in found) or "the kernel (no process is to be seen)"


def refuse_if_held(drivers: Drivers, container: Container) -> None:
    """Raise Conflict, which names the holders, while the last run's root filesystem is held.

    The kernel is asked only where the last stop could not see it released. The caller holds the operation lock.
    """
    is_released = container.run is None or (container.exit is not None and container.exit.is_released)
    if not is_released and drivers.storage.is_held(container.id):
        raise Conflict(
            f"the root filesystem of container {container.name} ({container.id}) is still in use by"
            f" {holders(drivers, container.id)}",
            hint="end these processes first",
        )

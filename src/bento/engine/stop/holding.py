"""A root filesystem that a process keeps mounted after its container has ended (rules S21, S22).

Such a process has entered the container's mount namespace from outside (``nsenter -m``) and stays there. Until it has
ended, nothing may mount the same upper directory once more (the kernel: undefined behaviour), nor delete it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.errors import Conflict

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container


def names(drivers: Drivers, container_id: str) -> str:
    """Return the processes that hold a root filesystem, for people. Slow: looks at every process."""
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
            f" {names(drivers, container.id)}",
            hint="end these processes first",
        )

"""What systemd is told of a container that was started, where the command that does is a service of type notify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento import sd_notify
from bento.engine.lifecycle.healthy import wait_until_healthy
from bento.engine.resources.notify_socket import CONTAINER, HEALTHY, IGNORE

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container


def tell_started(drivers: Drivers, container: Container) -> None:
    """Tell that its monitor is the service's main process, and that it is ready, when it is.

    With "container" the program itself says that it is ready, and its monitor passes that on. With "healthy" this
    blocks until it is; systemd has a limit of its own for that. Raises Unhealthy.
    """
    mode, address, run = container.spec.sdnotify, drivers.notify_socket, container.run
    mode = drivers.notify_mode or mode if mode == IGNORE else mode
    if mode == IGNORE or not address or run is None or run.monitor is None:
        return
    sd_notify.tell(f"MAINPID={run.monitor.pid}", address)
    if mode == HEALTHY:
        wait_until_healthy(drivers, container.id)
    if mode != CONTAINER:
        sd_notify.tell("READY=1", address)

"""Finding the processes of a start that died before it could record them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.model.container import Container, Status

if TYPE_CHECKING:
    from bento.engine.parts import Parts


def adopt(parts: Parts, container: Container) -> Container:
    """Fill in what the monitor's pid files say, where the processes are still this container's.

    Whoever calls holds the operation lock, so that no start is at work.
    """
    if container.status is not Status.STARTING or container.run is None or container.run.init is not None:
        return container
    init_pid, monitor_pid = parts.monitor.pids(parts.run_dir(container.id))
    init = parts.processes.identify(init_pid, mark=container.id) if init_pid else None
    monitor = parts.processes.identify(monitor_pid, mark=container.id) if monitor_pid else None
    cgroups = parts.processes.cgroups(init.pid, container.id) if init else {}
    return replace(container, run=replace(container.run, init=init, monitor=monitor, cgroups=cgroups))

"""Which processes of a container live: the kernel and the monitor say so, whatever its record knows (rules S2, S20).

A start that died could not record them; a record may have lost them, or name what is not there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.model.container import Container, ProcessIdentity, Run

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def recover_start(drivers: Drivers, container: Container) -> Container:
    """Fill in what the monitor's pid files, and the cgroups of this container's name, say of a run that is live.

    Nothing is written. The caller, for a start that died, holds the operation lock, so that no start is at work.
    """
    if not container.status.is_live:
        return container
    run, parent = container.run or _nameless(drivers, container), container.spec.cgroup_parent
    if lives(drivers, run.init):
        return container
    if run.init is None:
        run = replace(run, cgroups=run.cgroups or drivers.processes.find_cgroups_of(container.id, parent))
    init_pid, monitor_pid = drivers.monitor.pids(drivers.run_dir(container.id))
    init = drivers.processes.identify(init_pid, mark=container.id) if init_pid else None
    init = init or drivers.processes.find_init(run)
    if run.monitor is None and monitor_pid:
        run = replace(run, monitor=drivers.processes.identify(monitor_pid, mark=container.id))
    if init is not None:
        run = replace(run, init=init, cgroups=drivers.processes.cgroups(init.pid, container.id) or run.cgroups)
    return replace(container, run=run)


def lives(drivers: Drivers, identity: ProcessIdentity | None) -> bool:
    """Whether this very process lives."""
    fd = drivers.processes.open(identity) if identity else None
    if fd is None:
        return False
    os.close(fd)
    return True


def may_live(drivers: Drivers, container_id: str, run: Run) -> bool:
    """Whether a run may go on whose PID 1 is not known, or not found: its cgroup is asked, and its monitor (rule S20).

    A process that is not found is no exit that was seen: a populated cgroup lives until the monitor says otherwise.
    """
    if not drivers.processes.is_empty(run):
        return run.init is None or not has_said_its_end(drivers, container_id)
    # The monitor of a start that died may be at anything.
    if run.init is not None or not run.started_boot_s or not lives(drivers, run.monitor):
        return False
    return not has_said_its_end(drivers, container_id)


def has_said_its_end(drivers: Drivers, container_id: str) -> bool:
    """Whether the monitor has seen PID 1's exit."""
    return drivers.monitor.exit_status(drivers.run_dir(container_id), container_id) is not None


def _nameless(drivers: Drivers, container: Container) -> Run:
    runtime = drivers.runtime(container.spec.runtime)
    return Run(number=1, runtime=str(runtime.path), shows_processes=runtime.shows_processes)

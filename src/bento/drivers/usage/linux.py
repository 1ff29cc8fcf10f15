"""The usage driver of Linux."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from bento.drivers.usage import counters, ps
from bento.kernel.cgroup import Cgroups
from bento.kernel.process import proc
from bento.model.container import Run
from bento.model.stats import MachineUsage, ProcessTable, Usage


class LinuxUsage:
    """Implements ``UsageDriver``."""

    def process_table(self, run: Run, options: Sequence[str]) -> ProcessTable:
        """See UsageDriver.process_table."""
        return ps.process_table(_pids(run), options)

    def processes(self, run: Run) -> tuple[int, int, int]:
        """See UsageDriver.processes."""
        processes = descriptors = sockets = 0
        for pid in _pids(run):
            with suppress(OSError):  # it has ended
                targets = [_target(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
                processes += 1
                descriptors += len(targets)
                sockets += sum(target.startswith("socket:") for target in targets)
        return processes, descriptors, sockets

    def machine(self) -> MachineUsage:
        """See UsageDriver.machine."""
        return counters.machine()

    def sample(self, run: Run, machine: MachineUsage) -> Usage | None:
        """See UsageDriver.sample."""
        init = run.init
        if init is None or proc.start_ticks_if_alive(init.pid) != init.start_ticks:
            return None
        found = counters.read(run.cgroups, machine)
        if found["pids"] is None:  # without the controller of pids
            found["pids"] = len(_pids(run))
        return Usage(machine=machine, links=counters.links(proc.live_tid(init.pid)), **found)


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # it was closed meanwhile
        return ""


def _pids(run: Run) -> list[int]:
    main = [run.init.pid] if run.init else []  # also where it is in another cgroup
    return sorted({*main, *Cgroups(run.cgroups).pids()})

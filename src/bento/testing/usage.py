"""What runs in pretended containers, and what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bento.model.container import Run
from bento.model.stats import MachineUsage, ProcessTable, Usage


class FakeUsage:
    """Implements ``UsageDriver``.

    Attributes:
        asked: the options of ps, in order.
        cpu_ns: what each container has taken by the pid of its PID 1; one that is not there has ended.
        seconds: since the first sample.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.cpu_ns: dict[int, int] = {}
        self.seconds = 0.0

    def process_table(self, run: Run, options: Sequence[str]) -> ProcessTable:
        """Return PID 1 alone."""
        self.asked.append(tuple(options))
        return ProcessTable(("PID", "CMD"), ((str(run.init.pid if run.init else 0), "server"),))

    def processes(self, run: Run) -> tuple[int, int, int]:
        """Return PID 1, with its standard streams."""
        return 1, 3, 0

    def machine(self) -> MachineUsage:
        """Return two CPUs and a GiB."""
        cpu_ns = int(self.seconds * 2e9)
        return MachineUsage(unix_ns=cpu_ns // 2, mono_s=self.seconds, cpu_ns=cpu_ns, cpus=2, memory_bytes=1 << 30)

    def sample(self, run: Run, machine: MachineUsage) -> Usage | None:
        """Return the CPU time, and nothing else."""
        cpu_ns = self.cpu_ns.get(run.init.pid) if run.init else None
        return None if cpu_ns is None else usage(machine, cpu_ns=cpu_ns)


def usage(machine: MachineUsage, **some: Any) -> Usage:
    """Return what takes nothing but this."""
    counts = ("cpu_ns", "cpu_user_ns", "cpu_system_ns", "periods", "throttled_periods", "throttled_ns", "pids",
              "memory_usage_bytes", "memory_limit_bytes", "memory_peak_bytes", "memory_failures")  # fmt: skip
    nothing: dict[str, Any] = dict.fromkeys(counts, 0) | {"memory_stat": {}, "links": (), "blocks": ()}
    values: dict[str, Any] = {"machine": machine, "cgroup_version": 2, "pids_limit": None} | nothing | some
    return Usage(**values)

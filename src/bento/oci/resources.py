"""Limits of the container as a whole, kept by its cgroup (runtime-spec, config-linux.md, "Control groups")."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

from bento.errors import UsageError
from bento.model.container import ContainerSpec

CPU_PERIOD_US: Final = 100_000
MIN_MEMORY_BYTES: Final = 6 * 1024 * 1024
"""With less the runtime's own first process does not get as far as the program."""
MIN_CPUS: Final = 0.01  # the kernel's least quota is 1 ms a period (sched-bwc.rst)
MAX_CPUS: Final = 1e6


def check(spec: ContainerSpec, controllers: AbstractSet[str]) -> None:
    """Raise UsageError for a limit that makes no sense, or whose controller this host does not have."""
    if spec.pids_limit is not None and spec.pids_limit < 1:
        raise UsageError(f"bad limit of processes {spec.pids_limit}", hint="1 is the least")
    if spec.memory_bytes is not None and spec.memory_bytes < MIN_MEMORY_BYTES:
        raise UsageError(f"bad limit of memory: {spec.memory_bytes} bytes", hint="6m is the least")
    if spec.cpus is not None and not MIN_CPUS <= spec.cpus < MAX_CPUS:
        raise UsageError(f"bad limit of CPUs {spec.cpus:g}", hint=f"give a number from {MIN_CPUS}")
    wanted = {"pids": spec.pids_limit, "memory": spec.memory_bytes, "cpu": spec.cpus}
    for name, limit in wanted.items():
        if limit is not None and name not in controllers:
            raise UsageError(
                f"this host has no {name} cgroup controller to keep the limit", hint="see /sys/fs/cgroup, /proc/cgroups"
            )


def build(spec: ContainerSpec) -> dict[str, Any]:
    """Return the part of ``linux.resources`` that was asked for. Pure."""
    found: dict[str, Any] = {}
    if spec.pids_limit is not None:
        found["pids"] = {"limit": spec.pids_limit}
    if spec.memory_bytes is not None:
        found["memory"] = {"limit": spec.memory_bytes}
    if spec.cpus is not None:
        found["cpu"] = {"quota": int(spec.cpus * CPU_PERIOD_US), "period": CPU_PERIOD_US}
    return found

"""What runs in a container, and what it takes of the machine."""

from __future__ import annotations

from msgspec import Struct


class ProcessTable(Struct, frozen=True):
    """The processes of a container as ps(1) lists them. Each row has a cell for each title."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class LinkUsage(Struct, frozen=True, kw_only=True):
    """What went through one network link of a container, since the link was made."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


class BlockUsage(Struct, frozen=True, kw_only=True):
    """What a container has read from and written to one block device."""

    major: int
    minor: int
    read_bytes: int
    write_bytes: int
    reads: int
    writes: int


class MachineUsage(Struct, frozen=True, kw_only=True):
    """The machine at the moment of a sample. ``cpu_ns``: the time of all its CPUs, idle or not, since boot."""

    unix_ns: int
    mono_s: float
    cpu_ns: int
    cpus: int
    memory_bytes: int


class Usage(Struct, frozen=True, kw_only=True):
    """What a container takes at one moment; times and I/O since its cgroup was made. None: this host does not say."""

    machine: MachineUsage
    cgroup_version: int  # of what limits its memory
    cpu_ns: int | None
    cpu_user_ns: int
    cpu_system_ns: int
    periods: int  # of its CPU quota
    throttled_periods: int
    throttled_ns: int
    memory_usage_bytes: int | None  # as the kernel counts: with the cache of its files
    memory_limit_bytes: int  # the machine's memory at the most
    memory_peak_bytes: int  # 0: not known
    memory_failures: int  # how often the limit was reached
    memory_stat: dict[str, int]  # memory.stat
    links: tuple[LinkUsage, ...]  # of a network of its own, without the loopback link
    blocks: tuple[BlockUsage, ...]
    pids: int
    pids_limit: int | None
    memory_kernel_bytes: int = 0  # the kernel's for it
    memory_swap_bytes: int = 0  # what of it is swapped out

    @property
    def memory_bytes(self) -> int:
        """The memory that Docker shows: without the cache of files that were not used lately."""
        usage_bytes = self.memory_usage_bytes or 0
        cache_bytes = self.memory_stat.get("total_inactive_file", self.memory_stat.get("inactive_file", 0))
        return usage_bytes - cache_bytes if cache_bytes < usage_bytes else usage_bytes


class ProcessUsage(Struct, frozen=True, kw_only=True):
    """The processes of a container that runs, and what they have open, each in every process that has it."""

    processes: int
    descriptors: int
    sockets: int
    oom_kills: int | None  # processes that the kernel has killed for want of memory; None: it does not count them


class ContainerStats(Struct, frozen=True, kw_only=True):
    """One sample of a container. ``now`` None: it does not run. ``before``: the sample before, of the same run."""

    id: str
    name: str
    now: Usage | None = None
    before: Usage | None = None

    @property
    def cpu_percent(self) -> float | None:
        """CPU time between the two samples, 100 for one CPU; None without two."""
        if self.now is None or self.before is None or self.now.cpu_ns is None or self.before.cpu_ns is None:
            return None
        seconds = self.now.machine.mono_s - self.before.machine.mono_s
        return max(0, self.now.cpu_ns - self.before.cpu_ns) / 1e7 / seconds if seconds > 0 else None

    @property
    def memory_percent(self) -> float:
        """The part of its limit, or of the machine's memory, that it takes."""
        if self.now is None or not self.now.memory_limit_bytes:
            return 0.0
        return 100 * self.now.memory_bytes / self.now.memory_limit_bytes

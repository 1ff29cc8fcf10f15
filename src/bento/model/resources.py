"""What a container may use, kept by its cgroups; and what a host's cgroups can keep."""

from typing import Final

from msgspec import Struct

UNLIMITED: Final = -1
"""Of memory with swap, of processes, and of a quota: no limit, also in the place of one that was set."""


class Device(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device of the host, or a directory of them, to be had in the container as ``path``.

    ``access``: of r, w and m (make nodes of it). ``mode``, ``uid`` and ``gid`` of the node: None is as on the host.
    """

    host_path: str
    path: str
    access: str = "rwm"
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    is_users: bool = False  # where no ``uid`` is said it belongs to the container's user


class DeviceRate(Struct, frozen=True, kw_only=True):
    """A share or a rate of one block device of the host: a weight, or bytes or operations each second."""

    path: str
    rate: int


class Resources(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of the container as a whole. None, "" and () are not given; all are Docker's.

    ``memory_swap_bytes`` is memory and swap together, ``cpu_period_us`` and ``cpu_quota_us`` are microseconds. -1 is no
    limit of ``memory_swap_bytes``, ``cpu_quota_us`` and ``pids_limit``.
    """

    cpus: float | None = None  # CPU seconds per second
    cpu_shares: int | None = None  # beside others that want the CPU, too; 1024 is usual
    cpu_period_us: int | None = None
    cpu_quota_us: int | None = None
    cpuset_cpus: str = ""  # as "0-2,4"
    cpuset_mems: str = ""
    memory_bytes: int | None = None
    memory_swap_bytes: int | None = None
    memory_reservation_bytes: int | None = None  # what is left to it when the host runs short
    memory_swappiness: int | None = None  # 0 to 100
    oom_kill_disable: bool = False  # out of memory its processes wait, where version 1 of cgroups can do so
    pids_limit: int | None = None  # processes and threads at once
    blkio_weight: int | None = None  # 10 to 1000
    blkio_weight_devices: tuple[DeviceRate, ...] = ()
    device_read_bps: tuple[DeviceRate, ...] = ()
    device_write_bps: tuple[DeviceRate, ...] = ()
    device_read_iops: tuple[DeviceRate, ...] = ()
    device_write_iops: tuple[DeviceRate, ...] = ()


class CgroupSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where its cgroups are."""

    parent: str = ""  # a slice of systemd's, as "web.slice". Of a record "": it is no unit of systemd


class HostLimits(Struct, frozen=True, kw_only=True):
    """What a host's cgroups can keep: the names of the control files that a container's cgroups would have.

    ``cpus`` and ``mems``: the CPUs and memory nodes that there are to be had, as "0-3"; "" where that is not known.
    """

    files: frozenset[str]
    cpus: str = ""
    mems: str = ""


class Change(Struct, frozen=True, kw_only=True):
    """What the runtime is to change of a container that runs: its limits, and in which cgroups they are.

    ``cgroups``: the directory by controller, "" is version 2.
    """

    container_id: str
    limits: Resources
    cgroups: dict[str, str]

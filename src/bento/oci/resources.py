"""Limits of the container as a whole, kept by its cgroup (runtime-spec, config-linux.md, "Control groups").

The bounds are Docker's (``docker run``, "Runtime constraints on resources") and the kernel's. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bento.errors import UsageError
from bento.model.resources import UNLIMITED, DeviceRate, HostLimits, Resources

CPU_PERIOD_US: Final = 100_000
MIN_MEMORY_BYTES: Final = 6 * 1024 * 1024
"""With less the runtime's own first process does not get as far as the program."""
MIN_CPUS: Final = 0.01  # the kernel's least quota is 1 ms a period (sched-bwc.rst)
_PERIODS_US: Final = (1000, 1_000_000)
_MIN_QUOTA_US: Final = 1000
_SHARES: Final = (2, 262_144)
_WEIGHTS: Final = (10, 1000)
_MAX_NUMBER: Final = 4095
"""Of a CPU or a memory node; the kernel's own bounds are below (NR_CPUS, MAX_NUMNODES)."""
_SET: Final = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", re.ASCII)

RATES: Final = {
    "device_read_bps": "throttleReadBpsDevice",
    "device_write_bps": "throttleWriteBpsDevice",
    "device_read_iops": "throttleReadIOPSDevice",
    "device_write_iops": "throttleWriteIOPSDevice",
}
"""The limits of devices, and their names in config.json."""

_WEIGHT_FILES: Final = ("blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight")
_NEEDS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "cpus": ("CPU time", ("cpu.cfs_quota_us", "cpu.max")),
    "cpu_period_us": ("CPU time", ("cpu.cfs_period_us", "cpu.max")),
    "cpu_quota_us": ("CPU time", ("cpu.cfs_quota_us", "cpu.max")),
    "cpu_shares": ("shares of CPU time", ("cpu.shares", "cpu.weight")),
    "cpuset_cpus": ("sets of CPUs", ("cpuset.cpus",)),
    "cpuset_mems": ("sets of memory nodes", ("cpuset.mems",)),
    "memory_bytes": ("memory", ("memory.limit_in_bytes", "memory.max")),
    "memory_swap_bytes": ("swap", ("memory.memsw.limit_in_bytes", "memory.swap.max")),
    "memory_reservation_bytes": ("reservations of memory", ("memory.soft_limit_in_bytes", "memory.low")),
    "memory_swappiness": ("swappiness, which version 1 alone has", ("memory.swappiness",)),
    "oom_kill_disable": ("a kill for want of memory switched off, which version 1 alone has", ("memory.oom_control",)),
    "pids_limit": ("the number of processes", ("pids.max",)),
    "blkio_weight": ("weights of block I/O", _WEIGHT_FILES),
    "blkio_weight_devices": (
        "weights of block I/O for a device",
        ("blkio.weight_device", "blkio.bfq.weight_device", "io.weight", "io.bfq.weight"),
    ),
    "device_read_bps": ("rates of block I/O", ("blkio.throttle.read_bps_device", "io.max")),
    "device_write_bps": ("rates of block I/O", ("blkio.throttle.write_bps_device", "io.max")),
    "device_read_iops": ("rates of block I/O", ("blkio.throttle.read_iops_device", "io.max")),
    "device_write_iops": ("rates of block I/O", ("blkio.throttle.write_iops_device", "io.max")),
}
"""What each limit is of, and the control files of which a host has one when it can keep it."""


FIXED: Final = ("memory_swappiness", "oom_kill_disable", "blkio_weight_devices", *RATES)
"""The limits that a container has from its creation on."""


def given(resources: Resources) -> list[str]:
    """Return the names of the limits that were given."""
    values = {name: getattr(resources, name) for name in Resources.__struct_fields__}
    return [name for name, value in values.items() if value not in (None, "", ()) and value is not False]


def normal(resources: Resources) -> dict[str, Any]:
    """Return the fields to change so that what Docker takes for "no limit" is none."""
    none_if_0 = ("cpus", "cpu_shares", "cpu_period_us", "cpu_quota_us", "memory_bytes", "memory_swap_bytes",
                 "memory_reservation_bytes", "blkio_weight")  # fmt: skip
    changed: dict[str, Any] = {name: None for name in none_if_0 if getattr(resources, name) == 0}
    if resources.memory_swappiness == -1:
        changed["memory_swappiness"] = None
    if resources.pids_limit is not None and resources.pids_limit <= 0:
        changed["pids_limit"] = None
    return changed


def with_swap(resources: Resources, host: HostLimits) -> int | None:
    """Return the limit of memory and swap: as in Docker as much swap as memory, unless something else was said."""
    if resources.memory_bytes is None or resources.memory_swap_bytes is not None:
        return resources.memory_swap_bytes
    has_swap = not host.files.isdisjoint(_NEEDS["memory_swap_bytes"][1])
    return 2 * resources.memory_bytes if has_swap else None


def check(resources: Resources, host: HostLimits) -> None:
    """Raise UsageError for a limit that makes no sense, that contradicts another, or that this host cannot keep."""
    _check_cpu(resources, host)
    _check_memory(resources)
    if resources.pids_limit is not None and resources.pids_limit < 1 and resources.pids_limit != UNLIMITED:
        raise UsageError(f"bad limit of processes {resources.pids_limit}", hint="1 is the least; -1 is no limit")
    weights = [] if resources.blkio_weight is None else [resources.blkio_weight]
    for weight in (*weights, *(device.rate for device in resources.blkio_weight_devices)):
        _check_range("weight of block I/O", weight, _WEIGHTS)
    for device in devices(resources):
        if device.rate < 1:
            raise UsageError(f"bad rate of {device.path}: {device.rate}", hint="1 is the least")
    check_host(resources, host)


def check_host(resources: Resources, host: HostLimits) -> None:
    """Raise UsageError for what was given and cannot be kept here: it is never just ignored."""
    for name in given(resources):
        what, files = _NEEDS[name]
        if host.files.isdisjoint(files):
            raise UsageError(
                f"this host's cgroups cannot limit {what}: there is no {' or '.join(files)}",
                hint="see /sys/fs/cgroup and /proc/cgroups",
            )
    for name, have in (("cpus", host.cpus), ("mems", host.mems)):
        asked = getattr(resources, f"cpuset_{name}")
        if asked and have and not members(asked) <= members(have):
            raise UsageError(f"bad set of {name}: {asked} is asked for, and {have} is there", hint="see lscpu(1)")


def _check_cpu(resources: Resources, host: HostLimits) -> None:
    if resources.cpus is not None:
        if resources.cpu_period_us is not None or resources.cpu_quota_us is not None:
            raise UsageError("--cpus excludes --cpu-period and --cpu-quota", hint="--cpus says both")
        most = len(members(host.cpus)) if host.cpus else 1e6
        if not MIN_CPUS <= resources.cpus <= most:
            raise UsageError(f"bad limit of CPUs {resources.cpus:g}", hint=f"give a number from {MIN_CPUS} to {most:g}")
    if resources.cpu_shares is not None:
        _check_range("share of CPU time", resources.cpu_shares, _SHARES)
    if resources.cpu_period_us is not None:
        _check_range("CPU period", resources.cpu_period_us, _PERIODS_US, unit=" microseconds")
    if resources.cpu_quota_us is not None and UNLIMITED != resources.cpu_quota_us < _MIN_QUOTA_US:
        raise UsageError(
            f"bad CPU quota of {resources.cpu_quota_us} microseconds",
            hint=f"{_MIN_QUOTA_US} is the least; -1: no limit",
        )
    for name in ("cpuset_cpus", "cpuset_mems"):
        if getattr(resources, name):
            members(getattr(resources, name))


def _check_memory(resources: Resources) -> None:
    memory, swap = resources.memory_bytes, resources.memory_swap_bytes
    reservation = resources.memory_reservation_bytes
    for what, size in (("limit", memory), ("reservation", reservation)):
        if size is not None and size < MIN_MEMORY_BYTES:
            raise UsageError(f"bad {what} of memory: {size} bytes", hint="6m is the least")
    if swap is not None and swap != UNLIMITED:
        if memory is None:
            raise UsageError("--memory-swap needs --memory", hint="it is memory and swap together")
        if swap < memory:
            raise UsageError(
                f"bad limit of memory and swap: {swap} bytes are less than the {memory} of memory",
                hint="it is both together; -1: no limit of swap",
            )
    if memory is not None and reservation is not None and reservation > memory:
        raise UsageError(
            f"bad reservation of memory: {reservation} bytes are more than its limit of {memory}",
            hint="reserve less than the limit",
        )
    if resources.memory_swappiness is not None:
        _check_range("swappiness", resources.memory_swappiness, (0, 100))


def _check_range(what: str, value: int, bounds: tuple[int, int], unit: str = "") -> None:
    least, most = bounds
    if not least <= value <= most:
        raise UsageError(f"bad {what}: {value}{unit}", hint=f"give a number from {least} to {most}")


def members(text: str) -> set[int]:
    """Return the numbers of a set such as "0-2,7" (cpuset(7), "List format"). Raises UsageError."""
    found: set[int] = set()
    if not _SET.fullmatch(text):
        raise UsageError(f"bad set {text!r}", hint="give numbers and ranges, such as 0-2,7")
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not int(first) <= int(last or first) <= _MAX_NUMBER:
            raise UsageError(f"bad set {text!r}", hint="give numbers and ranges, such as 0-2,7")
        found.update(range(int(first), int(last or first) + 1))
    return found


def kept_pages(asked: Mapping[str, int], host: HostLimits) -> dict[str, int]:
    """Return the limits of huge pages that a host can keep. Raises UsageError for one above 0 that it cannot."""
    kept = {}
    for size, limit_bytes in asked.items():
        if not host.files.isdisjoint((f"hugetlb.{size}.limit_in_bytes", f"hugetlb.{size}.max")):
            kept[size] = limit_bytes
        elif limit_bytes:  # with none asked for nothing is promised that is not there
            raise UsageError(
                f"this host's cgroups cannot limit huge pages of {size}: there is no controller hugetlb",
                hint="see /sys/fs/cgroup and /proc/cgroups",
            )
    return kept


def devices(resources: Resources) -> Iterable[DeviceRate]:
    """Return the devices that have a weight or a rate."""
    yield from resources.blkio_weight_devices
    for name in RATES:
        yield from getattr(resources, name)


def build(resources: Resources, numbers: Mapping[str, tuple[int, int]] | None = None) -> dict[str, Any]:
    """Return the part of ``linux.resources`` that was asked for.

    ``numbers``: major and minor of each device that has a weight or a rate, by its path.
    """
    found: dict[str, Any] = {}
    if resources.pids_limit is not None:
        found["pids"] = {"limit": resources.pids_limit}
    memory = {
        "limit": resources.memory_bytes,
        "swap": resources.memory_swap_bytes,
        "reservation": resources.memory_reservation_bytes,
        "swappiness": resources.memory_swappiness,
        "disableOOMKiller": True if resources.oom_kill_disable else None,
    }
    quota, period = resources.cpu_quota_us, resources.cpu_period_us
    if quota == UNLIMITED:  # there is none yet, and crun 1.8 cannot write it
        quota = None
    if resources.cpus is not None:
        quota, period = int(resources.cpus * CPU_PERIOD_US), CPU_PERIOD_US
    cpu = {
        "shares": resources.cpu_shares,
        "quota": quota,
        "period": period,
        "cpus": resources.cpuset_cpus or None,
        "mems": resources.cpuset_mems or None,
    }
    block = {
        "weight": resources.blkio_weight,
        "weightDevice": _of_devices(resources.blkio_weight_devices, numbers or {}, "weight"),
        **{key: _of_devices(getattr(resources, name), numbers or {}, "rate") for name, key in RATES.items()},
    }
    for name, values in (("memory", memory), ("cpu", cpu), ("blockIO", block)):
        if said := {key: value for key, value in values.items() if value not in (None, [])}:
            found[name] = said
    return found


def changes(resources: Resources) -> dict[str, Any]:
    """Return what ``build`` does for limits of a container that runs: -1 takes one away that it has."""
    found = build(resources)
    if resources.cpu_quota_us == UNLIMITED:
        found["cpu"] = found.get("cpu", {}) | {"quota": UNLIMITED}
    return found


def _of_devices(asked: Iterable[DeviceRate], numbers: Mapping[str, tuple[int, int]], key: str) -> list[dict[str, int]]:
    return [{"major": numbers[one.path][0], "minor": numbers[one.path][1], key: one.rate} for one in asked]

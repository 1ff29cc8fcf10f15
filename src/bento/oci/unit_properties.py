"""Limits of a container as properties of its scope (systemd.resource-control(5)). Pure.

The container's own cgroup, inside of the scope, has the same limits from the runtime: these are for what looks at the
scope, and hold for the container all the same.
"""

from __future__ import annotations

import math
from typing import Final

from bento.model.resources import UNLIMITED, DeviceRate, Resources
from bento.oci.resources import CPU_PERIOD_US

_RATES: Final = {
    "device_read_bps": "IOReadBandwidthMax",
    "device_write_bps": "IOWriteBandwidthMax",
    "device_read_iops": "IOReadIOPSMax",
    "device_write_iops": "IOWriteIOPSMax",
}
_HELD: Final = 1  # the process that holds a scope until the container is in it


def build(limits: Resources) -> tuple[str, ...]:
    """Return "NAME=VALUE" for each limit that was given and that a scope can have."""
    found = _memory(limits)
    if limits.pids_limit is not None:
        most = limits.pids_limit
        found["TasksMax"] = "infinity" if most == UNLIMITED else str(most + _HELD)
    found |= _cpu(limits)
    for name, value in (("AllowedCPUs", limits.cpuset_cpus), ("AllowedMemoryNodes", limits.cpuset_mems)):
        if value:
            found[name] = value
    if limits.blkio_weight is not None:
        found["IOWeight"] = str(_io_weight(limits.blkio_weight))
    lines = [f"{name}={value}" for name, value in found.items()]
    for field, name in _RATES.items():
        devices: tuple[DeviceRate, ...] = getattr(limits, field)
        lines += [f"{name}={device.path} {device.rate}" for device in devices]
    lines += [f"IODeviceWeight={one.path} {_io_weight(one.rate)}" for one in limits.blkio_weight_devices]
    return tuple(lines)


def _memory(limits: Resources) -> dict[str, str]:
    found = {}
    memory, both = limits.memory_bytes, limits.memory_swap_bytes
    if memory is not None:
        found["MemoryMax"] = str(memory)
    if both == UNLIMITED:
        found["MemorySwapMax"] = "infinity"
    elif both is not None and memory is not None:
        found["MemorySwapMax"] = str(max(0, both - memory))
    if limits.memory_reservation_bytes is not None:
        found["MemoryLow"] = str(limits.memory_reservation_bytes)
    return found


def _cpu(limits: Resources) -> dict[str, str]:
    found = {}
    period_us = limits.cpu_period_us or CPU_PERIOD_US
    if limits.cpu_quota_us == UNLIMITED:
        found["CPUQuota"] = ""
    elif limits.cpus is not None or limits.cpu_quota_us is not None:
        share = limits.cpus if limits.cpus is not None else (limits.cpu_quota_us or 0) / period_us
        found["CPUQuota"] = f"{math.ceil(share * 10_000) / 100:g}%"
        found["CPUQuotaPeriodSec"] = f"{period_us}us"
    if limits.cpu_shares is not None:  # as the runtimes convert them
        found["CPUWeight"] = str(1 + (limits.cpu_shares - 2) * 9999 // 262_142)
    return found


def _io_weight(weight: int) -> int:
    """Return a weight of version 1, 10 to 1000, as one of version 2, 1 to 10000, as the runtimes convert it."""
    return 1 + (weight - 10) * 9999 // 990

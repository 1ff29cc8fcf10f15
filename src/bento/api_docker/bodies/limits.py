"""Limits in ``HostConfig``, and of an update."""

from __future__ import annotations

from collections.abc import Iterable

from bento.api_docker.bodies import containers as bodies
from bento.errors import UsageError
from bento.model.container import ProcessLimits, Ulimit
from bento.model.resources import UNLIMITED, DeviceRate, Resources


def read_resources(asked: bodies.Resources) -> Resources:
    """Return the limits of the container as a whole; 0 is not given, as in Docker. Raises UsageError."""
    swappiness = asked.MemorySwappiness
    return Resources(
        cpus=asked.NanoCpus / 1e9 if asked.NanoCpus else None,
        cpu_shares=asked.CpuShares or None,
        cpu_period_us=asked.CpuPeriod or None,
        cpu_quota_us=asked.CpuQuota or None,
        cpuset_cpus=asked.CpusetCpus or "",
        cpuset_mems=asked.CpusetMems or "",
        memory_bytes=asked.Memory or None,
        memory_swap_bytes=asked.MemorySwap or None,
        memory_reservation_bytes=asked.MemoryReservation or None,
        memory_swappiness=None if swappiness == UNLIMITED else swappiness,
        oom_kill_disable=bool(asked.OomKillDisable),
        pids_limit=UNLIMITED if (asked.PidsLimit or 0) < 0 else asked.PidsLimit or None,
        blkio_weight=asked.BlkioWeight or None,
        blkio_weight_devices=_rates(asked.BlkioWeightDevice or (), is_weight=True),
        device_read_bps=_rates(asked.BlkioDeviceReadBps or ()),
        device_write_bps=_rates(asked.BlkioDeviceWriteBps or ()),
        device_read_iops=_rates(asked.BlkioDeviceReadIOps or ()),
        device_write_iops=_rates(asked.BlkioDeviceWriteIOps or ()),
    )


def _rates(asked: Iterable[bodies.DeviceRate], *, is_weight: bool = False) -> tuple[DeviceRate, ...]:
    found = []
    for each in asked:
        if not (each.Path or "").startswith("/"):
            raise UsageError(f"bad path of a block device {each.Path!r}", hint="give an absolute path")
        found.append(DeviceRate(path=each.Path or "", rate=(each.Weight if is_weight else each.Rate) or 0))
    return tuple(found)


def read_process_limits(host: bodies.Host) -> ProcessLimits:
    """Return the limits of each of its processes."""
    return ProcessLimits(
        ulimits=tuple(
            Ulimit(name=each.Name or "", soft=each.Soft or 0, hard=each.Hard or 0) for each in host.Ulimits or ()
        ),
        oom_score_adj=host.OomScoreAdj or None,
    )

"""Limits as properties of a scope (systemd.resource-control(5))."""

from __future__ import annotations

from typing import Any

import pytest

from bento.model.resources import UNLIMITED, DeviceRate, Resources
from bento.oci.unit_properties import build

MIB = 1 << 20
DISK = DeviceRate(path="/dev/vda", rate=1000)


@pytest.mark.parametrize(
    ("limits", "lines"),
    [
        ({}, ()),
        ({"memory_bytes": MIB}, (f"MemoryMax={MIB}",)),
        ({"memory_bytes": MIB, "memory_swap_bytes": 3 * MIB}, (f"MemoryMax={MIB}", f"MemorySwapMax={2 * MIB}")),
        ({"memory_swap_bytes": UNLIMITED}, ("MemorySwapMax=infinity",)),
        ({"memory_reservation_bytes": MIB}, (f"MemoryLow={MIB}",)),
        ({"pids_limit": 10}, ("TasksMax=11",)),  # and what holds the scope until the container is in it
        ({"pids_limit": UNLIMITED}, ("TasksMax=infinity",)),
        ({"cpus": 1.5}, ("CPUQuota=150%", "CPUQuotaPeriodSec=100000us")),
        ({"cpu_quota_us": 25_000, "cpu_period_us": 50_000}, ("CPUQuota=50%", "CPUQuotaPeriodSec=50000us")),
        ({"cpu_quota_us": UNLIMITED}, ("CPUQuota=",)),
        ({"cpu_shares": 1024}, ("CPUWeight=39",)),
        ({"cpuset_cpus": "0-1", "cpuset_mems": "0"}, ("AllowedCPUs=0-1", "AllowedMemoryNodes=0")),
        ({"blkio_weight": 10}, ("IOWeight=1",)),
        ({"blkio_weight": 1000}, ("IOWeight=10000",)),
        ({"blkio_weight_devices": (DISK,)}, ("IODeviceWeight=/dev/vda 10000",)),
        ({"device_read_bps": (DISK,)}, ("IOReadBandwidthMax=/dev/vda 1000",)),
        ({"device_write_bps": (DISK,)}, ("IOWriteBandwidthMax=/dev/vda 1000",)),
        ({"device_read_iops": (DISK,)}, ("IOReadIOPSMax=/dev/vda 1000",)),
        ({"device_write_iops": (DISK,)}, ("IOWriteIOPSMax=/dev/vda 1000",)),
    ],
)
def test_each_limit_that_was_given_is_a_property(limits: dict[str, Any], lines: tuple[str, ...]) -> None:
    assert build(Resources(**limits)) == lines

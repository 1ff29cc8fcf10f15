from __future__ import annotations

import pytest

from bento.errors import UsageError
from bento.model.resources import UNLIMITED, DeviceRate, HostLimits, Resources
from bento.oci import resources

MIB = 1 << 20
DISK = DeviceRate(path="/dev/vda", rate=500)
V1 = HostLimits(
    files=frozenset(
        {
            "cpu.shares",
            "cpu.cfs_quota_us",
            "cpu.cfs_period_us",
            "cpuset.cpus",
            "cpuset.mems",
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            "memory.soft_limit_in_bytes",
            "memory.swappiness",
            "memory.oom_control",
            "pids.max",
            "blkio.bfq.weight",
            "blkio.bfq.weight_device",
            "blkio.throttle.read_bps_device",
            "blkio.throttle.write_bps_device",
            "blkio.throttle.read_iops_device",
            "blkio.throttle.write_iops_device",
        }
    ),
    cpus="0-3",
    mems="0",
)
V2 = HostLimits(
    files=frozenset(
        {
            "cpu.max",
            "cpu.weight",
            "cpuset.cpus",
            "cpuset.mems",
            "memory.max",
            "memory.low",
            "memory.swap.max",
            "pids.max",
            "io.max",
            "io.weight",
        }
    ),
    cpus="0-3",
    mems="0",
)
NOTHING = HostLimits(files=frozenset())
EVERY = Resources(
    cpus=1.5, cpu_shares=512, cpuset_cpus="0-1,3", cpuset_mems="0", memory_bytes=64 * MIB, memory_swap_bytes=96 * MIB,
    memory_reservation_bytes=32 * MIB, memory_swappiness=10, oom_kill_disable=True, pids_limit=20, blkio_weight=300,
    blkio_weight_devices=(DISK,), device_read_bps=(DISK,), device_write_bps=(DISK,), device_read_iops=(DISK,),
    device_write_iops=(DISK,),
)  # fmt: skip


def test_nothing_asked_for_is_nothing_set() -> None:
    resources.check(Resources(), NOTHING)
    assert resources.build(Resources()) == {}


def test_limits_are_the_runtime_specs() -> None:
    on_disk = [{"major": 254, "minor": 0, "rate": 500}]
    assert resources.build(EVERY, {"/dev/vda": (254, 0)}) == {
        "pids": {"limit": 20},
        "memory": {
            "limit": 64 * MIB,
            "swap": 96 * MIB,
            "reservation": 32 * MIB,
            "swappiness": 10,
            "disableOOMKiller": True,
        },
        "cpu": {"shares": 512, "quota": 150_000, "period": 100_000, "cpus": "0-1,3", "mems": "0"},
        "blockIO": {
            "weight": 300,
            "weightDevice": [{"major": 254, "minor": 0, "weight": 500}],
            "throttleReadBpsDevice": on_disk,
            "throttleWriteBpsDevice": on_disk,
            "throttleReadIOPSDevice": on_disk,
            "throttleWriteIOPSDevice": on_disk,
        },
    }
    said = Resources(cpu_period_us=50_000, cpu_quota_us=UNLIMITED, memory_bytes=MIB, memory_swap_bytes=UNLIMITED)
    assert resources.build(said) == {
        "memory": {"limit": MIB, "swap": -1},
        "cpu": {"period": 50_000},
    }


NONSENSE = [
    {"pids_limit": 0}, {"pids_limit": -2}, {"memory_bytes": 4096}, {"cpus": 0.0}, {"cpus": float("nan")}, {"cpus": 4.5},
    {"cpus": 1.0, "cpu_quota_us": 5000}, {"cpus": 1.0, "cpu_period_us": 5000}, {"cpu_shares": 1},
    {"cpu_shares": 262_145},
    {"cpu_period_us": 999}, {"cpu_period_us": 1_000_001}, {"cpu_quota_us": 999}, {"cpu_quota_us": -2},
    {"cpuset_cpus": "4"}, {"cpuset_cpus": "0-4"}, {"cpuset_cpus": "1-0"}, {"cpuset_cpus": "a"}, {"cpuset_cpus": "0,"},
    {"cpuset_mems": "1"}, {"cpuset_mems": "0-9999"}, {"memory_swap_bytes": 64 * MIB},
    {"memory_bytes": 64 * MIB, "memory_swap_bytes": 63 * MIB}, {"memory_reservation_bytes": 4096},
    {"memory_bytes": 64 * MIB, "memory_reservation_bytes": 65 * MIB}, {"memory_swappiness": 101},
    {"memory_swappiness": -2}, {"blkio_weight": 9}, {"blkio_weight": 1001},
    {"blkio_weight_devices": (DeviceRate(path="/dev/vda", rate=5),)},
    {"device_read_bps": (DeviceRate(path="/dev/vda", rate=0),)},
]  # fmt: skip


@pytest.mark.parametrize("limits", NONSENSE, ids=str)
def test_nonsense_is_refused(limits) -> None:
    with pytest.raises(UsageError):
        resources.check(Resources(**limits), V1)


@pytest.mark.parametrize(
    "limits",
    [
        {"cpus": 4.0},
        {"cpus": 0.01},
        {"cpu_period_us": 1000, "cpu_quota_us": UNLIMITED},
        {"memory_bytes": 64 * MIB, "memory_swap_bytes": 64 * MIB},
        {"memory_bytes": 64 * MIB, "memory_swap_bytes": UNLIMITED},
        {"memory_swap_bytes": UNLIMITED},
        {"pids_limit": UNLIMITED},
        {"cpuset_cpus": "3,0-1"},
    ],
    ids=str,
)
def test_the_last_that_makes_sense_is_taken(limits) -> None:
    for host in (V1, V2):
        resources.check(Resources(**limits), host)


@pytest.mark.parametrize("name", resources.given(EVERY))
def test_a_limit_that_nothing_would_keep_is_refused(name) -> None:
    asked = Resources(**{name: getattr(EVERY, name)})
    resources.check_host(asked, V1)
    with pytest.raises(UsageError, match=r"this host's cgroups cannot limit .*there is no"):
        resources.check_host(asked, NOTHING)


@pytest.mark.parametrize("limits", [{"memory_swappiness": 10}, {"oom_kill_disable": True}], ids=str)
def test_what_version_2_has_not_is_refused_there(limits) -> None:
    resources.check(Resources(**limits), V1)
    with pytest.raises(UsageError, match="version 1 alone"):
        resources.check(Resources(**limits), V2)


def test_all_else_version_2_has() -> None:
    have = {name: getattr(EVERY, name) for name in resources.given(EVERY)}
    resources.check(
        Resources(**{k: v for k, v in have.items() if k not in ("memory_swappiness", "oom_kill_disable")}), V2
    )


def test_docker_s_words_for_no_limit_are_none() -> None:
    zero = Resources(cpus=0.0, cpu_shares=0, cpu_period_us=0, cpu_quota_us=0, memory_bytes=0, memory_swap_bytes=0,
                     memory_reservation_bytes=0, memory_swappiness=-1, pids_limit=-1, blkio_weight=0)  # fmt: skip
    changed = resources.normal(zero)
    assert set(changed.values()) == {None}
    assert Resources(**({name: getattr(zero, name) for name in resources.given(zero)} | changed)) == Resources()
    assert resources.normal(EVERY) == {}


def test_as_much_swap_as_memory_where_nothing_is_said_of_it() -> None:
    asked = Resources(memory_bytes=64 * MIB)
    assert resources.with_swap(asked, V1) == resources.with_swap(asked, V2) == 128 * MIB
    assert resources.with_swap(asked, HostLimits(files=frozenset({"memory.max"}))) is None
    assert resources.with_swap(EVERY, V1) == 96 * MIB
    assert resources.with_swap(Resources(), V1) is None


def test_sets_are_read_as_the_kernel_writes_them() -> None:
    assert resources.members("0-2,7") == {0, 1, 2, 7}
    assert resources.members("5") == {5}

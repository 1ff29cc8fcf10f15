"""A change of limits: record and kernel agree, and a refusal leaves both as they were."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.engine.facade import EngineFacade
from bento.errors import Conflict, RuntimeFailed, UsageError, WrongState
from bento.model.container import Container, RestartPolicy, Status
from bento.model.create import UpdateOptions
from bento.model.resources import UNLIMITED, DeviceRate, Resources
from bento.testing.drivers import FakeDrivers

MIB = 1 << 20


def limited(drivers: FakeDrivers, **limits) -> Container:
    """A container that runs, with these limits."""
    made, _ = drivers.server("w")
    resources = Resources(**limits)
    return drivers.store.modify(made.id, lambda c: replace(c, spec=replace(c.spec, resources=resources)))


def stopped(drivers: FakeDrivers, **limits) -> Container:
    made = limited(drivers, **limits)
    EngineFacade(drivers).stop(made.id)
    return drivers.store.get(made.id)


def update(drivers: FakeDrivers, restart: RestartPolicy | None = None, **limits) -> Container:
    return EngineFacade(drivers).update("w", UpdateOptions(restart=restart, resources=Resources(**limits)))


def test_a_container_that_runs_is_changed_in_the_kernel_too(drivers: FakeDrivers) -> None:
    limited(drivers, cpu_shares=512)
    spec = update(drivers, cpus=1.5, pids_limit=7, cpuset_cpus="0").spec
    wanted = Resources(cpus=1.5, cpu_shares=512, pids_limit=7, cpuset_cpus="0")
    assert spec.resources == wanted
    (change,) = drivers.fake_runtime.changes
    assert change.limits == Resources(cpus=1.5, pids_limit=7, cpuset_cpus="0")


def test_one_that_does_not_run_is_changed_in_its_record_alone(drivers: FakeDrivers) -> None:
    stopped(drivers)
    assert update(drivers, memory_bytes=64 * MIB).spec.resources.memory_bytes == 64 * MIB
    assert drivers.fake_runtime.changes == []


def test_memory_goes_with_its_swap(drivers: FakeDrivers) -> None:
    limited(drivers)
    assert update(drivers, memory_bytes=64 * MIB).spec.resources.memory_swap_bytes == 128 * MIB
    assert update(drivers, memory_bytes=32 * MIB).spec.resources.memory_swap_bytes == 128 * MIB
    assert update(drivers, memory_swap_bytes=UNLIMITED).spec.resources.memory_bytes == 32 * MIB
    assert [(c.limits.memory_bytes, c.limits.memory_swap_bytes) for c in drivers.fake_runtime.changes] == [
        (64 * MIB, 128 * MIB),
        (32 * MIB, 128 * MIB),
        (32 * MIB, UNLIMITED),
    ]
    update(drivers, memory_swap_bytes=64 * MIB)
    with pytest.raises(UsageError, match="memory and swap"):
        update(drivers, memory_bytes=65 * MIB)


def test_no_limit_of_processes_is_told_to_the_kernel_and_recorded_as_none(drivers: FakeDrivers) -> None:
    limited(drivers, pids_limit=5)
    assert update(drivers, pids_limit=UNLIMITED).spec.resources.pids_limit is None
    assert drivers.fake_runtime.changes[0].limits.pids_limit == UNLIMITED


def test_a_quota_goes_with_its_period(drivers: FakeDrivers) -> None:
    limited(drivers, cpu_period_us=50_000)
    update(drivers, cpu_quota_us=20_000)
    assert drivers.fake_runtime.changes[0].limits == Resources(cpu_period_us=50_000, cpu_quota_us=20_000)
    with pytest.raises(UsageError, match="--cpus excludes"):
        update(drivers, cpus=1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"memory_bytes": 4096},
        {"cpuset_cpus": "7"},
        {"cpus": 3.0},
        {"memory_swap_bytes": 64 * MIB},
        {"memory_swappiness": 5},
        {"oom_kill_disable": True},
        {"device_read_bps": (DeviceRate(path="/dev/sda", rate=5),)},
        {"blkio_weight": 500},
    ],
    ids=str,
)
def test_what_makes_no_sense_or_cannot_be_kept_changes_nothing(drivers: FakeDrivers, changes) -> None:
    before = limited(drivers)
    with pytest.raises(UsageError):
        update(drivers, **changes)
    assert drivers.store.get(before.id) == before
    assert drivers.fake_runtime.changes == []


def test_a_runtime_that_refuses_leaves_the_record(drivers: FakeDrivers) -> None:
    before = limited(drivers)
    drivers.fake_runtime.update_error = RuntimeFailed("it is busy")
    with pytest.raises(RuntimeFailed):
        update(drivers, pids_limit=5)
    assert drivers.store.get(before.id) == before


def test_one_in_its_exit_is_changed_in_its_record_alone(drivers: FakeDrivers) -> None:
    made = limited(drivers)
    drivers.fake_runtime.update_error = RuntimeFailed("its state is gone")
    assert made.run is not None
    assert made.run.init is not None
    drivers.processes.exiting.add(made.run.init.pid)
    assert update(drivers, pids_limit=5).spec.resources.pids_limit == 5


def test_a_record_that_cannot_be_written_leaves_the_kernel(
    drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(drivers)

    def modify(*_: object) -> Container:
        raise Conflict("the disk is full")

    monkeypatch.setattr(drivers.store, "modify", modify)
    with pytest.raises(Conflict):
        update(drivers, pids_limit=5)
    assert drivers.fake_runtime.changes == []


def test_restart_policy(drivers: FakeDrivers) -> None:
    limited(drivers)
    always = RestartPolicy(name="always")
    assert update(drivers, restart=always).spec.restart == always
    assert drivers.fake_runtime.changes == []
    assert [argv[-3] for argv in drivers.detached] == ["after-exit"]
    update(drivers, restart=RestartPolicy(name="on-failure", limit=3))
    assert len(drivers.detached) == 1  # it waits already


def test_what_is_removed_at_its_end_is_not_restarted(drivers: FakeDrivers) -> None:
    made = limited(drivers)
    drivers.store.modify(made.id, lambda c: replace(c, spec=replace(c.spec, auto_remove=True)))
    with pytest.raises(UsageError, match="--rm"):
        update(drivers, restart=RestartPolicy(name="always"))


def test_a_container_on_its_way_is_left_alone(drivers: FakeDrivers) -> None:
    made = limited(drivers)
    drivers.store.modify(made.id, lambda c: replace(c, status=Status.STOPPING))
    with pytest.raises(WrongState, match="is stopping"):
        update(drivers, pids_limit=5)

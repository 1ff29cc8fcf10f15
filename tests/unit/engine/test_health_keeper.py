"""The keeper of health checks on fake containers: its checks are real programs, run here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from bento import clock
from bento.engine.health import checks, presence
from bento.engine.health.keeper import Keeper, keep
from bento.engine.lifecycle import reconcile
from bento.model.container import Container, HealthSettings, Status
from bento.model.health import Health, HealthResult, HealthStatus, OnUnhealthy
from bento.model.image import Healthcheck
from bento.testing.drivers import FakeDrivers

MS = 10**6
LIMIT_S = 20.0


@pytest.fixture
def keeper(drivers: FakeDrivers) -> Iterator[Keeper]:
    presence.directory(drivers).mkdir()
    (drivers.run_root / "containers").mkdir(exist_ok=True)
    made = Keeper(drivers, lambda: None)
    yield made
    made.close()


def checked(
    drivers: FakeDrivers, script: str, name: str = "web", on_failure: OnUnhealthy = OnUnhealthy.NONE, **more: Any
) -> Container:
    """A container that runs, with a check that is due at once, and again every 10 ms."""
    times = {"interval_ns": 10 * MS, "timeout_ns": 10_000 * MS, "retries": 2} | more.pop("times", {})
    check = Healthcheck(test=("CMD-SHELL", script), **times)
    main = drivers.processes.add("server")
    container = drivers.add(name, main, health=HealthSettings(check=check, on_failure=on_failure), **more)
    checks.spec_path(drivers, container.id).write_bytes(msgspec.json.encode(check.argv))
    return container


def turn_until(keeper: Keeper, is_so: Callable[[], object]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < until_s
        assert not keeper.is_done
        keeper.turn()


def health(drivers: FakeDrivers, container: Container) -> Health:
    return drivers.store.get(container.id).health or Health()


def has_results(drivers: FakeDrivers, container: Container, count: int = 1) -> Callable[[], bool]:
    return lambda: len(health(drivers, container).log) >= count


def test_a_check_that_succeeds_makes_it_healthy(drivers, keeper):
    container = checked(drivers, "echo fine; echo more >&2")
    keeper.begin()
    turn_until(keeper, has_results(drivers, container))
    found = health(drivers, container)
    assert found.status is HealthStatus.HEALTHY
    assert (found.log[0].exit_code, found.log[0].output) == (0, "fine\nmore\n")
    assert found.log[0].end_unix_ns > found.log[0].start_unix_ns
    assert presence.kept_file(drivers, container.id).read_text() == "healthy\n"
    assert not checks.pid_file(drivers, container.id).exists()
    logged = [event for event in drivers.store.events() if event.actor == container.id]
    actions = [event.action for event in logged if event.action != "create"][:4]
    command = "/bin/sh -c echo fine; echo more >&2"
    assert actions == [f"exec_create: {command}", f"exec_start: {command}", "exec_die", "health_status: healthy"]
    assert next(event.attributes["exitCode"] for event in logged if event.action == "exec_die") == "0"


def test_checks_that_fail_make_it_unhealthy(drivers, keeper):
    container = checked(drivers, "exit 3")
    keeper.begin()
    turn_until(keeper, has_results(drivers, container, 2))
    found = health(drivers, container)
    assert (found.status, found.failing_streak) == (HealthStatus.UNHEALTHY, 2)
    assert [entry.exit_code for entry in found.log] == [3, 3]
    assert drivers.detached == []


@pytest.mark.parametrize("action", [OnUnhealthy.KILL, OnUnhealthy.RESTART, OnUnhealthy.STOP])
def test_what_is_to_be_done_with_it_is_done_by_a_process_of_its_own(drivers, keeper, action):
    container = checked(drivers, "exit 1", on_failure=action)
    keeper.begin()
    turn_until(keeper, has_results(drivers, container, 2))
    assert drivers.detached == [(*drivers.helper_argv, action.value, container.id)]


def test_a_check_that_cannot_be_run_has_failed(drivers, keeper):
    container = checked(drivers, "")
    checks.spec_path(drivers, container.id).write_bytes(msgspec.json.encode(["/nonexistent/check"]))
    keeper.begin()
    turn_until(keeper, has_results(drivers, container))
    assert health(drivers, container).log[0].exit_code == -1
    assert "/nonexistent/check" in health(drivers, container).log[0].output


def test_a_check_that_takes_too_long_is_ended(drivers, keeper):
    container = checked(drivers, "echo begun; exec sleep 1000", times={"timeout_ns": 50 * MS})
    drivers.processes.kill_session = lambda pid, *, spared=0: os.killpg(pid, 9)
    drivers.processes.identify = lambda pid, *, mark="": object()
    keeper.begin()
    turn_until(keeper, has_results(drivers, container))
    entry = health(drivers, container).log[0]
    assert (entry.exit_code, entry.output) == (-1, "Health check exceeded timeout (50ms): begun\n")


def test_the_output_of_a_check_is_limited_and_never_in_its_way(drivers, keeper):
    container = checked(drivers, "head -c 1000000 /dev/zero | tr '\\0' x")
    keeper.begin()
    turn_until(keeper, has_results(drivers, container))
    entry = health(drivers, container).log[0]
    assert (entry.exit_code, len(entry.output)) == (0, 4096)


def test_what_a_check_leaves_behind_is_not_waited_for(drivers, keeper):
    container = checked(drivers, "sleep 1000 & echo $!")
    keeper.begin()
    turn_until(keeper, has_results(drivers, container))
    os.kill(int(health(drivers, container).log[0].output), 9)


def test_a_paused_container_is_not_checked(drivers, keeper):
    container, other = checked(drivers, "exit 1"), checked(drivers, "true", "other")
    drivers.processes.freeze(container.run)
    keeper.begin()
    turn_until(keeper, has_results(drivers, other, 3))
    assert health(drivers, container).log == ()
    drivers.processes.thaw(container.run)
    turn_until(keeper, has_results(drivers, container))


def test_s16_no_check_begins_once_a_stop_is_recorded_or_driven(drivers, keeper):
    stopping, other = checked(drivers, "true", "stopping"), checked(drivers, "true", "other")
    driven = checked(drivers, "true", "driven")
    keeper.begin()
    drivers.store.modify(stopping.id, lambda c: replace(c, status=Status.STOPPING))
    with drivers.locks.try_stop(driven.id):
        turn_until(keeper, has_results(drivers, other, 3))
    assert ("exec", stopping.id) not in drivers.fake_runtime.calls
    assert ("exec", driven.id) not in drivers.fake_runtime.calls


def test_s16_the_result_of_a_check_that_a_stop_has_ended_is_dropped(drivers, keeper):
    container, other = checked(drivers, "sleep 0.1; exit 1"), checked(drivers, "true", "other")
    keeper.begin()
    turn_until(keeper, lambda: ("exec", container.id) in drivers.fake_runtime.calls)
    drivers.store.modify(container.id, lambda c: replace(c, status=Status.STOPPING))
    turn_until(keeper, lambda: not checks.pid_file(drivers, container.id).exists())
    assert health(drivers, container) == Health()
    assert health(drivers, other) != Health()


def test_it_ends_with_the_last_container(drivers):
    presence.directory(drivers).mkdir()
    first = checked(drivers, "true")
    drivers.processes.end(next(iter(drivers.processes._all)), 0)
    keep(drivers, lambda: None)
    assert drivers.locks.keeper() is None
    assert health(drivers, first).log == ()


def test_there_is_one(drivers):
    presence.directory(drivers).mkdir()
    checked(drivers, "true")
    with drivers.locks.try_keeper("1"):
        keep(drivers, lambda: None)


def test_what_is_announced_is_looked_after(drivers, keeper):
    checked(drivers, "true", "first")
    keeper.begin()
    later = checked(drivers, "true", "later")
    presence.announce(drivers, later.id)
    turn_until(keeper, has_results(drivers, later))
    assert presence.announced(drivers) == []


def test_it_goes_on_with_what_another_one_has_recorded(drivers, keeper):
    now_ns = clock.wall_ns()
    container = checked(drivers, "exit 1")
    before = HealthResult(start_unix_ns=now_ns - 2, end_unix_ns=now_ns - 1, exit_code=1)
    drivers.store.modify(container.id, lambda c: replace(c, health=Health(failing_streak=1, log=(before,))))
    keeper.begin()
    turn_until(keeper, has_results(drivers, container, 2))
    assert health(drivers, container).status is HealthStatus.UNHEALTHY


@pytest.mark.parametrize("which", ["root", "run_root"])
def test_it_ends_when_its_directories_go(drivers, keeper, which):
    checked(drivers, "true", times={"interval_ns": 10**12})
    keeper.begin()
    directory = getattr(drivers, which)
    directory.rename(f"{directory}.old")
    for path in sorted(directory.parent.glob(f"{directory.name}.old/**/*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    os.rmdir(f"{directory}.old")
    while not keeper.is_done:
        keeper.turn()


@pytest.mark.parametrize("what", ["lock", "root"])
def test_it_ends_at_the_next_check_when_they_have_gone_and_something_has_them_open(drivers, what):
    presence.directory(drivers).mkdir()
    container = checked(drivers, "true")
    keeper = Keeper(drivers, lambda: None, lambda: what != "lock")
    keeper.begin()
    drivers.root.rename(f"{drivers.root}.old") if what == "root" else None
    while not keeper.is_done:
        keeper.turn()
    keeper.close()
    assert health(drivers, container).log == ()


def test_it_ends_when_it_is_told_to_and_its_check_with_it(drivers, keeper):
    container = checked(drivers, "exec sleep 1000")
    drivers.processes.kill_session = lambda pid, *, spared=0: os.killpg(pid, 9)
    drivers.processes.identify = lambda pid, *, mark="": object()
    keeper.begin()
    turn_until(keeper, lambda: ("exec", container.id) in drivers.fake_runtime.calls)
    keeper.end()
    while not keeper.is_done:
        keeper.turn()
    assert health(drivers, container) == Health()


# What starts it


def test_a_command_that_meets_a_container_starts_a_keeper_where_there_is_none(drivers):
    container = checked(drivers, "true")
    reconcile.refresh(drivers, [container])
    assert drivers.detached == [drivers.keeper_argv]
    reconcile.refresh(drivers, [container])  # one is on its way
    assert drivers.detached == [drivers.keeper_argv]
    assert presence.announced(drivers) == [container.id]


def test_a_container_that_the_keeper_does_not_know_is_announced(drivers):
    container = checked(drivers, "true")
    presence.directory(drivers).mkdir()
    with drivers.locks.try_keeper(drivers.version):
        reconcile.refresh(drivers, [container])
        assert presence.announced(drivers) == [container.id]
        presence.kept_file(drivers, container.id).touch()
        reconcile.refresh(drivers, [container])
        assert presence.announced(drivers) == []
    assert drivers.detached == []


@pytest.mark.parametrize("check", [None, Healthcheck(test=("NONE",)), Healthcheck(test=("OTHER", "x"))])
def test_without_a_check_there_is_no_keeper(drivers, check):
    container = drivers.add("web", drivers.processes.add("server"), health=HealthSettings(check=check))
    reconcile.refresh(drivers, [container])
    assert drivers.detached == []
    assert not presence.directory(drivers).exists()


def test_a_keeper_of_another_version_is_replaced(drivers):
    container = checked(drivers, "true")
    presence.directory(drivers).mkdir()
    presence.kept_file(drivers, container.id).touch()
    signalled = []
    drivers.processes.open = lambda identity: signalled.append(identity.pid)
    with drivers.locks.try_keeper("0.0"):
        reconcile.refresh(drivers, [container])
    assert signalled[-1] == os.getpid()
    assert drivers.detached == [drivers.keeper_argv]

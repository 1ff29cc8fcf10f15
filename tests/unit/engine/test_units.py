"""Containers as units of systemd: what the engine asks for, and when; on a fake one."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from bento.drivers.monitor.base import Launched
from bento.engine.facade import EngineFacade
from bento.engine.lifecycle import start
from bento.errors import RuntimeFailed, UnitsFailed, UsageError
from bento.model.container import Container
from bento.model.create import CreateOptions, UpdateOptions
from bento.model.resources import CgroupSettings, Resources
from bento.model.stop import AskedBy
from bento.testing.drivers import FakeDrivers

UNIT = CgroupSettings(parent="web.slice")


def want(drivers: FakeDrivers, manager: str) -> None:
    drivers.settings = replace(drivers.settings, cgroup_manager=manager)


def create(drivers: FakeDrivers, parent: str = "", **more: Any) -> Container:
    options = CreateOptions(image="host", command=("x",), cgroups=CgroupSettings(parent=parent), **more)
    return EngineFacade(drivers).create(options)


def started(drivers: FakeDrivers, container: Container) -> Container:
    """Start it, with processes of the fake's as its first one and its monitor."""
    main, monitor = drivers.processes.add("server"), drivers.processes.add("conmon")
    drivers.monitor.launched = Launched(init_pid=main.identity.pid, monitor_pid=monitor.identity.pid)

    def exit_at(number: int) -> None:
        drivers.monitor.write_exit(drivers.run_dir(container.id), container.id, 0)
        drivers.processes.end(main, 0)
        drivers.processes.end(monitor, 0)

    main.on_signal = exit_at
    return start.start(drivers, container.id).container


def test_a_container_is_made_for_systemd_where_that_is_asked_for_and_there(drivers: FakeDrivers) -> None:
    assert create(drivers).spec.cgroups == CgroupSettings()  # by default without
    want(drivers, "systemd")
    assert create(drivers).spec.cgroups == CgroupSettings(parent="bento.slice")
    want(drivers, "auto")
    assert create(drivers, "a-b.slice").spec.cgroups == CgroupSettings(parent="a-b.slice")


def test_without_systemd_auto_does_without_and_what_needs_it_is_an_error(drivers: FakeDrivers) -> None:
    drivers.units.reason = "systemd does not run here"
    want(drivers, "auto")
    assert create(drivers).spec.cgroups == CgroupSettings()
    with pytest.raises(UsageError, match="--cgroup-parent needs --cgroup-manager systemd: systemd does not run here"):
        create(drivers, "web.slice")
    want(drivers, "systemd")
    with pytest.raises(UnitsFailed, match="cannot be scopes of systemd: systemd does not run here"):
        create(drivers)
    info = EngineFacade(drivers).info()
    assert info["CgroupDriver"] == "cgroupfs"
    assert "systemd does not run here: no container can be made" in info["Warnings"][-1]


@pytest.mark.parametrize("name", ["/web", "web", "-.slice", "a--b.slice", "a/b.slice", "x" * 300 + ".slice"])
def test_what_is_no_slice_is_refused(drivers: FakeDrivers, name: str) -> None:
    want(drivers, "systemd")
    with pytest.raises(UsageError, match="bad slice"):
        create(drivers, name)


def test_it_is_started_in_its_scope_and_has_a_stop_before_it_runs(drivers: FakeDrivers) -> None:
    want(drivers, "systemd")
    made = create(drivers, "web.slice", name="w", resources=Resources(pids_limit=7))
    run = started(drivers, made).run
    (scope,), (stop,), (launch,) = drivers.units.scopes, drivers.units.stops, drivers.monitor.launches
    assert (scope.slice, scope.description, scope.properties) == ("web.slice", "container w (host)", ("TasksMax=8",))
    assert run is not None
    assert run.scope == f"/web.slice/bento-{made.id}.scope"
    assert not drivers.units.made[made.id].is_open  # what held it has gone
    assert launch.words_before == ("systemd-run", "--slice=web.slice", "--")
    assert launch.enter is None
    assert stop.argv == ("/nonexistent", "unit-stop", made.id, "1")
    assert stop.mark == str(drivers.run_dir(made.id) / "unit-stop")


def test_without_systemd_it_is_not_asked(drivers: FakeDrivers) -> None:
    run = started(drivers, create(drivers)).run
    assert run is not None
    assert run.scope == ""
    assert (drivers.units.scopes, drivers.units.stops) == ([], [])
    assert drivers.monitor.launches[0].words_before == ()


@pytest.mark.parametrize("part", ["scope_error", "stop_error"])
def test_a_start_that_systemd_refuses_leaves_nothing(drivers: FakeDrivers, part: str) -> None:
    want(drivers, "systemd")
    made = create(drivers)
    setattr(drivers.units, part, UnitsFailed("access denied"))
    with pytest.raises(UnitsFailed, match="access denied"):
        started(drivers, made)
    assert drivers.units.discarded == [made.id]
    assert drivers.store.get(made.id).run is None
    assert not drivers.run_dir(made.id).exists()
    assert all(not scope.is_open for scope in drivers.units.made.values())


def test_a_stop_takes_the_units_away_once_the_mark_is_gone(drivers: FakeDrivers) -> None:
    want(drivers, "systemd")
    made = started(drivers, create(drivers))
    seen = []
    drivers.units.forget = lambda container_id: seen.append((container_id, drivers.run_dir(container_id).exists()))  # type: ignore[method-assign]
    drivers.storage.let_go(made.id)
    EngineFacade(drivers).stop(made.id)
    assert seen == [(made.id, False)]
    after = drivers.store.get(made.id)
    assert after.run is not None
    assert after.run.scope == ""


def test_limits_are_changed_in_the_scope_too_or_not_at_all(drivers: FakeDrivers) -> None:
    want(drivers, "systemd")
    made = started(drivers, create(drivers, resources=Resources(pids_limit=7)))
    update = UpdateOptions(resources=Resources(pids_limit=9))
    drivers.units.change_error = UnitsFailed("access denied")
    with pytest.raises(UnitsFailed):
        EngineFacade(drivers).update(made.id, update)
    assert drivers.fake_runtime.changes == []  # put back
    drivers.units.change_error = None
    EngineFacade(drivers).update(made.id, update)
    assert drivers.units.changes == [(made.id, ("TasksMax=10",))]
    EngineFacade(drivers).update(made.id, UpdateOptions(resources=Resources(pids_limit=-1)))
    assert drivers.units.changes[-1] == (made.id, ("TasksMax=infinity",))


def chain(drivers: FakeDrivers) -> list[str]:
    """Three containers, each of which requires the one before."""
    found: list[str] = []
    for name in ("a", "b", "c"):
        found.append(drivers.server(name, requires=tuple(found[-1:]), cgroups=UNIT)[0].id)
    return found


def test_s27_what_requires_it_is_stopped_first_where_systemd_stops_it_too(drivers: FakeDrivers) -> None:
    a, b, c = chain(drivers)
    assert EngineFacade(drivers).unit_stop(a, 1).container_ids == (a,)
    drivers.units.stopping = {a, b, c}
    wanted = EngineFacade(drivers).unit_stop(a, 1)
    assert set(wanted.container_ids) == {a, b, c}
    assert wanted.options.asked_by is AskedBy.SYSTEMD
    drivers.units.goes_down = True
    assert EngineFacade(drivers).unit_stop(b, 1).options.asked_by is AskedBy.SHUTDOWN


def test_s04_a_stop_of_another_run_stops_nothing(drivers: FakeDrivers) -> None:
    made, _ = drivers.server("w", cgroups=UNIT)
    assert EngineFacade(drivers).unit_stop(made.id, 2).container_ids == ()
    assert EngineFacade(drivers).unit_stop("f" * 64, 1).container_ids == ()
    EngineFacade(drivers).stop(made.id)
    assert EngineFacade(drivers).unit_stop(made.id, 1).container_ids == ()


def test_a_failed_create_of_the_monitor_discards_the_scope(drivers: FakeDrivers) -> None:
    want(drivers, "systemd")
    made = create(drivers)
    drivers.monitor.launch_error = RuntimeFailed("no")
    with pytest.raises(RuntimeFailed):
        started(drivers, made)
    assert drivers.units.discarded == [made.id]

"""A stop whose driver has died is gone on with; what has ended by itself is settled."""

from __future__ import annotations

import time

import msgspec
import pytest
from msgspec.structs import replace

from bento import clock
from bento.engine.lifecycle import reconcile
from bento.model.container import Container, Status
from bento.model.stop import (
    StopIntent,
    StopRequest,
    Verdict,
)
from bento.stop import machine
from bento.stop.inputs import Looked
from bento.stop.process import Disposition
from bento.testing.drivers import FakeDrivers

from support.stopping import report_of, stop

# -- surviving (S6) ---------------------------------------------------------------------------------------


def _abandoned(drivers: FakeDrivers, container: Container, *, grace_s: float, told: bool) -> None:
    """Leave the record as a driver that was killed does."""
    request = StopRequest(grace_s=grace_s)
    now_s = clock.mono_s()
    state, _ = machine.begin(request, now_s=now_s, born_s=now_s - 100)
    if told:
        assert container.run is not None
        processes = drivers.processes.look(container.run, 15)
        state, _ = machine.step(state, Looked(processes), now_s)
    intent = StopIntent(
        run=1,
        request=request,
        deadline_boot_s=clock.boot_s() + grace_s,
        boot_id="fake-boot",
        asked_unix_ns=5,
        journal=msgspec.json.encode(state),
    )
    drivers.store.modify(container.id, lambda c: replace(c, status=Status.STOPPING, stop_asked=True, intent=intent))


def test_s06_the_next_stop_goes_on_and_signals_nothing_again(drivers):
    container, main = drivers.stubborn()
    main.disposition = Disposition.HANDLED
    _abandoned(drivers, container, grace_s=0.05, told=True)
    outcome = stop(drivers)
    assert outcome.error is None
    assert main.signals == []
    assert report_of(drivers).verdict is Verdict.KILLED
    assert report_of(drivers).started_unix_ns == 5
    assert report_of(drivers).grace_s == 0.05


def test_s06_one_that_has_signalled_nothing_signals(drivers):
    container, main = drivers.server()
    _abandoned(drivers, container, grace_s=10.0, told=False)
    assert stop(drivers).error is None
    assert main.signals == [15]


def test_s06_what_left_meanwhile_was_not_killed(drivers):
    container, main = drivers.server(code=7)
    _abandoned(drivers, container, grace_s=0.0, told=True)
    main.on_signal(15)
    assert stop(drivers).error is None
    assert drivers.processes.kills == 0
    assert report_of(drivers).verdict is Verdict.GRACEFUL
    assert report_of(drivers).exit_code == 7


def test_s06_a_look_at_the_container_gives_it_a_new_driver(drivers):
    container, _ = drivers.server()
    _abandoned(drivers, container, grace_s=10.0, told=True)
    reconcile.refresh(drivers, [drivers.store.get(container.id)])
    assert drivers.detached == [("/nonexistent", "finish-stop", container.id)]


def test_s06_but_not_a_second_one(drivers):
    container, _ = drivers.server()
    _abandoned(drivers, container, grace_s=10.0, told=True)
    lock = drivers.locks.try_stop(container.id)
    assert lock is not None
    reconcile.refresh(drivers, [drivers.store.get(container.id)])
    lock.release()
    assert drivers.detached == []


@pytest.mark.parametrize(("ahead_s", "count"), [(0.0, 1), (1000.0, 2)])
def test_s06_a_helper_on_its_way_is_waited_for_a_clock_that_went_back_is_not(drivers, monkeypatch, ahead_s, count):
    container, _ = drivers.server()
    _abandoned(drivers, container, grace_s=10.0, told=True)
    wall_ns, boot_s = time.time_ns(), clock.boot_s()
    monkeypatch.setattr("bento.clock.wall_ns", lambda: wall_ns + int(ahead_s * 1e9))
    monkeypatch.setattr("bento.clock.boot_s", lambda: boot_s + ahead_s)
    reconcile.refresh(drivers, [drivers.store.get(container.id)])
    monkeypatch.undo()
    reconcile.refresh(drivers, [drivers.store.get(container.id)])
    assert drivers.detached == [("/nonexistent", "finish-stop", container.id)] * count


def test_s06_the_new_driver_finishes_it(drivers):
    container, main = drivers.server()
    _abandoned(drivers, container, grace_s=10.0, told=False)
    reconcile.finish_stop(drivers, container.id)
    assert drivers.store.get(container.id).status is Status.STOPPED
    reconcile.finish_stop(drivers, container.id)
    reconcile.finish_stop(drivers, "0" * 64)
    assert main.signals == [15]


# -- settling what has ended by itself (S2) -----------------------------------------------------------------


def test_s02_a_record_that_says_running_is_settled_without_a_report(drivers):
    container = drivers.add("web", None)
    drivers.monitor.write_exit(drivers.run_dir(container.id), container.id, 4)
    fresh = reconcile.refresh(drivers, [container])[0]
    assert fresh.status is Status.STOPPED
    assert fresh.exit is not None
    assert fresh.exit.code == 4
    assert fresh.report is None
    assert not fresh.stop_asked


def test_s02_one_that_lives_is_left_alone(drivers):
    container, _ = drivers.server()
    assert reconcile.refresh(drivers, [container]) == [container]


def test_s11_paused_is_what_the_freezer_says(drivers):
    container, main = drivers.server()
    drivers.processes.frozen.add(main.identity.pid)
    assert reconcile.refresh(drivers, [container])[0].status is Status.PAUSED
    assert drivers.store.get(container.id).status is Status.RUNNING

"""Between a look at a record and an act on it others may have done their part: no container is harmed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.engine.lifecycle import reconcile
from bento.errors import BentoError, NotFound, StorageUnusable
from bento.model.container import Container, Status
from bento.testing.drivers import FakeDrivers


def test_start_that_came_to_its_end_meanwhile_is_not_undone(drivers: FakeDrivers) -> None:
    container, main = drivers.server()
    seen = replace(container, status=Status.STARTING)  # as it was read a moment ago

    reconcile.undo_abandoned_start(drivers, seen)

    assert drivers.store.get(container.id) == container
    assert drivers.processes.open(main.identity) is not None


def test_start_that_died_is_undone(drivers: FakeDrivers) -> None:
    container, _ = drivers.stubborn(status=Status.STARTING)

    reconcile.undo_abandoned_start(drivers, container)

    assert drivers.store.get(container.id).status is Status.STOPPED


def test_run_that_began_meanwhile_is_not_settled(drivers: FakeDrivers) -> None:
    container, _ = drivers.server()
    assert container.run is not None
    last_run = replace(container.run, number=0, init=replace_pid(container.run.init))
    seen = replace(container, run=last_run)

    assert reconcile.refresh(drivers, [seen]) == [container]
    assert drivers.store.get(container.id) == container


def test_container_that_was_removed_meanwhile_is_left_out_and_leaves_no_lock(
    drivers: FakeDrivers, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = drivers.add("gone", None)
    live, _ = drivers.server("live")
    drivers.store.remove(gone.id)

    assert reconcile.refresh(drivers, [gone, live]) == [live]
    assert drivers.locks.ids() == []
    assert capsys.readouterr().err == ""


def test_end_that_cannot_be_recorded_is_an_error_for_a_caller_that_asked_for_one(
    drivers: FakeDrivers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a warning for one that asked for all: a caller that waits for one must not look again for ever."""
    ended = drivers.add("ended", None)
    live, _ = drivers.server("live")

    def modify(container_id: str, change: object, **_: object) -> Container:
        raise StorageUnusable("the disk is full")

    monkeypatch.setattr(drivers.store, "modify", modify)
    for ask in (lambda: reconcile.find(drivers, "ended"), lambda: reconcile.current(drivers, ended)):
        with pytest.raises(BentoError, match="the disk is full"):
            ask()
    assert reconcile.find(drivers, "live") == live
    assert capsys.readouterr().err == ""
    assert reconcile.refresh(drivers, [ended, live]) == [ended, live]
    assert capsys.readouterr().err.count("the disk is full") == 1
    monkeypatch.undo()
    assert reconcile.find(drivers, "ended").status is Status.STOPPED


def test_one_that_was_removed_meanwhile_is_not_found(drivers: FakeDrivers) -> None:
    gone = drivers.add("gone", None)
    drivers.store.remove(gone.id)
    with pytest.raises(NotFound):
        reconcile.current(drivers, gone)


def replace_pid(identity):
    """Another process, which has gone."""
    return replace(identity, pid=999, start_ticks=9)

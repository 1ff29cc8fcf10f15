"""Between a look at a record and an act on it others may have done their part: nobody's container is harmed."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from bento.engine import reconcile
from bento.errors import BentoError, NotFound, StorageUnusable
from bento.model.container import Container, Status

from support.engine import FakeParts


@pytest.fixture
def parts(tmp_path: Path) -> FakeParts:
    return FakeParts(tmp_path)


def test_start_that_came_to_its_end_meanwhile_is_not_undone(parts: FakeParts) -> None:
    container, main = parts.server()
    seen = replace(container, status=Status.STARTING)  # as it was read a moment ago

    reconcile.undo_abandoned_start(parts, seen)

    assert parts.store.get(container.id) == container
    assert parts.processes.open(main.identity) is not None


def test_start_that_died_is_undone(parts: FakeParts) -> None:
    container, _ = parts.stubborn(status=Status.STARTING)

    reconcile.undo_abandoned_start(parts, container)

    assert parts.store.get(container.id).status is Status.STOPPED


def test_run_that_began_meanwhile_is_not_settled(parts: FakeParts) -> None:
    container, _ = parts.server()
    assert container.run is not None
    last_run = replace(container.run, number=0, init=replace_pid(container.run.init))
    seen = replace(container, run=last_run)

    assert reconcile.refresh(parts, [seen]) == [container]
    assert parts.store.get(container.id) == container


def test_container_that_was_removed_meanwhile_is_left_out_and_leaves_no_lock(
    parts: FakeParts, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = parts.add("gone", None)
    live, _ = parts.server("live")
    parts.store.remove(gone.id)

    assert reconcile.refresh(parts, [gone, live]) == [live]
    assert parts.locks.ids() == []
    assert capsys.readouterr().err == ""


def test_end_that_cannot_be_recorded_is_an_error_for_who_asked_for_one(
    parts: FakeParts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a warning for who asked for all: whoever waits for one must not look again for ever."""
    ended = parts.add("ended", None)
    live, _ = parts.server("live")

    def modify(container_id: str, change: object) -> Container:
        raise StorageUnusable("the disk is full")

    monkeypatch.setattr(parts.store, "modify", modify)
    for ask in (lambda: reconcile.find(parts, "ended"), lambda: reconcile.current(parts, ended)):
        with pytest.raises(BentoError, match="the disk is full"):
            ask()
    assert reconcile.find(parts, "live") == live
    assert capsys.readouterr().err == ""
    assert reconcile.refresh(parts, [ended, live]) == [ended, live]
    assert capsys.readouterr().err.count("the disk is full") == 1
    monkeypatch.undo()
    assert reconcile.find(parts, "ended").status is Status.STOPPED


def test_one_that_was_removed_meanwhile_is_not_found(parts: FakeParts) -> None:
    gone = parts.add("gone", None)
    parts.store.remove(gone.id)
    with pytest.raises(NotFound):
        reconcile.current(parts, gone)


def replace_pid(identity):
    """Somebody else, who has gone."""
    return replace(identity, pid=999, start_ticks=9)

"""Whose a live container is, as far as it can be told from here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bento.engine.base import place
from bento.engine.lifecycle import reconcile
from bento.engine.maintenance import doctor
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.errors import Elsewhere, KernelError
from bento.model.container import Container, Place, Status
from bento.testing.drivers import FakeDrivers
from bento.testing.processes import FakeProcess


def started(
    drivers: FakeDrivers, name: str = "web", *, status: Status = Status.RUNNING, **elsewhere: Any
) -> tuple[Container, FakeProcess]:
    """Store a container that was started from another place."""
    container, main = drivers.server(name, status=status)
    assert container.run is not None
    run = replace(container.run, place=replace(place.here(drivers), **elsewhere))
    return drivers.store.modify(container.id, lambda c: replace(c, run=run)), main


def forget_cgroups(drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers.processes, "shows_life", lambda *_: False)


FAR: list[dict[str, Any]] = [{"pid_ns": 7}, {"time_ns": 7}, {"boot_id": "another"}, {"root_ino": 7}, {"root_dev": 7}]


@pytest.mark.parametrize("far", FAR, ids=str)
def test_what_lives_elsewhere_is_left_alone(drivers: FakeDrivers, far: dict[str, Any]) -> None:
    container, main = started(drivers, **far)
    told: list[Elsewhere] = []
    assert reconcile.refresh(drivers, drivers.store.list(), on_elsewhere=told.append) == [container]
    assert [error.names for error in told] == [("web",)]
    with pytest.raises(Elsewhere):
        reconcile.find(drivers, "web")
    [outcome] = stop_containers(drivers, ["web"], StopOptions(grace_s=0.0))
    assert isinstance(outcome.error, Elsewhere)
    assert drivers.store.get(container.id) == container
    assert main.status is None
    assert drivers.processes.kills == 0


@pytest.mark.parametrize("far", FAR, ids=str)
def test_what_shows_no_life_has_ended_wherever_it_ran(
    drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch, far: dict[str, Any]
) -> None:
    container, main = started(drivers, **far)
    drivers.processes.end(main, 0)
    forget_cgroups(drivers, monkeypatch)
    [now] = reconcile.refresh(drivers, drivers.store.list())
    assert now.status is Status.STOPPED
    assert now.id == container.id


@pytest.mark.parametrize("answer", [True, KernelError("fsopen", 1, "not permitted")], ids=str)
def test_a_root_filesystem_that_is_mounted_or_cannot_be_asked_about_is_life(
    drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch, answer: bool | KernelError
) -> None:
    container, _ = started(drivers, pid_ns=7)
    forget_cgroups(drivers, monkeypatch)

    def is_held(_: str) -> bool:
        if isinstance(answer, KernelError):
            raise answer
        return answer

    monkeypatch.setattr(drivers.storage, "is_held", is_held)
    assert place.elsewhere(drivers, container) is not None


def test_the_path_of_the_root_says_nothing(drivers: FakeDrivers) -> None:
    container, _ = started(drivers, root="/by/another/path")
    assert place.elsewhere(drivers, container) is None


def test_a_run_of_an_older_version_is_its_run_directorys(drivers: FakeDrivers) -> None:
    container, _ = drivers.server("web")
    assert place.elsewhere(drivers, container) is None
    os.rmdir(drivers.run_dir(container.id))
    assert place.elsewhere(drivers, container) is not None


def test_a_restart_is_the_originals_while_that_is_there(drivers: FakeDrivers, tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.mkdir()
    status = original.stat()
    copied: dict[str, Any] = {"root": str(original), "root_dev": status.st_dev, "root_ino": status.st_ino}
    container, _ = started(drivers, status=Status.RESTARTING, **copied)
    assert place.elsewhere(drivers, container) is not None
    rebooted = Place(**{**{name: getattr(place.here(drivers), name) for name in Place.__struct_fields__}, **copied})
    assert container.run is not None
    before_the_boot = replace(container, run=replace(container.run, place=replace(rebooted, boot_id="another")))
    assert place.elsewhere(drivers, before_the_boot) is None
    original.rmdir()
    assert place.elsewhere(drivers, container) is None


def test_one_error_names_several(drivers: FakeDrivers) -> None:
    for name in "abcde":
        started(drivers, name, pid_ns=7)
    told: list[Elsewhere] = []
    reconcile.refresh(drivers, drivers.store.list(), on_elsewhere=told.append)
    [error] = told
    assert "and 2 others were started in another PID namespace" in str(error)
    with pytest.raises(Elsewhere):
        doctor.examine(drivers)

"""``doctor`` judges each container by what its record says under its lock, while others go on working."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bento.drivers.storage.base import Holder
from bento.engine.health import presence
from bento.engine.maintenance import doctor, keepers
from bento.engine.resources import mounting
from bento.model.container import Container, ContainerSpec, Files, HealthSettings, Mount, ProcessIdentity, Status
from bento.model.image import Healthcheck, ImageConfig
from bento.model.volume import Volume
from bento.testing.drivers import FakeDrivers

ID = "ab" * 32


@pytest.fixture
def drivers(drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch) -> FakeDrivers:
    monkeypatch.setattr(doctor, "_SECOND_LOOK_S", 0.0)
    return drivers


def created(identity: str = ID, name: str = "web") -> Container:
    spec = ContainerSpec(image="host", image_id="", layers=())
    return Container(id=identity, name=name, created_unix_ns=1, spec=spec)


def kinds(drivers: FakeDrivers, *, fix: bool = False) -> list[str]:
    return [finding.kind for finding in doctor.examine(drivers, fix=fix)]


def after(drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch, what: str, act: Callable[[], object]) -> None:
    """Let another process act right after the records were listed, or the directories."""
    place, name = (drivers.store, "list") if what == "records" else (drivers.storage, "ids")
    original = getattr(place, name)
    todo = [act]

    def listed(**options: Any) -> Any:
        result = original(**options)
        if todo:
            todo.pop()()
        return result

    monkeypatch.setattr(place, name, listed)


@pytest.mark.parametrize("fix", [False, True])
@pytest.mark.parametrize("what", ["records", "directories"])
def test_container_made_after_something_was_listed_is_left_alone(
    drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch, fix: bool, what: str
) -> None:
    def create_and_start() -> None:
        drivers.storage.prepare(ID)
        drivers.run_dir(ID).mkdir(parents=True)
        drivers.store.add(replace(created(), status=Status.RUNNING))

    monkeypatch.setattr("bento.engine.lifecycle.reconcile.refresh", lambda *_, **__: [])
    after(drivers, monkeypatch, what, create_and_start)

    assert kinds(drivers, fix=fix) == []
    assert drivers.storage.bundle(ID).exists()
    assert drivers.run_dir(ID).exists()


@pytest.mark.parametrize("fix", [False, True])
def test_container_that_something_works_on_is_left_alone(drivers: FakeDrivers, fix: bool) -> None:
    drivers.storage.prepare(ID)
    with drivers.locks.hold(ID, 0.0):  # as rm does, between its record and its directory
        assert kinds(drivers, fix=fix) == []
    drivers.store.add(replace(created(), status=Status.STOPPED))
    drivers.run_dir(ID).mkdir(parents=True)
    lock = drivers.locks.try_stop(ID)
    assert lock is not None
    with lock:  # as a stop does, between its record and its run directory
        assert kinds(drivers, fix=fix) == []
    assert drivers.run_dir(ID).exists()


def test_record_whose_directory_is_still_to_come_is_not_missed(drivers: FakeDrivers) -> None:
    drivers.store.add(created())
    with drivers.locks.hold(ID, 0.0):  # as create does
        assert kinds(drivers) == []
    assert kinds(drivers, fix=True) == ["missing"]


def test_leftovers_are_found_and_then_removed(drivers: FakeDrivers) -> None:
    drivers.storage.prepare(ID)
    drivers.run_dir(ID).mkdir(parents=True)
    (drivers.run_root / "locks").mkdir()
    (drivers.run_root / "locks" / ("cd" * 32 + ".op")).touch()

    assert sorted(kinds(drivers)) == ["directory", "directory", "lock"]
    found = doctor.examine(drivers, fix=True)
    assert [finding.is_fixed for finding in found] == [True, True, True]
    assert kinds(drivers) == []
    assert drivers.storage.ids() == drivers.locks.ids() == []


def test_what_only_one_look_finds_is_not_left_over(drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the monitor of a container that has just removed itself."""
    looks = [[(77, ID)], [(78, ID)]]
    monkeypatch.setattr(drivers.processes, "find_monitors", lambda run_root: looks.pop(0))
    assert kinds(drivers) == []
    monkeypatch.setattr(drivers.processes, "find_monitors", lambda run_root: [(77, ID)])
    assert kinds(drivers) == ["process"]


def test_directory_of_a_root_filesystem_in_use_is_not_deleted(drivers: FakeDrivers) -> None:
    drivers.storage.prepare(ID)
    drivers.storage.held[ID] = [Holder(pid=7, comm="sh")]

    found = doctor.examine(drivers, fix=True)

    assert [(finding.kind, finding.held_by, finding.is_fixed) for finding in found] == [
        ("mount", ("7 (sh)",), False),
        ("directory", (), False),
    ]
    assert drivers.storage.bundle(ID).exists()


def test_layers_that_nothing_stands_on_are_found_and_removed(drivers: FakeDrivers, tmp_path: Path) -> None:
    layers = []
    for name in ("image", "container", "nobody"):
        (tmp_path / name / "bin").mkdir(parents=True)
        image = drivers.images.import_rootfs(tmp_path / name, ImageConfig())
        layers.append(image.layers[0])
        if name == "image":
            drivers.store.put_image(image, events=())
        elif name == "container":
            drivers.storage.prepare(ID)
            drivers.store.add(replace(created(), spec=ContainerSpec(image="c", image_id="", layers=image.layers)))

    assert [(f.kind, f.what, f.is_fixed) for f in doctor.examine(drivers)] == [("layer", layers[2], False)]
    assert [(f.kind, f.what, f.is_fixed) for f in doctor.examine(drivers, fix=True)] == [("layer", layers[2], True)]
    assert drivers.images.layers() == sorted(layers[:2])


def test_an_image_that_has_lost_a_layer_is_told(drivers: FakeDrivers, tmp_path: Path) -> None:
    (tmp_path / "image" / "bin").mkdir(parents=True)
    image = drivers.images.import_rootfs(tmp_path / "image", ImageConfig())
    drivers.store.put_image(replace(image, names=("docker.io/library/box:latest",)), events=())
    assert kinds(drivers) == []
    (tmp_path / "image" / "bin").rmdir()
    (tmp_path / "image").rmdir()
    (finding,) = doctor.examine(drivers, fix=True)
    assert (finding.kind, finding.is_fixed) == ("missing", False)
    assert image.layers[0] in finding.what
    assert "of image box:latest is gone" in finding.what


@pytest.mark.parametrize("users", [0, 1])
def test_volume_whose_directory_or_container_is_gone(drivers: FakeDrivers, users: int) -> None:
    mounts = (Mount(kind="volume", source="gone", destination="/x"),) if users else ()
    drivers.storage.prepare(ID)
    drivers.store.add(
        replace(created(), spec=ContainerSpec(image="host", image_id="", layers=(), files=Files(mounts=mounts)))
    )
    drivers.store.put_volume(Volume(name="gone", created_unix_ns=1))
    mounting.ensure(drivers, "own", container_id=ID)
    mounting.ensure(drivers, "orphan", container_id="cd" * 32)

    assert sorted(f.what for f in doctor.examine(drivers)) == [
        "orphan, anonymous",
        "the directory of volume gone is gone",
    ]
    fixed = {f.what: f.is_fixed for f in doctor.examine(drivers, fix=True)}
    assert fixed == {"orphan, anonymous": True, "the directory of volume gone is gone": not users}
    assert [volume.name for volume in drivers.store.list_volumes()] == (["gone", "own"] if users else ["own"])
    assert drivers.volumes.names() == ["own"]


def checked(drivers: FakeDrivers) -> Container:
    return drivers.add(
        "web", drivers.processes.add("server"), health=HealthSettings(check=Healthcheck(test=("CMD", "x")))
    )


def test_health_checks_that_nothing_carries_out_are_found(drivers, monkeypatch):
    monkeypatch.setattr(keepers, "STARTS_WITHIN_S", 0.05)
    drivers.storage.prepare(checked(drivers).id)
    assert kinds(drivers) == ["missing"]
    assert drivers.detached == [drivers.keeper_argv]
    presence.began(drivers)
    assert [finding.is_fixed for finding in doctor.examine(drivers, fix=True)] == [False]  # it does not come
    assert drivers.detached == [drivers.keeper_argv] * 3


def test_a_process_for_health_checks_that_is_needed_is_left_alone(drivers):
    drivers.storage.prepare(checked(drivers).id)
    presence.directory(drivers).mkdir()
    with drivers.locks.try_keeper(drivers.version):
        assert kinds(drivers) == []


@pytest.mark.parametrize("is_needed", [True, False])
def test_a_process_for_health_checks_that_is_stopped_or_not_needed_is_ended(drivers, monkeypatch, is_needed):
    ended = []
    monkeypatch.setattr(presence, "end", lambda _, process: ended.append(process.pid))
    drivers.processes.progress = lambda pid: (1, True)
    if is_needed:
        drivers.storage.prepare(checked(drivers).id)
    presence.directory(drivers).mkdir()
    with drivers.locks.try_keeper(drivers.version):
        found = doctor.examine(drivers, fix=True)
    assert [(finding.kind, finding.is_fixed) for finding in found] == [("process", True)]
    assert ("is stopped" in found[0].what) == is_needed
    assert ended == [os.getpid()]


def test_a_process_for_health_checks_of_a_run_root_that_is_gone_is_found(drivers):
    old = ProcessIdentity(77, 1, "boot")
    drivers.processes.find_by_arguments = lambda part, word: [old]
    assert [finding.what for finding in doctor.examine(drivers)] == [
        "process 77, which carries out health checks, is of a run root that was deleted"
    ]

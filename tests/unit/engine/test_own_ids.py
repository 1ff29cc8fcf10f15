"""Containers with ids of their own: none gets those of another one."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace

from bento.config import Settings
from bento.drivers.monitor.base import Launched
from bento.engine.facade import EngineFacade
from bento.engine.lifecycle.start import start
from bento.errors import Conflict, StorageUnusable, UsageError
from bento.model.container import Container, Namespaces, Status
from bento.model.create import CreateOptions
from bento.model.namespaces.mapping import IdMapping, IdRange
from bento.model.pods import PodOptions
from bento.model.terminal import AttachOptions
from bento.testing.drivers import FakeDrivers


@pytest.fixture
def engine(drivers: FakeDrivers) -> EngineFacade:
    drivers.settings = Settings(userns_ids="1000:300")
    return EngineFacade(drivers)


def make(engine: EngineFacade, mode: str = "auto:size=100") -> Container:
    namespaces = Namespaces(user=mode)
    return engine.create(CreateOptions(image="host", command=("true",), network="none", namespaces=namespaces))


def first_of(container: Container) -> int:
    ids = container.spec.namespaces.ids
    assert ids is not None
    assert ids.uids == ids.gids
    return ids.uids[0].outside


def test_each_has_its_own_until_it_is_removed(engine: EngineFacade, drivers: FakeDrivers) -> None:
    made = [make(engine) for _ in range(3)]
    assert [first_of(one) for one in made] == [1000, 1100, 1200]
    with pytest.raises(Conflict, match="no 100 ids left"):
        make(engine)
    # Whatever its state is, and wherever it was started: they are taken while it is on record.
    drivers.store.modify(made[1].id, lambda c: replace(c, status=Status.RUNNING))
    with pytest.raises(Conflict):
        make(engine)
    drivers.store.modify(made[1].id, lambda c: replace(c, status=Status.CREATED))
    engine.remove(made[1].id)
    assert [first_of(make(engine, "auto:size=30")) for _ in range(3)] == [1100, 1130, 1160]
    assert make(engine, "host").spec.namespaces.ids is None


def test_none_gets_those_of_a_pod(engine: EngineFacade) -> None:
    ids = IdMapping(uids=(IdRange(0, 1000, 150),), gids=(IdRange(0, 1000, 50),))
    pod = engine.create_pod(PodOptions(name="web", network="none", ids=ids))
    got = make(engine).spec.namespaces.ids
    assert got is not None
    assert (got.uids[0].outside, got.gids[0].outside) == (1150, 1050)
    engine.remove_pod(pod.id, force=True)
    assert first_of(make(engine, "auto:size=50")) == 1000


def test_a_node_says_that_it_maps_ids_once_it_has_done_so(
    engine: EngineFacade, drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_broken = True

    def check(namespace_fd: int, owner: tuple[int, int]) -> None:
        if is_broken:
            raise StorageUnusable("no overlay on idmapped mounts")

    monkeypatch.setattr(drivers.storage, "check_mapped", check)
    assert engine.readiness().mapping == ()
    is_broken = False
    mapping = engine.readiness().mapping
    assert mapping == ("", *engine.readiness().runtimes)
    is_broken = True
    assert engine.readiness().mapping == mapping
    drivers.fake_runtime.shows_processes = False
    assert engine.readiness().mapping == ()


def test_without_ids_to_give_nothing_is_made(engine: EngineFacade, drivers: FakeDrivers) -> None:
    drivers.settings = Settings(userns_ids="a-name-that-has-none")
    with pytest.raises(UsageError, match="/etc/subuid gives none to 'a-name-that-has-none'"):
        make(engine)
    assert drivers.store.list() == []


def test_where_the_kernel_cannot_map_them_nothing_is_made(
    engine: EngineFacade, drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(namespace_fd: int, owner: tuple[int, int]) -> None:
        assert owner == (1000, 1000)
        raise StorageUnusable("no overlay on idmapped mounts")

    monkeypatch.setattr(drivers.storage, "check_mapped", refuse)
    with pytest.raises(StorageUnusable):
        make(engine)
    assert drivers.store.list() == []


def test_the_input_ends_once_the_output_is_attached_to(engine: EngineFacade, drivers: FakeDrivers) -> None:
    """conmon takes one connection at a time: what is written after the first may be lost to the second."""
    main, monitor = drivers.processes.add("server"), drivers.processes.add("conmon")
    drivers.monitor.launched = Launched(init_pid=main.identity.pid, monitor_pid=monitor.identity.pid)
    started = start(drivers, make(engine).id, attach=AttachOptions())
    assert drivers.monitor.connected == ["output", "end of input"]
    assert started.attachment is not None
    started.attachment.close()
    assert started.main_fd is not None
    os.close(started.main_fd)

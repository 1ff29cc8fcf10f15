"""Samples of several containers, which come and go."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.engine.facade import EngineFacade
from bento.errors import NotFound
from bento.model.container import Container, Status
from bento.model.stats import ContainerStats
from bento.testing.drivers import FakeDrivers


@pytest.fixture
def engine(drivers: FakeDrivers) -> EngineFacade:
    return EngineFacade(drivers)


def add(drivers: FakeDrivers, name: str, cpu_ns: int = 0) -> Container:
    container, main = drivers.server(name)
    drivers.usage.cpu_ns[main.identity.pid] = cpu_ns
    return container


def take(drivers: FakeDrivers, container: Container, cpu_s: float) -> None:
    assert container.run is not None
    assert container.run.init is not None
    drivers.usage.cpu_ns[container.run.init.pid] += int(cpu_s * 1e9)


def shown(found: list[ContainerStats]) -> dict[str, float | None]:
    return {each.name: each.cpu_percent for each in found}


def test_percent_is_of_the_time_between_two_samples(drivers: FakeDrivers, engine: EngineFacade) -> None:
    web, db = add(drivers, "web", 5 * 10**9), add(drivers, "db")
    samples = engine.stats(interval_s=0)
    assert shown(next(samples)) == {"web": None, "db": None}
    drivers.usage.seconds = 2.0
    take(drivers, web, 3.0)
    take(drivers, db, 0.5)
    assert shown(next(samples)) == {"web": 150.0, "db": 25.0}


def test_containers_come_and_go(drivers: FakeDrivers, engine: EngineFacade) -> None:
    web = add(drivers, "web")
    samples = engine.stats(interval_s=0)
    assert list(shown(next(samples))) == ["web"]
    add(drivers, "db")
    drivers.usage.seconds = 1.0
    assert shown(next(samples)) == {"web": 0.0, "db": None}
    drivers.store.modify(web.id, lambda c: replace(c, status=Status.STOPPED))
    drivers.usage.seconds = 2.0
    assert shown(next(samples)) == {"db": 0.0}
    drivers.usage.cpu_ns.clear()  # ended, and no command has seen it yet
    assert next(samples) == []


def test_next_run_does_not_count_from_the_one_before(drivers: FakeDrivers, engine: EngineFacade) -> None:
    web = add(drivers, "web", 5 * 10**9)
    samples = engine.stats(["web"], interval_s=0)
    next(samples)
    run = web.run
    assert run is not None
    drivers.store.modify(web.id, lambda c: replace(c, run=replace(run, number=2)))
    drivers.usage.seconds = 1.0
    assert shown(next(samples)) == {"web": None}


def test_those_that_were_named_are_shown_in_order_and_until_they_are_gone(
    drivers: FakeDrivers, engine: EngineFacade
) -> None:
    web, db = add(drivers, "web"), add(drivers, "db")
    add(drivers, "other")
    samples = engine.stats(["db", "web"], interval_s=0)
    assert list(shown(next(samples))) == ["db", "web"]
    drivers.store.modify(db.id, lambda c: replace(c, status=Status.STOPPED))
    assert [(each.name, each.now is None) for each in next(samples)] == [("db", True), ("web", False)]
    drivers.store.remove(db.id)
    assert list(shown(next(samples))) == ["web"]
    drivers.store.remove(web.id)
    assert list(samples) == []
    with pytest.raises(NotFound):
        engine.stats(["nosuch"])


def test_all_are_those_that_do_not_run_too(drivers: FakeDrivers, engine: EngineFacade) -> None:
    web = add(drivers, "web")
    drivers.store.modify(web.id, lambda c: replace(c, status=Status.STOPPED))
    assert engine.stats_sampler().sample() == []
    assert [each.name for each in engine.stats_sampler(all=True).sample()] == ["web"]

"""Waiting until a container is healthy, on fake ones: what ends it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from msgspec.structs import replace

from bento.engine.health import presence
from bento.engine.lifecycle import start
from bento.engine.lifecycle.healthy import wait_until_healthy
from bento.errors import DeadlineExceeded, RuntimeFailed, Unhealthy
from bento.files.smallfile import write_small
from bento.model.container import Container, HealthSettings, Status
from bento.model.health import Health, HealthResult, HealthStatus
from bento.model.image import Healthcheck
from bento.testing.drivers import FakeDrivers

CHECK = Healthcheck(test=("CMD", "x"))


def become(drivers: FakeDrivers, container: Container, status: HealthStatus, *, output: str = "") -> None:
    """What the keeper does."""
    log = (HealthResult(start_unix_ns=1, end_unix_ns=2, exit_code=1, output=output),)
    drivers.store.modify(container.id, lambda c: replace(c, health=Health(status=status, log=log)))
    write_small(presence.kept_file(drivers, container.id), b"x")


def add(drivers: FakeDrivers, name: str = "web", **more: Any) -> Container:
    container = drivers.add(name, drivers.processes.add("server"), health=HealthSettings(check=CHECK), **more)
    return drivers.store.modify(container.id, lambda c: replace(c, health=Health()))


def later(act: Any, *arguments: Any, **more: Any) -> None:
    threading.Timer(0.05, act, arguments, more).start()


def test_it_is_waited_for_until_it_is_healthy(drivers):
    container = add(drivers)
    later(become, drivers, container, HealthStatus.HEALTHY)
    assert wait_until_healthy(drivers, container.id, 30.0).health_status is HealthStatus.HEALTHY


def test_one_without_a_check_has_only_to_run(drivers):
    container, _ = drivers.server()
    assert wait_until_healthy(drivers, container.id, 30.0).status is Status.RUNNING


def test_what_becomes_unhealthy_is_an_error_with_the_last_words_of_its_check(drivers):
    container = add(drivers)
    later(become, drivers, container, HealthStatus.UNHEALTHY, output="no\nway")
    with pytest.raises(Unhealthy, match="web is unhealthy: no way"):
        wait_until_healthy(drivers, container.id, 30.0)


def test_what_ends_is_an_error(drivers):
    container = add(drivers)
    main = next(iter(drivers.processes._all))
    drivers.monitor.write_exit(drivers.run_dir(container.id), container.id, 5)
    later(drivers.processes.end, main, 5 << 8)
    with pytest.raises(Unhealthy, match=r"web has ended before it was healthy \(exit code 5"):
        wait_until_healthy(drivers, container.id, 30.0)


def test_what_was_started_again_is_not_what_is_waited_for(drivers):
    container = add(drivers)
    assert container.run is not None
    run = replace(container.run, number=2)
    later(drivers.store.modify, container.id, lambda c: replace(c, run=run))
    with pytest.raises(Unhealthy):
        wait_until_healthy(drivers, container.id, 30.0)


def test_there_is_a_limit(drivers):
    with pytest.raises(DeadlineExceeded, match="web has not become healthy in time"):
        wait_until_healthy(drivers, add(drivers).id, 0.05)


def test_what_is_required_to_be_healthy_is_waited_for(drivers):
    needed = add(drivers)
    other = drivers.add("other", None, requires=(needed.id,), requires_healthy=(needed.id,), status=Status.CREATED)
    later(become, drivers, needed, HealthStatus.HEALTHY)
    start.start_required(drivers, other)


def test_what_is_required_and_unhealthy_is_an_error_that_names_both(drivers):
    needed = add(drivers)
    other = drivers.add("other", None, requires=(needed.id,), requires_healthy=(needed.id,), status=Status.CREATED)
    become(drivers, needed, HealthStatus.UNHEALTHY)
    with pytest.raises(RuntimeFailed, match="web is unhealthy, and container other requires"):
        start.start_required(drivers, other)

"""Restart policies as a pure function of the record (rule S4)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.engine.base import policy
from bento.engine.lifecycle import signals
from bento.errors import WrongState
from bento.model.container import Container, ContainerSpec, Exit, RestartPolicy, Status
from bento.testing.drivers import FakeDrivers

ALWAYS, ON_FAILURE, UNLESS = (
    RestartPolicy(name="always"),
    RestartPolicy(name="on-failure"),
    RestartPolicy(name="unless-stopped"),
)


def pause(wanted: RestartPolicy, code: int | None = 1, *, restarts: int = 0, streak: int = 0, asked: bool = False):
    return policy.pause_s(wanted, code, restarts=restarts, streak=streak, is_stop_asked=asked)


def stopped(**changes) -> Container:
    spec = ContainerSpec(image="host", image_id="", layers=(), restart=ALWAYS)
    return replace(Container(id="1", name="w", created_unix_ns=1, spec=spec, status=Status.STOPPED), **changes)


def after(container: Container, *, up_s: float = 0.0) -> Container:
    return policy.after_end(container, Exit(code=1, finished_unix_ns=1), up_s=up_s, now_boot_s=50.0)


@pytest.mark.parametrize("wanted", [ALWAYS, ON_FAILURE, UNLESS])
def test_pauses_double_up_to_a_minute(wanted):
    pauses = [pause(wanted, streak=streak) for streak in range(12)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0]
    assert pause(wanted, streak=5000) == 60.0


@pytest.mark.parametrize("wanted", [ALWAYS, ON_FAILURE, UNLESS])
def test_s04_never_after_a_stop_that_was_asked_for(wanted):
    assert pause(wanted, asked=True) is None


def test_no_means_no():
    assert pause(RestartPolicy()) is None


@pytest.mark.parametrize(("code", "is_restarted"), [(0, False), (1, True), (137, True), (None, True)])
def test_on_failure_asks_for_the_code_and_takes_an_unknown_one_for_a_failure(code, is_restarted):
    assert (pause(ON_FAILURE, code) is not None) is is_restarted
    assert pause(ALWAYS, code) == 0.1


def test_a_limit_counts_restarts():
    limited = RestartPolicy(name="on-failure", limit=3)
    assert [pause(limited, restarts=count) is not None for count in range(5)] == [True, True, True, False, False]


def test_after_a_short_run_it_waits_longer_and_after_a_long_one_it_begins_anew():
    first = after(stopped())
    assert (first.status, first.restarts, first.restart_streak) == (Status.RESTARTING, 1, 1)
    assert first.restart_boot_s == pytest.approx(50.1)
    assert after(first, up_s=9.9).restart_boot_s == pytest.approx(50.2)
    recovered = after(replace(first, restart_streak=7), up_s=10.0)
    assert (recovered.restarts, recovered.restart_streak) == (2, 1)
    assert recovered.restart_boot_s == pytest.approx(50.1)


def test_s04_stays_stopped_when_a_stop_was_asked_for():
    container = stopped(stop_asked=True)
    assert after(container) == container


@pytest.mark.parametrize(
    ("number", "for_good", "is_over"), [(9, False, False), (9, True, True), (15, True, True), (1, True, False)]
)
def test_s04_a_kill_for_good_is_followed_by_no_restart(
    drivers: FakeDrivers, number: int, for_good: bool, is_over: bool
):
    container, main = drivers.server("web", restart=ALWAYS)
    main.on_signal = lambda _: None
    signals.kill(drivers, "web", number, for_good=for_good)
    assert drivers.store.get(container.id).stop_asked is is_over


def test_s04_a_kill_for_good_calls_a_restart_off_that_is_due(drivers: FakeDrivers):
    container = drivers.add("web", None, status=Status.RESTARTING, restart=ALWAYS)
    with pytest.raises(WrongState):
        signals.kill(drivers, "web", 9)
    signals.kill(drivers, "web", 9, for_good=True)
    after_it = drivers.store.get(container.id)
    assert (after_it.status, after_it.stop_asked) == (Status.STOPPED, True)


def test_what_is_left_of_a_pause_and_a_clock_that_began_anew():
    waiting = stopped(restart_boot_s=60.0)
    assert policy.left_s(waiting, 58.0) == 2.0
    assert policy.left_s(waiting, 66.0) == -6.0
    assert policy.left_s(replace(waiting, restart_boot_s=90_000.0), 5.0) == 0.0

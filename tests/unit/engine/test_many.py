"""Many stops in one loop: what waits holds nothing else up, and each costs the same however many there are."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from bento.engine.base.background import Background
from bento.engine.base.loop import Loop
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.errors import BentoError, Conflict, NotFound, StorageUnusable, StuckProcess
from bento.model.container import Status
from bento.stop import machine

from support.observed import Observed


def test_s28_a_lock_that_is_held_delays_its_own_container_only(drivers):
    blocked, _ = drivers.server("blocked")
    drivers.server("free")
    lock = drivers.locks.hold(blocked.id, 0.0)
    observed = Observed(on_outcome=lambda outcome: outcome.name == "free" and lock.release())
    outcomes = stop_containers(drivers, ["blocked", "free"], StopOptions(), observed)
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert observed.names_ended == ["free", "blocked"]


def test_s28_a_lock_that_is_held_at_the_record_is_tried_again(drivers):
    container, main = drivers.server("web")
    told = main.on_signal
    assert told is not None
    held: list = []

    def leave(number: int) -> None:
        held.append(drivers.locks.hold(container.id, 0.0))
        threading.Timer(0.1, held[0].release).start()
        told(number)

    main.on_signal = leave
    assert stop_containers(drivers, ["web"], StopOptions())[0].error is None
    assert drivers.store.get(container.id).status is Status.STOPPED


def test_a_lock_that_stays_held_is_an_error_in_the_end(drivers, monkeypatch):
    container, main = drivers.server("web")
    monkeypatch.setattr("bento.engine.base.holdup.LOCK_TIMEOUT_S", 0.1)
    with drivers.locks.hold(container.id, 0.0):
        assert isinstance(stop_containers(drivers, ["web"], StopOptions())[0].error, Conflict)
    assert main.signals == []


def test_another_stop_of_it_that_cannot_be_joined_is_an_error_in_the_end(drivers, monkeypatch):
    container, _ = drivers.server("web")
    monkeypatch.setattr("bento.engine.base.holdup.LOCK_TIMEOUT_S", 0.1)
    lock = drivers.locks.try_stop(container.id)
    assert isinstance(stop_containers(drivers, ["web"], StopOptions())[0].error, Conflict)
    lock.release()


def test_s26_files_that_take_long_to_delete_delay_no_other_container(drivers, monkeypatch):
    brief, _ = drivers.server("brief", auto_remove=True)
    drivers.server("other")
    remove, may_go_on = drivers.storage.remove, threading.Event()

    def slow(container_id: str) -> None:
        assert may_go_on.wait(60)
        remove(container_id)

    monkeypatch.setattr(drivers.storage, "remove", slow)
    observed = Observed(on_outcome=lambda _: may_go_on.set())
    outcomes = stop_containers(drivers, ["brief", "other"], StopOptions(), observed)
    assert observed.names_ended == ["other", "brief"]
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert [container.name for container in drivers.store.list()] == ["other"]
    assert brief.id not in drivers.storage.ids()


def test_s26_each_stop_costs_the_same_however_many_there_are(drivers, monkeypatch):
    """Counted are the questions after a session's next timer: one for each thing that happens to it."""
    asked = 0
    next_timer = machine.next_timer

    def count(state):
        nonlocal asked
        asked += 1
        return next_timer(state)

    monkeypatch.setattr(machine, "next_timer", count)
    costs = []
    for number, count_of in enumerate((5, 60)):
        asked = 0
        names = [f"c{number}-{one}" for one in range(count_of)]
        for name in names:
            drivers.server(name)
        assert all(outcome.error is None for outcome in stop_containers(drivers, names, StopOptions()))
        costs.append(asked / count_of)
    assert costs[1] <= 1.5 * costs[0], costs


# -- the thread beside the loop --------------------------------------------------------------------------------


def do_all(loop: Loop, background: Background, works: list[Callable[[], None]]) -> list[BentoError | None]:
    errors: list[BentoError | None] = []
    for work in works:
        background.do(work, errors.append)
    while len(errors) < len(works):
        loop.turn()
    return errors


def test_work_is_done_in_order_and_its_errors_come_back(drivers):
    loop = Loop()
    background = Background(loop, drivers.start_thread)
    done: list[int] = []

    def fail() -> None:
        raise StorageUnusable("the disk is gone")

    def fail_otherwise() -> None:
        raise OSError(28, "No space left on device")

    errors = do_all(loop, background, [lambda: done.append(1), fail, fail_otherwise, lambda: done.append(2)])
    assert done == [1, 2]
    assert [type(error) for error in errors][:2] == [type(None), StorageUnusable]
    assert "disk is full" in str(errors[2])
    assert do_all(loop, background, [lambda: done.append(3)]) == [None]  # the thread had ended meanwhile, or not
    background.close()
    background.close()
    loop.close()


def test_closing_waits_for_what_has_begun_and_leaves_out_the_rest(drivers):
    loop = Loop()
    background = Background(loop, drivers.start_thread)
    begun, may_go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        begun.set()
        assert may_go_on.wait(60)
        done.append("first")

    background.do(first, lambda error: None)
    background.do(lambda: done.append("second"), lambda error: None)
    assert begun.wait(60)
    threading.Timer(0.05, may_go_on.set).start()
    background.close()
    assert done == ["first"]
    loop.close()


def test_a_defect_in_the_work_is_raised_in_the_loop(drivers):
    loop = Loop()
    background = Background(loop, drivers.start_thread)

    def break_off() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        do_all(loop, background, [break_off])
    background.close()
    loop.close()


def test_s28_one_failure_does_not_stop_the_others(drivers):
    drivers.server("a")
    _, stuck = drivers.stubborn("b")
    stuck.is_immortal = True
    drivers.server("c")
    outcomes = stop_containers(drivers, ["a", "b", "nobody", "c"], StopOptions(grace_s=0.1, kill_timeout_s=0.05))
    assert [type(outcome.error) for outcome in outcomes] == [type(None), StuckProcess, NotFound, type(None)]
    assert [drivers.store.find(name).status for name in "abc"] == [Status.STOPPED, Status.STOPPING, Status.STOPPED]


def test_s28_a_store_that_fails_ends_one_session_only(drivers, monkeypatch):
    failing, _ = drivers.server("a")
    drivers.server("b")
    modify = drivers.store.modify

    def broken(container_id, change, **more):
        if container_id == failing.id:
            raise StorageUnusable("disk full")
        return modify(container_id, change, **more)

    monkeypatch.setattr(drivers.store, "modify", broken)
    outcomes = stop_containers(drivers, ["a", "b"], StopOptions())
    assert isinstance(outcomes[0].error, StorageUnusable)
    assert outcomes[0].error.message == f"the stop of container a ({failing.id}) failed (requested): disk full"
    assert outcomes[1].error is None


def test_s26_outcomes_are_given_as_they_come(drivers):
    drivers.server("a")
    drivers.server("b")
    observed = Observed()
    stop_containers(drivers, ["a", "b"], StopOptions(), observed)
    assert observed.names_begun == ["a", "b"]
    assert sorted(observed.names_ended) == ["a", "b"]

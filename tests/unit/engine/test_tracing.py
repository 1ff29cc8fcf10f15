"""What a stop is told of its tracer, and what it has that do."""

from __future__ import annotations

from typing import Any

import pytest

from bento.drivers.tracer.base import AtExit, GaveUp, LetGo, Lost, Watched
from bento.drivers.tracer.messages import Release, Watch
from bento.engine.stop.tracing import TraceJob, Tracing
from bento.model.container import ProcessIdentity, Run
from bento.stop.actions import WatchInit
from bento.stop.inputs import InitGaveUp, InitLeaving, Input, Traced, TracerLost
from bento.testing.tracer import FakeTracer

INIT = ProcessIdentity(10, 20, "boot")


class One:
    """One tracer, as drivers and as a loop that is never run."""

    def __init__(self) -> None:
        self.fake = FakeTracer()
        self.fake.pid = 5
        self.told: list[Input] = []
        anything: Any = self
        self.tracing = Tracing(anything, anything, lambda: None)

    def tracer(self) -> FakeTracer:
        return self.fake

    def watch(self, fd: int, read: Any) -> None:
        self.read = read

    def unwatch(self, fd: int) -> None:
        self.read = None

    def job(self, init: ProcessIdentity = INIT) -> TraceJob:
        return self.tracing.job(Run(number=1, runtime="", init=init), self.told.append)


@pytest.fixture
def one():
    one = One()
    yield one
    one.tracing.close()


@pytest.mark.parametrize("lives", [True, False])
def test_one_that_is_let_go_alive_ends_what_was_held(one, lives):
    one.job().watch_init(WatchInit(True, False, ()), 15)
    one.fake.inject(Watched(job=1, pid=10), LetGo(job=1, pid=10, why="EIO", lives=lives))
    one.read()
    assert one.told == [Traced(""), *([TracerLost("EIO")] if lives else [])]
    assert (Release(job=1, keys=None) in one.fake.requests) == lives
    one.fake.inject(AtExit(job=1, pid=10, code=0, is_frozen=False))
    one.read()
    assert one.told[-1] == InitLeaving()


@pytest.mark.parametrize("by", [0, 1, 2])
def test_one_whose_neighbour_ends_the_tracer_before_its_answer_is_watched_by_the_next(one, by):
    one.job(ProcessIdentity(9, 20, "boot"))
    one.job().watch_init(WatchInit(True, False, ((12, 30),)), 15)
    first = list(one.fake.requests)
    assert [(type(request), request.pid) for request in first] == [(Watch, 12), (Watch, 10)]
    one.fake.inject(Lost(jobs=(1, 2), by=by))
    one.read()
    if by != 1:  # it may have been its own
        assert one.told == [TracerLost("the tracer ended")]
        assert one.fake.requests == first
        return
    assert one.told == []
    assert one.fake.requests == first * 2
    one.fake.inject(Watched(job=2, pid=10), Lost(jobs=(1, 2), by=by))
    one.read()
    assert one.told == [Traced(""), TracerLost("the tracer ended")]


def test_what_was_given_up_is_not_asked_for_again(one):
    one.job(ProcessIdentity(9, 20, "boot"))
    job = one.job()
    job.watch_init(WatchInit(True, False, ()), 15)
    job.let_go(None)
    requests = len(one.fake.requests)
    one.fake.inject(Lost(jobs=(2,), by=1))
    one.read()
    assert len(one.fake.requests) == requests


def test_a_tracer_ends_after_its_last_job_and_the_next_one_has_another(one):
    first, second = one.job(), one.job()
    first.watch_init(WatchInit(True, False, ()), 15)
    first.close()
    assert one.fake.requests[-1] == Release(job=1, keys=None)
    assert not one.fake.has_retired
    second.close()
    assert one.fake.has_retired
    assert one.read is None
    second.let_go(None)
    first.let_go(None)
    assert one.fake.requests[-1] == Release(job=1, keys=None)
    one.job().watch_init(WatchInit(True, False, ()), 15)
    assert one.read is not None
    one.fake.inject(Watched(job=3, pid=10))
    one.read()
    assert one.told == [Traced("")]


def test_only_the_stop_signal_of_pid_1_to_itself_is_passed_on(one):
    one.job().watch_init(WatchInit(True, False, ()), 15)
    one.fake.inject(Watched(job=1, pid=10), GaveUp(job=1, pid=10, number=1), GaveUp(job=1, pid=11, number=15))
    one.read()
    assert one.told == [Traced("")]
    one.fake.inject(GaveUp(job=1, pid=10, number=15))
    one.read()
    assert one.told == [Traced(""), InitGaveUp()]

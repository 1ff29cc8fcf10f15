"""The loop: descriptors, times, and what is put off to the next turn."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bento import clock
from bento.engine.base.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def test_alarms_ring_in_their_order_and_once(loop: Loop) -> None:
    rung: list[str] = []
    now_s = clock.mono_s()
    for name, after_s in (("late", 0.02), ("early", 0.01), ("never", 3600.0)):
        loop.alarm(lambda name=name: rung.append(name)).set(now_s + after_s)  # type: ignore[misc]
    while len(rung) < 2:
        loop.turn()
    assert rung == ["early", "late"]


def test_an_alarm_that_is_set_anew_rings_at_the_new_time_alone(loop: Loop) -> None:
    rung: list[str] = []
    now_s = clock.mono_s()
    earlier, later, off = (loop.alarm(lambda name=name: rung.append(name)) for name in ("earlier", "later", "off"))  # type: ignore[misc]
    for alarm in (earlier, later, off):
        alarm.set(now_s + 0.01)
    earlier.set(now_s)
    later.set(now_s + 0.03)
    off.set(None)
    loop.turn()
    assert rung == ["earlier"]
    while len(rung) < 2:
        loop.turn()
    assert rung == ["earlier", "later"]
    assert clock.mono_s() >= now_s + 0.03


def test_an_alarm_that_sets_itself_for_now_lets_others_have_their_turn(loop: Loop) -> None:
    rung: list[int] = []

    def again() -> None:
        rung.append(len(rung))
        alarm.set(0.0)

    alarm = loop.alarm(again)
    alarm.set(0.0)
    for _ in range(3):
        loop.turn()
    assert rung == [0, 1, 2]


def test_moving_an_alarm_later_again_and_again_keeps_one_place(loop: Loop) -> None:
    alarm = loop.alarm(lambda: None)
    for number in range(1000):
        alarm.set(clock.mono_s() + 10.0 + number)
    assert len(loop._heap) == 1


def test_what_is_put_off_is_done_in_the_next_turn_by_the_loop_itself(loop: Loop) -> None:
    done: list[str] = []

    def first() -> None:
        loop.soon(lambda: done.append("second"))
        done.append("first")

    loop.soon(first)
    loop.turn()
    assert done == ["first"]
    loop.turn()
    assert done == ["first", "second"]


def test_a_descriptor_that_was_closed_in_the_same_turn_is_not_handled(loop: Loop) -> None:
    handled: list[int] = []
    pipes = [os.pipe(), os.pipe()]
    readers = [reader for reader, _ in pipes]

    def handle(fd: int) -> None:
        handled.append(fd)
        for other in readers:
            loop.unwatch(other)

    for reader, writer in pipes:
        os.write(writer, b"x")
        loop.watch(reader, lambda fd=reader: handle(fd))  # type: ignore[misc]
    loop.turn()
    assert len(handled) == 1
    for fd in sum(pipes, ()):
        os.close(fd)

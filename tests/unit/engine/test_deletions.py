"""Deletes by the runtime, many with one process where it can: in a real loop, with a runtime that is a fake."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from bento.engine.base.loop import Loop
from bento.engine.stop import deletions
from bento.engine.stop.deletions import AT_ONCE, TOGETHER, Deletions
from bento.errors import RuntimeFailed
from bento.testing.runtime import DoneChild, FakeRuntime


class ManyRuntime(FakeRuntime):
    """Deletes many at once, but for those in ``stubborn``."""

    def __init__(self) -> None:
        super().__init__()
        self.stubborn: set[str] = set()
        self.error: Exception | None = None

    def begin_delete_many(self, container_ids: Sequence[str]) -> Any:
        if self.error is not None:
            raise self.error
        self.calls.append(("delete-many", " ".join(container_ids)))
        return DoneChild()

    def end_delete_many(self, child: Any, container_ids: Sequence[str]) -> list[str]:
        child.finish(1.0)
        return [one for one in container_ids if one in self.stubborn]


@pytest.fixture
def world(drivers):
    drivers.fake_runtime = ManyRuntime()
    loop = Loop()
    yield drivers.fake_runtime, Deletions(drivers, loop), loop
    loop.close()


def delete(world, ids):
    """Have these deleted; return the answers once all are there."""
    _, found, loop = world
    answers = {}
    for one in ids:
        found.delete("crun", one, lambda reason, later, one=one: answers.update({one: (reason, later)}))
    while len(answers) < len(ids):
        loop.turn()
    return answers


def test_the_first_go_at_once_and_those_that_wait_go_together(world):
    runtime = world[0]
    ids = [f"c{number}" for number in range(10)]
    assert delete(world, ids) == dict.fromkeys(ids, ("", False))
    assert runtime.calls[:AT_ONCE] == [("delete", "c0"), ("delete", "c1")]
    assert runtime.calls[AT_ONCE:] == [("delete-many", " ".join(ids[AT_ONCE:]))]


def test_no_process_deletes_more_than_its_share(world):
    ids = [f"c{number}" for number in range(AT_ONCE + TOGETHER + 3)]
    delete(world, ids)
    many = [words.split() for verb, words in world[0].calls if verb == "delete-many"]
    assert [len(found) for found in many] == [TOGETHER, 3]


def test_s28_one_that_cannot_be_deleted_is_deleted_by_itself_and_says_why(world):
    runtime = world[0]
    runtime.stubborn = {"c3"}
    ids = [f"c{number}" for number in range(5)]
    runtime.refusals = ["", "", "c3 is still running"]
    answers = delete(world, ids)
    assert answers == dict.fromkeys(ids, ("", False)) | {"c3": ("c3 is still running", True)}
    assert runtime.calls[-1] == ("delete", "c3")


def test_a_runtime_that_cannot_delete_many_deletes_each(drivers):
    loop = Loop()
    ids = ["a", "b", "c", "d"]
    assert delete((drivers.fake_runtime, Deletions(drivers, loop), loop), ids) == dict.fromkeys(ids, ("", False))
    assert drivers.fake_runtime.calls == [("delete", one) for one in ids]
    loop.close()


def test_what_cannot_be_begun_is_an_answer_for_each(world):
    world[0].error = RuntimeFailed("no more processes")
    ids = [f"c{number}" for number in range(5)]
    answers = delete(world, ids)
    assert [answers[one] for one in ids[AT_ONCE:]] == [("no more processes", False)] * 3


def test_one_that_hangs_keeps_nothing_else_waiting(world, monkeypatch):
    monkeypatch.setattr(deletions, "PATIENCE_S", 0.02)
    runtime, found, loop = world
    hung = [HangingChild(), HangingChild()]
    begun = iter(hung)
    monkeypatch.setattr(runtime, "begin_delete", lambda one: next(begun))
    answers: dict[str, str] = {}
    for one in ("a", "b", "c", "d"):
        found.delete("crun", one, lambda reason, later, one=one: answers.update({one: reason}))
    while answers != {"c": "", "d": ""}:
        loop.turn()
    found.close()
    found.close()
    assert all(child.is_killed for child in hung)


def test_nothing_is_told_of_one_that_was_forgotten(world):
    runtime, found, loop = world
    answers: list[str] = []
    for one in ("a", "b", "c", "d"):
        found.delete("crun", one, lambda reason, later, one=one: answers.append(one))
    found.forget("a")
    found.forget("c")
    while len(answers) < 2:
        loop.turn()
    assert sorted(answers) == ["b", "d"]
    assert ("delete", "d") in runtime.calls  # alone by then


class HangingChild(DoneChild):
    """A child that does not end."""

    def __init__(self) -> None:
        self._fd, self._writer = os.pipe2(os.O_CLOEXEC)
        self.is_killed = False

    def kill(self) -> None:
        if self._fd >= 0:
            os.close(self._writer)
        self.is_killed = True
        super().kill()

"""Waiting for the end of a container whose stop nothing finishes."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from bento.engine.events import waiting
from bento.engine.events.waiting import CONDITIONS
from bento.engine.lifecycle import reconcile, wait
from bento.errors import NotFound
from bento.model.container import Status
from bento.model.event import Deed, of_container


def test_s06_helpers_that_keep_dying_are_waited_for_longer_and_longer(drivers, monkeypatch):
    container = drivers.add("web", None, status=Status.STOPPING)
    paused_s: list[float] = []

    def sleep(pause_s: float) -> None:
        paused_s.append(pause_s)
        if len(paused_s) == 10:
            drivers.store.modify(container.id, lambda c: replace(c, status=Status.STOPPED))

    monkeypatch.setattr(time, "sleep", sleep)
    assert wait.wait_for_exit(drivers, container.id).status is Status.STOPPED
    assert paused_s == sorted(paused_s)
    assert (paused_s[0], paused_s[-1]) == (0.01, 1.0)
    assert drivers.detached  # another process was asked to finish it


@pytest.mark.parametrize("condition", CONDITIONS)
def test_one_that_is_removed_before_it_can_be_followed_has_the_code_of_the_log(drivers, monkeypatch, condition):
    container = drivers.add("web", None, status=Status.STOPPED)
    drivers.store.log([of_container(container, Deed(action="die", attributes={"exitCode": "9"}), 1)])

    def removed_meanwhile(_, found):
        drivers.store.remove(container.id)
        return found

    monkeypatch.setattr(reconcile, "current", removed_meanwhile)
    assert waiting.wait(drivers, "web", condition).exit_code == 9


def test_one_that_is_removed_and_never_ended_is_not_found(drivers, monkeypatch):
    container = drivers.add("web", None, status=Status.CREATED)
    drivers.store.remove(container.id)
    with pytest.raises(NotFound, match="removed before it had ended"):
        wait.wait_for(drivers, container)

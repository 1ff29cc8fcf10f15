"""Waiting for the end of a container whose stop nothing finishes."""

from __future__ import annotations

import time

from msgspec.structs import replace

from bento.engine.lifecycle import wait
from bento.model.container import Status


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

"""What the jobs of workers answer."""

from __future__ import annotations

from typing import cast

from bento.engine.base.worker import Message
from bento.engine.facade import EngineFacade
from bento.serving import jobs
from bento.testing.drivers import FakeDrivers
from bento.wiring import Engine


def test_each_name_of_a_removal_is_answered_for(drivers: FakeDrivers) -> None:
    box = drivers.add("web", None)
    found: list[Message] = []
    task = jobs.Remove(refs=("web", "nothing", box.id, "web"))
    jobs.do(cast("Engine", EngineFacade(drivers)), task, found.append)
    assert [(one.kind, one.code) for one in found] == [("ended", "")] + [("failed", "not-found")] * 3

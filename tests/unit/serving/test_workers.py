"""Workers: the next one is started once a job has had the CPUs to itself, and none after the end."""

from __future__ import annotations

import asyncio
import sys

import pytest

from bento.config import Settings
from bento.serving import workers
from bento.serving.jobs import Stop

WAITS = (sys.executable, "-I", "-S", "-c", "import os, sys\nwhile os.read(int(sys.argv[1]), 4096): pass")
"""To the end of its socket, as a worker without a job."""


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(workers, "NEXT_AFTER_S", 0.0)


def has_ready(one: workers.Workers) -> bool:
    return one._ready is not None


def test_the_next_worker_is_started_after_the_job_was_handed_over(soon):
    async def main() -> list[bool]:
        one = workers.Workers(Settings(), WAITS)
        worker = await one.hand_over(Stop(ref="web"))
        at_first = has_ready(one)
        await asyncio.sleep(0.001)  # the timer is due at once
        seen = [at_first, has_ready(one)]
        one.end()
        one._close(worker)
        await reaped(one)
        return [*seen, has_ready(one)]

    assert asyncio.run(main()) == [False, True, False]


def test_none_is_started_after_the_end(soon):
    async def main() -> bool:
        one = workers.Workers(Settings(), WAITS)
        worker = await one.hand_over(Stop(ref="web"))
        one.end()
        one._close(worker)
        await asyncio.sleep(0.001)  # the timer is due at once
        await reaped(one)
        return has_ready(one)

    assert not asyncio.run(main())


async def reaped(one: workers.Workers) -> None:
    async with asyncio.timeout(60):
        while one._children:
            await asyncio.sleep(0.001)

"""Some of ``make load`` in each run of the suite: idle streams, requests, clients that die in the middle."""

from __future__ import annotations

import asyncio

from load.loading import load
from load.world import World

from support.cli import BentoCli
from support.leaks import LeakWatch
from support.serving import serving
from support.workload import ONE_RUNTIME, assert_clean

pytestmark = ONE_RUNTIME


def test_streams_requests_and_clients_that_die_leave_nothing_and_harm_nothing(
    bento: BentoCli, leak_check: LeakWatch
) -> None:
    world = World(bento, leak_check.base)
    world.prepare()
    with serving(bento) as served:
        asyncio.run(load(world, served, 30, 100.0, 1.0, print, containers=2, rounds=1))
    world.remove_all()
    assert_clean(bento)

"""A server with many streams, under a steady rate of requests, and with clients that die: what it takes."""

from __future__ import annotations

from collections.abc import Callable

from load import figures, leaving
from load.rate import Rate
from load.streams import Streams
from load.world import World, check, gone, settled

from support.serving import Served

_THREADS_MORE = 24
"""So many threads of the pools may be made by what comes after the first requests; they stay."""


async def load(
    world: World, served: Served, count: int, rate: float, seconds: float, say: Callable[[str], object], *,
    containers: int = 8, rounds: int = 20,
) -> None:  # fmt: skip
    """Do it; tell of it. Raises Failed when something is harmed, or not let go of.

    ``count``: of streams; ``rate``: of requests, for so many ``seconds``; ``rounds``: of clients that die.
    """
    await world.start(served, containers)
    pid = served.process.pid
    say(f"begun: {figures.take(pid)}")
    await leaving.leave(served.path, world.names[0], 2)  # so that threads are there, and every module is loaded
    first = await settled(served, figures.take(pid))
    say(f"after some requests: {first}")
    streams = Streams(served.path, world.names)
    for _ in range(2):
        await streams.open(count)
        say(f"{count} streams: {figures.take(pid)}")
        await streams.close()
        say(f"closed: {await settled(served, first)}")
    await streams.open(count)
    requests = Rate(served.path, world.names)
    await requests.run(rate=rate, seconds=seconds)
    say(f"{rate:g} requests a second for {seconds:g} s beside them:\n{requests.summary()}")
    say(f"after them: {figures.take(pid)}")
    await streams.close()
    after = await settled(served, first)
    say(f"closed: {after}")
    check(after.threads <= first.threads + _THREADS_MORE, f"threads: {first.threads}, {after.threads}")
    alive = world.pids()
    await leaving.leave(served.path, world.names[0], rounds)
    last = await settled(served, after)
    gone(world)
    await leaving.nothing_of_them(served.path)
    check(world.pids() == alive, "a container was harmed by a client that has left")
    await leaving.leave_stops(served.path, world)
    say(f"after {rounds * len(leaving.KINDS)} clients that died: {last}")

"""Streams that stand open and say nothing: what Docker's clients leave open all day."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from load.client import LIMIT_S, Client, request

KINDS = ("events", "logs", "stats", "attach", "wait")


class Streams:
    """So many streams, of all kinds by turns. ``open``; ``close`` leaves them."""

    def __init__(self, path: Path, containers: Sequence[str], kinds: Sequence[str] = KINDS) -> None:
        self._path, self._containers, self._kinds = path, containers, kinds
        self.clients: list[Client] = []

    async def open(self, count: int, *, at_once: int = 20) -> None:
        """Open them; each has the head of its answer when this returns."""
        gate = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with gate, asyncio.timeout(LIMIT_S):
                self.clients.append(await self._open(number))

        await asyncio.gather(*(one(number) for number in range(count)))

    async def _open(self, number: int) -> Client:
        name = self._containers[number // len(self._kinds) % len(self._containers)]
        kind = self._kinds[number % len(self._kinds)]
        client = await Client(self._path).__aenter__()
        await client.send(_REQUESTS[kind](name))
        status, _ = await client.head()
        assert status in (101, 200), f"{kind}: {status}"
        return client

    async def close(self) -> None:
        """Leave them all."""
        for client in self.clients:
            client.writer.close()
        for client in self.clients:
            with suppress(OSError):
                await client.writer.wait_closed()
        self.clients = []


_REQUESTS = {
    "events": lambda name: request("GET", "/events?filters=%7B%22event%22%3A%5B%22pause%22%5D%7D"),
    "logs": lambda name: request("GET", f"/containers/{name}/logs?follow=1&stdout=1&stderr=1"),
    "stats": lambda name: request("GET", f"/containers/{name}/stats"),
    "attach": lambda name: request("POST", f"/containers/{name}/attach?stream=1&stdout=1&stderr=1", b"", upgrade=True),
    "wait": lambda name: request("POST", f"/containers/{name}/wait?condition=next-exit"),
}

"""Requests at a steady rate, whether answers come in time or not, as many clients at once would send them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from load.client import Client
from load.world import check

EVERY = 100
"""In so many requests there is one stop; the rest are pings, lists and inspections."""


_UNDER_WAY_MAX = 1000


class Rate:
    """Sends them; ``latencies_s`` by kind, and what was answered."""

    def __init__(self, path: Path, containers: Sequence[str]) -> None:
        self._path = path
        self._containers, self._stoppable = containers, list(containers)
        self._idle: list[Client] = []
        self._under_way = 0
        self.latencies_s: dict[str, list[float]] = {}
        self.answers: Counter[tuple[str, int]] = Counter()

    async def run(self, *, rate: float, seconds: float) -> None:
        """Send, and wait for the last answer. What is stopped is started again."""
        begun_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, begun_s + number / rate - time.monotonic()))
                check(
                    self._under_way < _UNDER_WAY_MAX, "the answers do not keep up: is the machine busy with other work?"
                )
                group.create_task(self._stop() if number % EVERY == EVERY - 1 else self._look(number))
        for client in self._idle:
            client.writer.close()

    async def _look(self, number: int) -> None:
        name = self._containers[number % len(self._containers)]
        kind, target = (
            ("ping", "/_ping"),
            ("list", "/v1.44/containers/json?all=1"),
            ("ping", "/_ping"),
            ("inspect", f"/v1.44/containers/{name}/json"),
        )[number % 4]
        status = await self._send(kind, "GET", target)
        check(status == 200, f"{kind}: {status}")

    async def _stop(self) -> None:
        if not self._stoppable:  # all are being stopped, or started
            return
        name = self._stoppable.pop(0)
        status = await self._send("stop", "POST", f"/containers/{name}/stop?t=30")
        check(status == 204, f"stop: {status}")
        status = await self._send("start", "POST", f"/containers/{name}/start")
        check(status == 204, f"start: {status}")
        self._stoppable.append(name)

    async def _send(self, kind: str, method: str, target: str) -> int:
        begun_s = time.monotonic()
        self._under_way += 1
        client = self._idle.pop() if self._idle else await Client(self._path).__aenter__()
        answer = await client.ask(method, target)
        self._under_way -= 1
        self.latencies_s.setdefault(kind, []).append(time.monotonic() - begun_s)
        self.answers[kind, answer.status] += 1
        self._idle.append(client)
        return answer.status

    def summary(self) -> str:
        """Return a line for each kind: how many, the median, the 99th of 100, the slowest."""
        lines = []
        for kind, found in sorted(self.latencies_s.items()):
            found.sort()
            shown = (found[len(found) // 2], found[len(found) * 99 // 100], found[-1])
            lines.append(f"  {kind:8} {len(found):6}  " + "  ".join(f"{1000 * each:8.1f} ms" for each in shown))
        return "\n".join(lines)

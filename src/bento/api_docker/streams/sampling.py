"""What containers take, for all clients that read it: one timer, and one sample of each container a second.

It runs while a client reads. A client that reads slowly misses samples, and holds up no other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Final

from bento import clock
from bento.engine.views.stats import Sampler
from bento.errors import BentoError, InternalError, as_bento_error
from bento.model.stats import ContainerStats
from bento.serving.engines import Engines
from bento.wiring import Engine

_INTERVAL_S: Final = 1.0


class _Followed:
    """One container: its last sample, and how many clients read it."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.readers = 0
        self.latest: ContainerStats | None = None
        self.number = 0  # of the latest sample
        self.error: BentoError | None = None
        self._news = asyncio.Event()

    def put(self, found: list[ContainerStats] | BentoError) -> None:
        """Let the readers go on: with a sample, or to their end, as the container is gone, or cannot be looked at."""
        if isinstance(found, BentoError):
            self.error = found
        else:
            self.latest = found[0] if found else None
            self.number += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def after(self, number: int) -> ContainerStats | None:
        """Return the first sample after that one, and no older one than the latest; None: there are no more."""
        while self.number == number and self.error is None:
            await self._news.wait()
        if self.error is not None:
            raise self.error
        return self.latest


def _taken(sampler: Sampler) -> list[ContainerStats] | BentoError:
    """Return a sample, or why there is none: the clients of other containers are to have theirs."""
    try:
        return sampler.sample()
    except (BentoError, OSError) as error:
        return as_bento_error(error)


class Sampling:
    """Made in the loop's thread."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._followed: dict[str, _Followed] = {}
        self._joined = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None

    @property
    def is_at_work(self) -> bool:
        """Whether a client reads."""
        return self._timer is not None

    async def follow(self, container_id: str, sampler: Sampler) -> AsyncGenerator[ContainerStats]:
        """Yield the latest sample of a container, or the first, and then each that comes, until the container is gone.

        ``sampler``: of that container, which is used where no other client reads it yet. Raises what sampling raises.
        """
        one = self._followed.setdefault(container_id, _Followed(sampler))
        one.readers += 1
        self._joined.set()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().create_task(self._run())
            self._timer.add_done_callback(self._end)
        try:
            number = max(0, one.number - 1)
            while (sample := await one.after(number)) is not None:
                number = one.number
                yield sample
        finally:
            self._leave(container_id, one)

    def _leave(self, container_id: str, one: _Followed) -> None:
        one.readers -= 1
        if not one.readers and self._followed.get(container_id) is one:
            del self._followed[container_id]
        if not self._followed:
            self.close()

    async def _run(self) -> None:
        due_mono_s = clock.mono_s()
        while True:
            is_due = clock.mono_s() >= due_mono_s
            if is_due:
                due_mono_s = clock.mono_s() + _INTERVAL_S  # what is late is not made up for
            self._joined.clear()
            await self._sample([one for one in self._followed.values() if is_due or not one.number])
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due_mono_s - clock.mono_s())):
                    await self._joined.wait()

    async def _sample(self, wanted: list[_Followed]) -> None:
        if not wanted:
            return

        def take(_: Engine) -> list[list[ContainerStats] | BentoError]:
            return [_taken(one.sampler) for one in wanted]

        found: Sequence[list[ContainerStats] | BentoError]
        try:
            found = await self._engines.ask(take)
        except (BentoError, OSError) as error:  # no engine can be had
            found = [as_bento_error(error)] * len(wanted)
        for one, samples in zip(wanted, found, strict=True):
            one.put(samples)

    def _end(self, timer: asyncio.Task[None]) -> None:
        """Let no reader wait for a timer that has met a defect."""
        if not timer.cancelled() and (error := timer.exception()) is not None:
            self.close()
            for one in self._followed.values():
                one.put(InternalError(f"{type(error).__name__}: {error}"))

    def close(self) -> None:
        """Take no more samples. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

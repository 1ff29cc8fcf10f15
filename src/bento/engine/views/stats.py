"""``stats``: what containers take of the machine, sampled by one timer for all; no process, and nothing that stays."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bento import clock
from bento.errors import NotFound
from bento.model.stats import ContainerStats, Usage

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container


class Sampler:
    """Takes samples of these containers, or of those that run, which may be others each time; or of all.

    Never waits for anything; for a server's own timer. It keeps the last sample of each container, for the next one.
    """

    def __init__(self, drivers: Drivers, ids: Sequence[str] = (), *, is_all: bool = False) -> None:
        self._drivers, self._ids, self._is_all = drivers, tuple(ids), is_all
        self._last: dict[tuple[str, int], Usage] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """The containers that were named; (): those that run."""
        return self._ids

    @property
    def is_of_named(self) -> bool:
        """Whether it is of containers that were named, and not of those that run."""
        return bool(self._ids)

    def sample(self) -> list[ContainerStats]:
        """Return a sample of each, in the order they were named in, else the newest first. Those gone are left out."""
        machine = self._drivers.usage.machine()
        last, self._last = self._last, {}
        found = []
        for container in self._containers():
            run = container.run if container.status.is_live else None
            usage = self._drivers.usage.sample(run, machine) if run is not None else None
            key = (container.id, run.number if run is not None else 0)
            if usage is not None:
                self._last[key] = usage
            if usage is not None or self._is_all or self._ids:
                found.append(ContainerStats(id=container.id, name=container.name, now=usage, before=last.get(key)))
        return found

    def _containers(self) -> Iterator[Container]:
        if not self._ids:
            yield from self._drivers.store.list()
            return
        for container_id in self._ids:
            try:
                yield self._drivers.store.get(container_id)
            except NotFound:  # removed meanwhile
                continue


def every(sampler: Sampler, interval_s: float) -> Iterator[list[ContainerStats]]:
    """Yield a sample now and after each interval. Blocks between them. Ends where all that were named are gone."""
    due_mono_s = clock.mono_s()
    while (found := sampler.sample()) or not sampler.is_of_named:
        yield found
        due_mono_s = max(due_mono_s + interval_s, clock.mono_s())  # what is late is not made up for
        time.sleep(max(0.0, due_mono_s - clock.mono_s()))

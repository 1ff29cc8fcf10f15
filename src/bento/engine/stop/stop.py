"""``stop``: any number of containers in one loop, each driven by its machine, in their order (rules S26 - S28).

If a driver dies, its locks go with it, and the next command that meets the container goes on from the journal (rule
S6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bento import clock
from bento.engine.base.loop import Loop
from bento.engine.base.order import Schedule
from bento.engine.base.outcome import StopObserver, StopOutcome
from bento.engine.stop.batch import StopBatch
from bento.engine.stop.container_stop import ContainerStop
from bento.engine.stop.hooks import check_hooks
from bento.engine.stop.request import StopOptions
from bento.model.container import Container, Status

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


class Stopper:
    """Drives and joins stops until all have ended. Use ``stop_containers``."""

    def __init__(
        self,
        drivers: Drivers,
        observer: StopObserver | None = None,
    ) -> None:
        self.loop = Loop()
        self.stops: list[ContainerStop] = []
        self._batch = StopBatch(drivers, self.loop, observer or StopObserver())
        self._open = 0  # those without an outcome
        self._waiting: dict[str, list[ContainerStop]] = {}  # by container, those whose dependants have not all ended
        self._ready: deque[ContainerStop] = deque()
        self._is_taking = False

    def add(self, refs: Sequence[str], options: StopOptions, *, only_if: Status | None = None) -> None:
        """Begin, resume or join the stops of containers, those first that others do not require; ``run`` goes on.

        Once only. Errors become outcomes (rules S27, S28). ``only_if``: WrongState for those in another state once
        they can be looked at. Raises UsageError for a hook that cannot be run.
        """
        check_hooks((*options.pre_stop, *options.post_stop))
        self._batch.options, self._batch.only_if = options, only_if
        for ref in refs:
            self._add(ref).find(ref)
        found = [stop for stop in self.stops if stop.outcome is None]
        requires = {stop.container_id: stop.requires for stop in found}
        self._batch.schedule = schedule = Schedule(requires, total_s=options.total_s, now_s=clock.mono_s())
        for stop in found:
            self._waiting.setdefault(stop.container_id, []).append(stop)
        self._release(schedule.first())
        self._ask_waiting()
        self._take_ready()

    def settle(self, container: Container) -> None:
        """Release what a container held that has ended by itself; skip it when another process is at it."""
        stop = self._add(container.name)
        if not stop.settle(container):
            self.stops.remove(stop)
            self._open -= 1

    def _add(self, name: str) -> ContainerStop:
        stop = ContainerStop(self._batch, name, self._ended)
        self.stops.append(stop)
        self._open += 1
        return stop

    def _release(self, container_ids: Iterable[str]) -> None:
        for container_id in container_ids:
            self._ready.extend(stop for stop in self._waiting.pop(container_id, ()) if stop.outcome is None)

    def _ask_waiting(self) -> None:
        """Record of those whose turn comes later that they are to be stopped, before any is (rule S4)."""
        self._is_taking = True
        for stop in [one for waiting in self._waiting.values() for one in waiting]:
            stop.ask()
        self._is_taking = False

    def _take_ready(self) -> None:
        """Take every stop whose dependants have all ended, well or badly; those that end at once release others."""
        if self._is_taking:
            return
        self._is_taking = True
        try:
            while self._ready:
                self._ready.popleft().take()
        finally:
            self._is_taking = False

    def _ended(self, stop: ContainerStop) -> None:
        self._open -= 1
        schedule = self._batch.schedule
        if schedule is not None and stop.container_id:
            self._release(schedule.after(stop.container_id))
            self._take_ready()

    def run(self) -> list[StopOutcome]:
        """Block until every stop has its outcome; return them in the order they were added."""
        try:
            while self._open:
                self.loop.turn()
        finally:
            self.close()
        return [stop.outcome for stop in self.stops if stop.outcome]

    def close(self) -> None:
        """Let go of everything. Stops that have not ended are left to the next command that meets them."""
        for stop in self.stops:
            stop.close()
        self._batch.close()
        self.loop.close()


def stop_containers(
    drivers: Drivers,
    refs: Sequence[str],
    options: StopOptions,
    observer: StopObserver | None = None,
) -> list[StopOutcome]:
    """Stop containers, all together; return an outcome for each, in order. Blocks until the last has ended.

    ``observer`` is called meanwhile; without one, notices are logged as warnings.
    """
    stopper = Stopper(drivers, observer)
    stopper.add(refs, options)
    return stopper.run()

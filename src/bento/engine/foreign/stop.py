"""``stop`` of what Bento has not made: any number in one loop, by the same machine.

Nothing of it is written down but its report: a stop whose process was killed is not gone on with. What was held goes
on then, and the engine's own stop, a process of its own, ends the container.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from bento import clock
from bento.engine.base.loop import Loop
from bento.engine.base.outcome import StopObserver, StopOutcome, StopProgress
from bento.engine.foreign.find import Found, find, is_paused
from bento.engine.foreign.request import check_options, own_request, with_margin
from bento.engine.foreign.target import ForeignTarget
from bento.engine.stop.batch import StopBatch
from bento.engine.stop.driver import StopDriver
from bento.engine.stop.hooks import check_hooks
from bento.engine.stop.join import Joiner, JoinServer
from bento.engine.stop.request import deadline_of
from bento.errors import BentoError, Conflict, ForeignEngineFailed, WrongState, as_bento_error
from bento.files.tree import remove_tree
from bento.locks import ContainerLocks
from bento.model.stop import OnPaused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bento.engine.base.drivers import Drivers
    from bento.engine.foreign.names import ForeignName
    from bento.engine.stop.request import StopOptions
    from bento.locks import Lock
    from bento.model.stop import StopRequest

_AGAIN_S = 0.02
_JOIN_LIMIT_S = 5.0


class ForeignStop:
    """One of them, on its way to its outcome."""

    def __init__(self, batch: StopBatch, wanted: ForeignName, on_end: Callable[[], None]) -> None:
        self.wanted = wanted
        self.outcome: StopOutcome | None = None
        self._batch, self._drivers, self._loop, self._on_end = batch, batch.drivers, batch.loop, on_end
        self._locks = locks_of(batch.drivers)
        self._found: Found | None = None
        self._lock: Lock | None = None
        self._driver: StopDriver | None = None
        self._server: JoinServer | None = None
        self._joiner: Joiner | None = None
        self._again = self._loop.alarm(self._attempt)
        self._until_s = 0.0
        self._is_begun = False

    @property
    def name(self) -> str:
        """As it is called in messages."""
        return self._found.name if self._found is not None else str(self.wanted)

    def find(self) -> ForeignEngineFailed | None:
        """Look it up; an error is its outcome, and returned where the engine gave no answer."""
        self._report_phase("waiting")
        try:
            self._found = find(self._drivers, self.wanted)
        except (BentoError, OSError) as error:
            self.fail(as_bento_error(error))
            return error if isinstance(error, ForeignEngineFailed) else None
        return None

    def take(self) -> None:
        """Begin it, or join the stop that another process drives."""
        self._until_s = clock.mono_s() + _JOIN_LIMIT_S
        self._attempt()

    def _attempt(self) -> None:
        if self.outcome is not None or self._found is None:
            return
        try:
            if not self._take(self._found):
                if clock.mono_s() > self._until_s:
                    raise Conflict(f"another process stops {self.name}, and does not answer")
                self._again.set(clock.mono_s() + _AGAIN_S)
        except (BentoError, OSError) as error:
            self.fail(as_bento_error(error))

    def _take(self, found: Found) -> bool:
        self._lock = self._locks.try_stop(found.key)
        directory = self._drivers.run_root / "foreign" / "stops" / found.key
        request = own_request(self._drivers, found, self._batch.options)
        if self._lock is None:
            moved = deadline_of(request, self._batch.options)
            self._joiner = Joiner.connect(directory, self._loop, moved, self)
            if self._joiner is not None:
                self._begun("joined")
            return self._joiner is not None
        self._batch.check_room(self.name)
        if not self._may_be_paused(found, request) and is_paused(self._drivers, found):
            raise _paused(found)
        target = ForeignTarget(self._drivers, found, request, directory, watcher=self._loop)
        self._driver = driver = StopDriver(target, self._batch, on_end=lambda: self._loop.soon(self._take_outcome))
        self._batch.driven += 1
        self._server = JoinServer(directory, self._loop, driver)
        driver.begin(with_margin(request, kills=found.engine is not None and found.engine.kills))
        self._begun()
        return True

    def _may_be_paused(self, found: Found, request: StopRequest) -> bool:
        """Whether it is stopped all the same: never behind its engine's back, of which some stop nothing paused."""
        return found.engine is None and request.on_paused is not OnPaused.REFUSE

    # -- joining ----------------------------------------------------------------------------------

    def joined_ended(self) -> None:
        """See JoinEvents."""
        self._loop.soon(self._take_outcome)

    def joined_lost(self) -> None:
        """See JoinEvents. Look for ourselves: it may be gone by now."""
        self._joiner = None
        self._loop.soon(self._look_again)

    def joined_silent(self) -> None:
        """See JoinEvents. It is not ended: what it has begun is not written down, and could not be gone on with."""
        if self._joiner is not None:
            self.fail(Conflict(f"process {self._joiner.driver_pid}, which stops {self.name}, does not answer"))

    def _look_again(self) -> None:
        self.find()
        self.take()

    # -- progress and end -------------------------------------------------------------------------

    def _report_phase(self, phase: str) -> None:
        self._batch.observer.phase(StopProgress(self.name, phase))

    def _begun(self, phase: str = "") -> None:
        if phase:
            self._report_phase(phase)
        if not self._is_begun:
            self._batch.observer.begun(self.name)
        self._is_begun = True

    def _take_outcome(self) -> None:
        ending = self._driver or self._joiner
        if ending is not None and ending.outcome is not None:
            self._end(ending.outcome)

    def fail(self, error: BentoError) -> None:
        """End with an error."""
        identity = self._found.container.id if self._found is not None else ""
        self._end(StopOutcome(id=identity, name=self.name, error=error))

    def _end(self, outcome: StopOutcome) -> None:
        if self.outcome is not None:
            return
        self.outcome = outcome
        if self._server is not None:
            self._server.publish(outcome)
        self.close()
        self._batch.observer.outcome(outcome)
        self._on_end()

    def close(self) -> None:
        """Let go of it; what was held goes on. Idempotent."""
        self._again.set(None)
        self._batch.driven -= self._driver is not None
        for part in (self._server, self._driver, self._joiner):
            if part is not None:
                part.close()
        if self._lock is not None and self._found is not None:
            with suppress(OSError):
                remove_tree(self._drivers.run_root / "foreign" / "stops" / self._found.key)
            self._lock.release()
        self._server = self._driver = self._joiner = self._lock = None


def _paused(found: Found) -> WrongState:
    pid = found.run.init.pid if found.run.init else 0
    if found.engine is not None:
        program, unpause = ("ctr", "tasks resume") if not found.engine.kills else (found.engine.name, "unpause")
        hint = f"use: {program} {unpause} {found.name}; to kill it as it is: stop --force --pid {pid}"
    else:
        hint = f"thaw it first, or use: stop --paused thaw --pid {pid}"
    return WrongState(f"{found.name} is paused and would not get the signal", hint=hint)


def locks_of(drivers: Drivers) -> ContainerLocks:
    """Return the locks of stops of what Bento has not made."""
    return ContainerLocks(drivers.run_root / "foreign", drivers.verb)


def _sweep(drivers: Drivers) -> None:
    """Remove what stops that were killed have left."""
    directory, locks = drivers.run_root / "foreign" / "stops", locks_of(drivers)
    with suppress(OSError):
        for key in os.listdir(directory):
            if (lock := locks.try_stop(key)) is not None:
                with lock, suppress(OSError):
                    remove_tree(directory / key)


def stop_foreign(
    drivers: Drivers, wanted: Sequence[ForeignName], options: StopOptions, observer: StopObserver | None = None
) -> list[StopOutcome]:
    """Stop what Bento has not made, all together; return an outcome for each, in order. Blocks until all have ended.

    One that cannot be stopped stops no other. Raises UsageError for options that are of no use here.
    """
    check_hooks((*options.pre_stop, *options.post_stop))
    for is_engines in {bool(each.engine) for each in wanted}:
        check_options(options, is_engines=is_engines)
    _sweep(drivers)
    loop = Loop()
    batch = StopBatch(drivers, loop, observer or StopObserver())
    batch.options = options
    left = len(wanted)

    def ended() -> None:
        nonlocal left
        left -= 1

    stops = [ForeignStop(batch, each, ended) for each in wanted]
    try:
        if any(each.engine for each in wanted):
            with suppress(BentoError):  # it gets ready while the engine is asked; what fails is met again
                batch.tracing.tracer()
        silent: dict[str, ForeignEngineFailed] = {}
        for stop in stops:  # all are asked for first: an engine's answer takes a while, in which none that runs waits
            if (error := silent.get(stop.wanted.engine)) is not None:
                stop.fail(error)
            elif (failed := stop.find()) is not None:
                silent[stop.wanted.engine] = failed
        for stop in stops:
            if stop.outcome is None:
                stop.take()
        while left:
            loop.turn()
    finally:
        for stop in stops:
            stop.close()
        batch.close()
        loop.close()
    return [stop.outcome for stop in stops if stop.outcome is not None]

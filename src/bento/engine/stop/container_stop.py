"""One container of a stop: it is driven here, or joined when another process drives it already.

The process that gets a container's stop lock drives its stop; later ones join over the driver's
socket (``join``). The container's own lock is held only while the stop is decided on, never while
it is waited for (rule S5).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock
from bento.engine.base import freezing, holdup, place
from bento.engine.base.exit_owner import claim
from bento.engine.base.liveness import recover_start
from bento.engine.base.outcome import StopOutcome, StopProgress
from bento.engine.stop import preconditions
from bento.engine.stop.batch import StopBatch
from bento.engine.stop.driver import StopDriver
from bento.engine.stop.erase import delete_abandoned_run, erase, remove_left_run_dir
from bento.engine.stop.join import Joiner, JoinServer
from bento.engine.stop.request import deadline_of, request_for, with_own_signal
from bento.engine.stop.target import OwnContainer
from bento.errors import AlreadyStopped, BentoError, Conflict, NotFound, StuckProcess, WrongState, as_bento_error
from bento.lazy import LazyModule
from bento.model.container import SD_NOTIFY, Container, Status
from bento.model.stop import SignalFrom, StopReport, StopRequest
from bento.units import NO_LIMIT

if TYPE_CHECKING:
    from bento.engine.resources import extending
    from bento.locks import Lock
    from bento.model.container import ProcessIdentity
    from bento.stop.inputs import DeadlineMoved
else:  # few programs ask for more time
    extending = LazyModule("bento.engine.resources.extending")


_PAUSE_S = 0.001  # doubled each time
_PAUSE_MAX_S = 0.05
_DRIVER_DIES_S = 10.0  # unless it hangs in the kernel


class ContainerStop:
    """One container on its way to its outcome; ``on_end`` is called when it has that."""

    def __init__(self, batch: StopBatch, name: str, on_end: Callable[[ContainerStop], None]) -> None:
        self.name = name
        self.container_id = ""
        self.requires: tuple[str, ...] = ()
        self.driver: StopDriver | None = None
        self.outcome: StopOutcome | None = None
        self._batch, self._drivers, self._loop, self._on_end = batch, batch.drivers, batch.loop, on_end
        self._lock: Lock | None = None
        self.server: JoinServer | None = None
        self.joiner: Joiner | None = None
        self._extensions: extending.Extensions | None = None
        self._alarm = self._loop.alarm(self._attempt)  # to try again what is not free yet
        self._patience = self._loop.alarm(self._succeed)  # with a driver that does not answer
        self._pause_s = _PAUSE_S
        self._asked_s = clock.mono_s()
        self._operation_holdup, self._driver_holdup = self._holdups()
        self._moved: DeadlineMoved | None = None  # what was asked of the driver that was joined
        self._is_begun = False
        self._note = ""  # of how this process came to drive the stop

    def find(self, ref: str) -> None:
        """Look the container up; an error is its outcome."""
        try:
            container = self._drivers.store.find(ref)
        except BentoError as error:
            self.end(StopOutcome(id="", name=ref, error=error))
            return
        try:
            place.refuse_elsewhere(self._drivers, container)
        except (BentoError, OSError) as error:
            self.end(StopOutcome(id=container.id, name=container.name, error=as_bento_error(error)))
            return
        self.name, self.container_id, self.requires = container.name, container.id, container.spec.requires
        self._report_phase("waiting")

    def ask(self) -> None:
        """Record that its stop was asked for, whose turn comes later; refuse now what would be refused then."""
        try:
            container = self._drivers.store.get(self.container_id)
            if container.status is not Status.RESTARTING:
                preconditions.refuse_if_not_running(self._drivers, container, self._batch.options)
            preconditions.record_intent(self._drivers, container, self._batch.options)
            self._begun()
        except (BentoError, OSError) as error:
            self._end_with(as_bento_error(error))

    def take(self) -> None:
        """Begin, resume or join the stop; an error is its outcome. What is not free yet is tried again by the loop."""
        self._asked_s = clock.mono_s()
        self._operation_holdup, self._driver_holdup = self._holdups()
        self._attempt()

    def _attempt(self) -> None:
        try:
            if not self._take():
                self._pause_s = min(2 * self._pause_s, _PAUSE_MAX_S)
                self._alarm.set(clock.mono_s() + self._pause_s)
        except (AlreadyStopped, NotFound) as error:
            if self._moved is None:
                self._end_with(error)
            else:  # it was joined, and ended just before that could be answered
                self.end(StopOutcome(id=self.container_id, name=self.name, report=self._last_report()))
        except (BentoError, OSError) as error:
            self._end_with(as_bento_error(error))

    def _holdups(self) -> tuple[holdup.Holdup, holdup.Holdup]:
        """The holders of the two locks, while those are wanted here."""
        locks = self._drivers.locks
        return (
            holdup.Holdup(self._drivers, self.name, lambda: locks.holder(self.container_id), self._notice),
            holdup.Holdup(self._drivers, self.name, lambda: locks.stop_holder(self.container_id), self._notice),
        )

    def _limit_s(self) -> float | None:
        """Return when this stop would kill, had it not been kept waiting; None: never, or it was not asked for."""
        request = self._request(self._drivers.store.get(self.container_id))
        if self._batch.only_if is not None or request.grace_s == NO_LIMIT:
            return None
        return self._asked_s + (0.0 if request.is_sigkill else request.grace_s)

    def settle(self, container: Container) -> bool:
        """Release what a container held that has ended by itself; False when another process is at it."""
        self.container_id = container.id
        self._lock = self._drivers.locks.try_stop(container.id)
        if self._lock is None:
            return False
        try:
            self._batch.check_room(self.name)
            fresh = self._drivers.store.get(container.id)
            if fresh.status is container.status and fresh.run == container.run:
                self._drive(recover_start(self._drivers, fresh), lambda driver: driver.settle(), is_asked=False)
            else:  # settled by another process, and maybe started again: that is another run, which lives
                self._end_with(None)
        except (BentoError, OSError) as error:  # such as that it was removed meanwhile
            self._end_with(as_bento_error(error))
        return True

    # -- taking, resuming -----------------------------------------------------------------------------

    def _take(self) -> bool:
        """Take it, or say that it is not free yet. Raises what makes it impossible."""
        self._lock = self._lock or self._drivers.locks.try_stop(self.container_id)
        if self._lock is None:
            return self._join()
        try:
            operation = self._drivers.locks.hold(self.container_id, 0.0)
        except Conflict:
            self._operation_holdup.look(self._limit_s())
            return False
        with operation:
            self._batch.check_room(self.name)
            container = recover_start(self._drivers, self._drivers.store.get(self.container_id))
            only_if = self._batch.only_if
            if only_if is not None and container.status is not only_if:
                raise WrongState(f"container {container.name} is {container.status.value}")
            request = self._request(container)
            if container.status is Status.STARTING:  # its start died: there is no program to be signalled
                request = replace(request, grace_s=0.0)
            if container.status is Status.RESTARTING:
                preconditions.call_off_restart(self._drivers, container, self._batch.options)
                self._begun()
                self._end_with(None)
                return True
            try:
                preconditions.refuse_if_not_running(self._drivers, container, self._batch.options)
            except AlreadyStopped:
                if not delete_abandoned_run(self._drivers, container):
                    remove_left_run_dir(self._drivers, container)
                raise
            freezing.lift(self._drivers, container)
        # The stop lock is held from here on, the other one is not: the driver takes it for the record.
        if container.intent is not None:
            intent = container.intent
            self._report_ignored_options(container)
            self._drive(container, lambda driver: driver.resume(intent, self._note))
            if self.driver is not None:
                self.driver.feed(self._moved or deadline_of(request, self._batch.options))
        else:
            request = self._with_own_signal(container, request)
            self._drive(container, lambda driver: driver.begin(request))
        return True

    def _request(self, container: Container) -> StopRequest:
        request = request_for(container, self._batch.options, self._drivers.settings)
        schedule = self._batch.schedule
        if schedule is None:
            return request
        return replace(request, grace_s=schedule.grace_s(container.id, request.grace_s, clock.mono_s()))

    def _with_own_signal(self, container: Container, request: StopRequest) -> StopRequest:
        """Let the program choose the signal, where that was asked for (rule S30)."""
        run, processes = container.run, self._drivers.processes_for(container)
        if run is None or request.signal_from is not SignalFrom.AUTO:
            return request
        return with_own_signal(request, lambda number: processes.look(run, number), processes)

    def _drive(self, container: Container, begin: Callable[[StopDriver], None], *, is_asked: bool = True) -> None:
        driver = StopDriver(OwnContainer(self._drivers, container), self._batch, on_end=self._ended_soon)
        self.driver = driver
        self._batch.driven += 1
        self.server = JoinServer(self._drivers.run_dir(container.id), self._loop, driver)
        spec = container.spec
        if spec.sdnotify == SD_NOTIFY[0] and is_asked:
            self._extensions = extending.Extensions(
                self._drivers.run_dir(container.id), self._loop, state=lambda: driver.state, feed=driver.feed
            )
        if spec.auto_remove:
            driver.has_exit_owner = claim(self._drivers, container.id)
        elif is_asked and spec.restart.name != "no":
            claim(self._drivers, container.id)  # spares the monitor, and so the stop, a helper with nothing to do
        begin(driver)
        self._begun()

    # -- joining --------------------------------------------------------------------------------------

    def _join(self) -> bool:
        container = preconditions.record_joined_intent(self._drivers, self.container_id)
        if container.status is not Status.RESTARTING:  # its recorder is about to let go: then it is called off
            self._moved = self._moved or deadline_of(self._request(container), self._batch.options)
            self.joiner = Joiner.connect(self._drivers.run_dir(container.id), self._loop, self._moved, self)
        if self.joiner is None:
            self._driver_holdup.look(self._limit_s())  # it has the lock, and does not listen
            return False
        self._report_ignored_options(container)
        self._begun()
        self._report_phase("joined")
        return True

    def _report_ignored_options(self, container: Container) -> None:
        """Say once what the caller has named that the stop under way does not take over."""
        if not self._is_begun and (text := preconditions.ignored_options(container, self._batch.options)):
            self._notice(text)

    def joined_ended(self) -> None:
        """See JoinEvents."""
        self._ended_soon()

    def joined_lost(self) -> None:
        """See JoinEvents. Look for ourselves."""
        self.joiner = None
        self._patience.set(None)
        self.take()

    def joined_silent(self) -> None:
        """See JoinEvents. It may have its time until the deadline that was asked for, or the stop's own, has passed."""
        if self.joiner is None:
            return
        self._notice(f"process {self.joiner.driver_pid}, which drives the stop of {self.name}, does not answer")
        limits = [self._moved.deadline_s] if self._moved is not None else []
        with suppress(NotFound):
            intent = self._drivers.store.get(self.container_id).intent
            if intent is not None and intent.deadline_boot_s is not None:
                limits.append(intent.deadline_boot_s - clock.boot_s() + clock.mono_s())
        self._patience.set(min((limit for limit in limits if limit is not None), default=None))

    def _succeed(self) -> None:
        """End a driver that does not answer; the end of its connection is the sign to go on without it."""
        joiner = self.joiner
        if joiner is None or joiner.is_taken:
            return
        if self._note:
            self._end_with(StuckProcess(f"process {joiner.driver_pid}, which stops {self.name}, survives SIGKILL"))
            return
        pid, holder = joiner.driver_pid, self._drivers.locks.stop_holder(self.container_id)
        is_own = holder is not None and bool(holder.verb) and holder.process.pid == pid != os.getpid()
        if holder is None or not is_own or not self._end_driver(holder.process):
            error = f"container {self.name} is being stopped by process {pid}, which does not answer"
            hint = f"continue it (kill -CONT {pid}), or end it yourself"
            self._end_with(Conflict(f"{error} and is not Bento's to end", hint=hint))
            return
        self._note = f"process {joiner.driver_pid}, which drove this stop, did not answer and was ended"
        self._notice(f"{self._note}: going on with the stop of {self.name}")
        self._patience.set(clock.mono_s() + _DRIVER_DIES_S)

    def _end_driver(self, process: ProcessIdentity) -> bool:
        return holdup.end(self._drivers, process, self._notice, of_runtime=True)  # its hooks go on: they are run once

    def _last_report(self) -> StopReport | None:
        try:
            return self._drivers.store.get(self.container_id).report
        except NotFound:  # a --rm container
            return None

    # -- progress and end ------------------------------------------------------------------------------

    def _notice(self, text: str) -> None:
        self._batch.observer.notice(text)

    def _report_phase(self, phase: str) -> None:
        self._batch.observer.phase(StopProgress(self.name, phase))

    def _begun(self) -> None:
        """The stop is recorded, or joined: it happens now, whatever becomes of this process."""
        if not self._is_begun:
            self._batch.observer.begun(self.name)
        self._is_begun = True

    def _ended_soon(self) -> None:
        """StopDriver or joiner have the outcome. They are still in the middle of a call: it is taken up later."""
        self._loop.soon(self._take_outcome)

    def _take_outcome(self) -> None:
        ending = self.driver or self.joiner
        if ending is None or ending.outcome is None:
            return
        driver, outcome = self.driver, ending.outcome
        if driver is None or not driver.has_exit_owner or outcome.error is not None:
            self.end(outcome)
            return
        # A --rm container: its files may be many.
        self._batch.background.do(
            lambda: self._delete(driver.run.number),
            lambda error: self.end(outcome if error is None else outcome.failed(error)),
        )

    def _end_with(self, error: BentoError | None) -> None:
        self.end(StopOutcome(id=self.container_id, name=self.name, error=error))

    def end(self, outcome: StopOutcome) -> None:
        """Take the outcome, and report it to those that wait for it."""
        self.outcome = outcome
        if self.server is not None:
            self.server.publish(outcome)
        self.close()
        self._batch.observer.outcome(outcome)
        self._on_end(self)

    def _delete(self, run_number: int) -> None:
        """Remove a ``--rm`` container that has ended, unless it was started again already. Not for the loop: blocks."""
        lock = holdup.hold(self._drivers, self.container_id, self.name, self._notice)
        with suppress(NotFound), lock:
            now = self._drivers.store.get(self.container_id)
            if not now.status.is_live and now.run is not None and now.run.number == run_number:
                erase(self._drivers, now)

    def close(self) -> None:
        """Let go of it. A stop that has not ended is left to the next command that meets it. Idempotent."""
        self._alarm.set(None)
        self._patience.set(None)
        self._batch.driven -= self.driver is not None
        for part in (self._extensions, self.server, self.driver, self.joiner):
            if part is not None:
                part.close()
        if self._lock is not None:
            self._lock.release()
        self._extensions = self.server = self.driver = self.joiner = self._lock = None

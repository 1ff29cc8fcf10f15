"""One container of a stop: it is driven here, or joined when somebody else drives it already.

Who gets a container's stop lock drives its stop; whoever comes later joins over the driver's
socket (``join``). The container's own lock is held only while the stop is decided on, never while
it is waited for (rule S5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock
from bento.engine.adopt import adopt
from bento.engine.erase import attend, erase
from bento.engine.join import Joiner, JoinServer
from bento.engine.outcome import StopOutcome, StopProgress
from bento.engine.parts import LOCK_TIMEOUT_S
from bento.engine.releases import Releases
from bento.engine.request import StopOptions, deadline_of, request_for
from bento.engine.session import Session
from bento.errors import AlreadyStopped, BentoError, NotFound, WrongState, as_bento_error
from bento.kernel.tree import remove_tree
from bento.model.container import Container, Status
from bento.model.stop import AskedBy, OnPaused, StopReport, StopRequest

if TYPE_CHECKING:
    from bento.engine.loop import Loop
    from bento.engine.order import Schedule
    from bento.engine.parts import Parts
    from bento.locks import Lock


class Call:
    """What all containers of one call have in common."""

    def __init__(
        self,
        parts: Parts,
        loop: Loop,
        *,
        on_begun: Callable[[str], None] | None = None,
        on_outcome: Callable[[StopOutcome], None] | None = None,
        on_phase: Callable[[StopProgress], None] | None = None,
    ) -> None:
        self.parts, self.loop = parts, loop
        self.on_begun, self.on_outcome, self.on_phase = on_begun, on_outcome, on_phase
        self.options = StopOptions()
        self.only_if: Status | None = None  # those in another state are left alone
        self.schedule: Schedule | None = None  # shares the budget, where there is one
        self.releases = Releases(parts, loop)


class Target:
    """One container on its way to its outcome; ``on_end`` is called when it has that."""

    def __init__(self, call: Call, name: str, on_end: Callable[[Target], None]) -> None:
        self.name = name
        self.container_id = ""
        self.requires: tuple[str, ...] = ()
        self.session: Session | None = None
        self.outcome: StopOutcome | None = None
        self._call, self._parts, self._loop, self._on_end = call, call.parts, call.loop, on_end
        self._lock: Lock | None = None
        self.server: JoinServer | None = None
        self.joiner: Joiner | None = None

    def find(self, ref: str) -> None:
        """Look up who that is; an error is its outcome."""
        try:
            container = self._parts.store.find(ref)
        except BentoError as error:
            self.end(StopOutcome(id="", name=ref, error=error))
            return
        self.name, self.container_id, self.requires = container.name, container.id, container.spec.requires
        self._tell_phase("waiting")

    def take(self) -> None:
        """Begin, resume or join the stop; an error is its outcome."""
        try:
            self._take()
        except (BentoError, OSError) as error:
            self._end_with(as_bento_error(error))

    def settle(self, container: Container) -> bool:
        """Release what a container held that has ended by itself; False when somebody else is at it."""
        self.container_id = container.id
        self._lock = self._parts.locks.try_stop(container.id)
        if self._lock is None:
            return False
        try:
            fresh = self._parts.store.get(container.id)
            if fresh.status is container.status and fresh.run == container.run:
                self._drive(fresh, lambda session: session.settle(), is_asked=False)
            else:  # settled by somebody, and maybe started again: that is another run, which lives
                self._end_with(None)
        except (BentoError, OSError) as error:  # such as that it was removed meanwhile
            self._end_with(as_bento_error(error))
        return True

    # -- taking, resuming -----------------------------------------------------------------------------

    def _take(self) -> None:
        while True:
            lock = self._parts.locks.try_stop(self.container_id)
            if lock is not None:
                break
            if self._join():
                return
        self._lock = lock
        with self._parts.locks.hold(self.container_id, LOCK_TIMEOUT_S):
            container = adopt(self._parts, self._parts.store.get(self.container_id))
            only_if = self._call.only_if
            if only_if is not None and container.status is not only_if:
                raise WrongState(f"container {container.name} is {container.status.value}")
            request = self._request(container)
            if container.status is Status.STARTING:  # its start died: there is no program to be told
                request = replace(request, grace_s=0.0)
            if container.status is Status.RESTARTING:
                self._call_off_restart(container)
                self._begun()
                self._end_with(None)
                return
            self._check(container, request)
        # The stop lock is held from here on, the other one is not: the session takes it for the record.
        if container.intent is not None:
            intent = container.intent
            self._drive(container, lambda session: session.resume(intent))
            if self.session is not None:
                self.session.feed(deadline_of(request, self._call.options))
        else:
            self._drive(container, lambda session: session.begin(request))

    def _request(self, container: Container) -> StopRequest:
        request = request_for(container, self._call.options, self._parts.grace_s)
        schedule = self._call.schedule
        if schedule is None:
            return request
        return replace(request, grace_s=schedule.grace_s(container.id, request.grace_s, clock.mono_s()))

    def _check(self, container: Container, request: StopRequest) -> None:
        """Rules S1 and S11; nothing is changed when they refuse."""
        name = container.name
        if container.status is Status.CREATED:
            raise AlreadyStopped(f"container {name} was never started")
        if not container.status.is_live or container.run is None:
            self._forbid_restart(container)
            raise AlreadyStopped(f"container {name} is already stopped")
        is_paused = container.status is Status.RUNNING and self._parts.processes.is_frozen(container.run)
        if is_paused and request.on_paused is OnPaused.REFUSE:
            raise WrongState(
                f"container {name} is paused and would not get the signal",
                hint=f"unpause it first, or use: stop --paused thaw {name}, or stop --paused kill {name}",
            )

    def _forbid_restart(self, container: Container) -> None:
        """A stop that finds nothing running still is the wish that nothing runs (rule S4)."""
        if container.spec.restart.name != "no":
            is_shutdown = self._call.options.asked_by is AskedBy.SHUTDOWN
            self._parts.store.modify(
                container.id,
                lambda c: replace(c, stop_asked=True, shut_down=is_shutdown and (c.shut_down or not c.stop_asked)),
            )

    def _call_off_restart(self, container: Container) -> None:
        """Stop a container that waits to be started again: its helper ends with its run directory (rule S4)."""
        is_shutdown = self._call.options.asked_by is AskedBy.SHUTDOWN
        self._parts.store.modify(
            container.id,
            lambda c: replace(c, status=Status.STOPPED, stop_asked=True, shut_down=is_shutdown, restart_boot_s=None),
        )
        remove_tree(self._parts.run_dir(container.id))

    def _drive(self, container: Container, begin: Callable[[Session], None], *, is_asked: bool = True) -> None:
        session = Session(
            self._parts, container, loop=self._loop, releases=self._call.releases, on_end=self._driver_ended
        )
        self.session = session
        session.on_phase = self._call.on_phase
        self.server = JoinServer(self._parts.run_dir(container.id), self._loop, session)
        spec = container.spec
        if spec.auto_remove:
            session.is_attended = attend(self._parts, container.id)
        elif is_asked and spec.restart.name != "no":
            attend(self._parts, container.id)  # spares the monitor, and so the stop, a helper with nothing to do
        begin(session)
        self._begun()

    # -- joining --------------------------------------------------------------------------------------

    def _join(self) -> bool:
        container = self._parts.store.modify(self.container_id, _wish)
        if container.status is Status.RESTARTING:  # who recorded that is about to let go: then it is called off
            self._parts.locks.wait_stop(container.id)
            return False
        moved = deadline_of(self._request(container), self._call.options)
        joiner = Joiner.connect(
            self._parts.run_dir(container.id), self._loop, moved, on_end=self._driver_ended, on_lost=self._driver_lost
        )
        if joiner is None:
            return False
        self.joiner = joiner
        self._begun()
        self._tell_phase("joined")
        return True

    def _driver_lost(self) -> None:
        """The driver ended without an answer: look for ourselves."""
        self.joiner = None
        try:
            self._take()
        except (AlreadyStopped, NotFound):  # it ended just before we could be answered
            self.end(StopOutcome(id=self.container_id, name=self.name, report=self._last_report()))
        except (BentoError, OSError) as error:
            self._end_with(as_bento_error(error))

    def _last_report(self) -> StopReport | None:
        try:
            return self._parts.store.get(self.container_id).report
        except NotFound:  # a --rm container
            return None

    # -- telling, ending ------------------------------------------------------------------------------

    def _tell_phase(self, phase: str) -> None:
        if self._call.on_phase is not None:
            self._call.on_phase(StopProgress(self.name, phase))

    def _begun(self) -> None:
        """The stop is recorded, or joined: it happens now, whatever becomes of this process."""
        if self._call.on_begun is not None:
            self._call.on_begun(self.name)

    def _driver_ended(self) -> None:
        """Session or joiner have the outcome. They are still in the middle of a call: it is taken up later."""
        self._loop.soon(self._take_outcome)

    def _take_outcome(self) -> None:
        driver = self.session or self.joiner
        if driver is not None and driver.outcome is not None:
            self.end(driver.outcome)

    def _end_with(self, error: BentoError | None) -> None:
        self.end(StopOutcome(id=self.container_id, name=self.name, error=error))

    def end(self, outcome: StopOutcome) -> None:
        """Take the outcome, and tell whoever waits for it."""
        self.outcome = outcome
        session = self.session
        if session is not None and session.is_attended and outcome.error is None:
            outcome = self._erased(session, outcome)
            self.outcome = outcome
        if self.server is not None:
            self.server.publish(outcome)
        self.close()
        if self._call.on_outcome is not None:
            self._call.on_outcome(outcome)
        self._on_end(self)

    def _erased(self, session: Session, outcome: StopOutcome) -> StopOutcome:
        """Remove a ``--rm`` container that has ended, unless it was started again already. Errors are of this one."""
        try:
            with self._parts.locks.hold(outcome.id, LOCK_TIMEOUT_S):
                now = self._parts.store.get(outcome.id)
                if not now.status.is_live and now.run is not None and now.run.number == session.run.number:
                    erase(self._parts, now)
        except NotFound:
            pass
        except (BentoError, OSError) as error:
            return replace(outcome, error=as_bento_error(error))
        return outcome

    def close(self) -> None:
        """Let go of it. A stop that has not ended is left to whoever meets it next. Idempotent."""
        for part in (self.server, self.session, self.joiner):
            if part is not None:
                part.close()
        if self._lock is not None:
            self._lock.release()
        self.server = self.session = self.joiner = self._lock = None


def _wish(container: Container) -> Container:
    """Whoever drives the container's end may only be recording an exit: no restart may follow (rule S4)."""
    if container.spec.restart.name == "no" or not container.status.is_wanted:
        return container
    return replace(container, stop_asked=True)

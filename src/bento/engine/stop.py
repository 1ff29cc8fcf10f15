"""``stop``: any number of containers in one loop, each driven by its machine.

Who gets a container's stop lock drives its stop; whoever comes later joins over the driver's
socket (``join``). The container's own lock is held only while the stop is decided on, never while
it is waited for (rule S5). If a driver dies, its locks go with it, and the next command that meets
the container goes on from the journal (rule S6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bento import clock
from bento.engine.adopt import adopt
from bento.engine.erase import attend, erase
from bento.engine.hooks import check_hooks
from bento.engine.join import Joiner, JoinServer
from bento.engine.loop import Loop
from bento.engine.order import Schedule
from bento.engine.session import Session, StopOutcome, StopProgress
from bento.errors import AlreadyStopped, BentoError, NotFound, WrongState, as_bento_error
from bento.kernel.tree import remove_tree
from bento.model.container import Container, Status
from bento.model.stop import AskedBy, Hook, OnDeaf, OnPaused, StopReport, StopRequest
from bento.stop.inputs import DeadlineMoved
from bento.stop.methods import SIGNAL, choose
from bento.units import NO_LIMIT

if TYPE_CHECKING:
    from bento.engine.parts import Parts
    from bento.locks import Lock

LOCK_TIMEOUT_S = 30.0


class StopOptions(Struct, frozen=True, kw_only=True):
    """What a caller may say; None leaves it to the container, then to the image, then to the default."""

    grace_s: float | None = None
    signal: int | None = None
    method: str | None = None  # as ``bento.stop.methods.parse_method`` returns it
    command: str | None = None  # of the method exec
    on_deaf: OnDeaf = OnDeaf.END
    on_paused: OnPaused = OnPaused.REFUSE
    start_window_s: float = 10.0
    last_call_s: float | None = None
    kill_timeout_s: float = 30.0
    extend: bool = False
    pre_stop: tuple[Hook, ...] = ()  # besides the container's own, after them
    post_stop: tuple[Hook, ...] = ()
    hook_timeout_s: float | None = None
    drain: bool = False  # first close the published ports to new connections; the container's own wish holds as well
    total_s: float | None = None  # one budget for all of them together
    asked_by: AskedBy = AskedBy.USER


class _Target:
    """One container on its way: a session we drive, or a stop of somebody else's that we joined."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.container_id = ""
        self.requires: tuple[str, ...] = ()
        self.is_taken = False  # it has been begun, resumed or joined
        self.session: Session | None = None
        self.lock: Lock | None = None
        self.server: JoinServer | None = None
        self.joiner: Joiner | None = None
        self.outcome: StopOutcome | None = None


class Stopper:
    """Drives and joins stops until all have ended. Use ``stop_containers``."""

    def __init__(
        self,
        parts: Parts,
        *,
        on_begun: Callable[[str], None] | None = None,
        on_outcome: Callable[[StopOutcome], None] | None = None,
        on_phase: Callable[[StopProgress], None] | None = None,
    ) -> None:
        self.parts = parts
        self.loop = Loop()
        self.targets: list[_Target] = []
        self._on_begun, self._on_outcome, self._on_phase = on_begun, on_outcome, on_phase
        self._options = StopOptions()
        self._only_if: Status | None = None
        self._schedule: Schedule | None = None

    def add(self, refs: Sequence[str], options: StopOptions, *, only_if: Status | None = None) -> None:
        """Begin, resume or join the stops of containers, those first that others do not require; ``run`` goes on.

        Once only. Errors become outcomes (rules S27, S28). ``only_if``: WrongState for those in another state once
        they can be looked at. Raises UsageError for a hook that cannot be run.
        """
        check_hooks((*options.pre_stop, *options.post_stop))
        self._options, self._only_if = options, only_if
        for ref in refs:
            target = _Target(ref)
            self.targets.append(target)
            try:
                container = self.parts.store.find(ref)
            except BentoError as error:
                self._end(target, StopOutcome(id="", name=ref, error=error))
                continue
            target.name, target.container_id, target.requires = container.name, container.id, container.spec.requires
            self._tell_phase(target, "waiting")
        requires = {target.container_id: target.requires for target in self.targets if target.outcome is None}
        self._schedule = Schedule(requires, total_s=options.total_s, now_s=clock.mono_s())
        self._take_ready()

    def _take_ready(self) -> None:
        """Take every target whose dependants have all ended, well or badly."""
        waiting = [target for target in self.targets if target.outcome is None and not target.is_taken]
        while self._schedule is not None and waiting:
            ended = {target.container_id for target in self.targets if target.outcome is not None}
            ready = [target for target in waiting if self._schedule.is_ready(target.container_id, ended)]
            if not ready:
                return
            for target in ready:
                target.is_taken = True
                self._take_or_end(target)
            waiting = [target for target in waiting if not target.is_taken]  # some may have ended at once

    def _take_or_end(self, target: _Target) -> None:
        try:
            self._take(target)
        except (BentoError, OSError) as error:
            self._end(target, StopOutcome(id=target.container_id, name=target.name, error=as_bento_error(error)))

    def _request(self, container: Container) -> StopRequest:
        request = request_for(container, self._options, self.parts.grace_s)
        if self._schedule is None:
            return request
        return replace(request, grace_s=self._schedule.grace_s(container.id, request.grace_s, clock.mono_s()))

    def settle(self, container: Container) -> None:
        """Release what a container held that has ended by itself; skip it when somebody else is at it."""
        target = _Target(container.name)
        target.container_id = container.id
        lock = self.parts.locks.try_stop(container.id)
        if lock is None:
            return
        target.lock = lock
        self.targets.append(target)
        try:
            fresh = self.parts.store.get(container.id)
            if fresh.status is container.status and fresh.run == container.run:
                self._drive(target, fresh, lambda session: session.settle(), is_asked=False)
            else:  # settled by somebody, and maybe started again: that is another run, which lives
                self._end(target, StopOutcome(id=container.id, name=container.name))
        except BentoError as error:  # such as that it was removed meanwhile
            self._end(target, StopOutcome(id=container.id, name=container.name, error=error))

    def run(self) -> list[StopOutcome]:
        """Block until every target has its outcome; return them in the order they were added."""
        try:
            while True:
                self._take_ready()
                pending = [target for target in self.targets if target.outcome is None]
                if not pending:
                    break
                self.loop.sessions = [target.session for target in pending if target.session]
                if not any(self._is_ended(target) for target in pending):
                    self.loop.turn()
        finally:
            self.close()
        return [target.outcome for target in self.targets if target.outcome]

    def close(self) -> None:
        """Let go of everything. Stops that have not ended are left to whoever meets them next."""
        for target in self.targets:
            self._let_go(target)
        self.loop.close()

    # -- taking, resuming, joining ------------------------------------------------------------------

    def _take(self, target: _Target) -> None:
        while True:
            lock = self.parts.locks.try_stop(target.container_id)
            if lock is not None:
                break
            if self._join(target):
                return
        target.lock = lock
        with self.parts.locks.hold(target.container_id, LOCK_TIMEOUT_S):
            container = adopt(self.parts, self.parts.store.get(target.container_id))
            if self._only_if is not None and container.status is not self._only_if:
                raise WrongState(f"container {container.name} is {container.status.value}")
            request = self._request(container)
            if container.status is Status.STARTING:  # its start died: there is no program to be told
                request = replace(request, grace_s=0.0)
            if container.status is Status.RESTARTING:
                self._call_off_restart(container)
                self._begun(target)
                self._end(target, StopOutcome(id=container.id, name=container.name))
                return
            self._check(container, request)
        # The stop lock is held from here on, the other one is not: the session takes it for the record.
        if container.intent is not None:
            intent = container.intent
            self._drive(target, container, lambda session: session.resume(intent))
            if target.session is not None:
                target.session.feed(deadline_of(request, self._options))
        else:
            self._drive(target, container, lambda session: session.begin(request))

    def _check(self, container: Container, request: StopRequest) -> None:
        """Rules S1 and S11; nothing is changed when they refuse."""
        name = container.name
        if container.status is Status.CREATED:
            raise AlreadyStopped(f"container {name} was never started")
        if not container.status.is_live or container.run is None:
            self._forbid_restart(container)
            raise AlreadyStopped(f"container {name} is already stopped")
        is_paused = container.status is Status.RUNNING and self.parts.processes.is_frozen(container.run)
        if is_paused and request.on_paused is OnPaused.REFUSE:
            raise WrongState(
                f"container {name} is paused and would not get the signal",
                hint=f"unpause it first, or use: stop --paused thaw {name}, or stop --paused kill {name}",
            )

    def _forbid_restart(self, container: Container) -> None:
        """A stop that finds nothing running still is the wish that nothing runs (rule S4)."""
        if container.spec.restart.name != "no":
            is_shutdown = self._options.asked_by is AskedBy.SHUTDOWN
            self.parts.store.modify(
                container.id,
                lambda c: replace(c, stop_asked=True, shut_down=is_shutdown and (c.shut_down or not c.stop_asked)),
            )

    def _call_off_restart(self, container: Container) -> None:
        """Stop a container that waits to be started again: its helper ends with its run directory (rule S4)."""
        is_shutdown = self._options.asked_by is AskedBy.SHUTDOWN
        self.parts.store.modify(
            container.id,
            lambda c: replace(c, status=Status.STOPPED, stop_asked=True, shut_down=is_shutdown, restart_boot_s=None),
        )
        remove_tree(self.parts.run_dir(container.id))

    def _drive(
        self, target: _Target, container: Container, begin: Callable[[Session], None], *, is_asked: bool = True
    ) -> None:
        session = Session(self.parts, container, watch=self.loop.watch, unwatch=self.loop.unwatch)
        target.session = session
        session.on_phase = self._on_phase
        target.server = JoinServer(self.parts.run_dir(container.id), self.loop, session)
        spec = container.spec
        if spec.auto_remove:
            session.is_attended = attend(self.parts, container.id)
        elif is_asked and spec.restart.name != "no":
            attend(self.parts, container.id)  # spares the monitor, and so the stop, a helper with nothing to do
        begin(session)
        self._begun(target)

    def _join(self, target: _Target) -> bool:
        container = self.parts.store.modify(target.container_id, _wish)
        if container.status is Status.RESTARTING:  # who recorded that is about to let go: then it is called off
            self.parts.locks.wait_stop(container.id)
            return False
        moved = deadline_of(self._request(container), self._options)

        def retry() -> None:
            """The driver ended without an answer: look for ourselves."""
            target.joiner = None
            try:
                self._take(target)
            except (AlreadyStopped, NotFound):  # it ended just before we could be answered
                report = self._last_report(target.container_id)
                self._end(target, StopOutcome(id=target.container_id, name=target.name, report=report))
            except BentoError as error:
                self._end(target, StopOutcome(id=target.container_id, name=target.name, error=error))

        joiner = Joiner.connect(self.parts.run_dir(target.container_id), self.loop, moved, on_lost=retry)
        if joiner is None:
            return False
        target.joiner = joiner
        self._begun(target)
        self._tell_phase(target, "joined")
        return True

    def _tell_phase(self, target: _Target, phase: str) -> None:
        if self._on_phase is not None:
            self._on_phase(StopProgress(target.name, phase))

    def _last_report(self, container_id: str) -> StopReport | None:
        try:
            return self.parts.store.get(container_id).report
        except NotFound:  # a --rm container
            return None

    def _begun(self, target: _Target) -> None:
        """The stop is recorded, or joined: it happens now, whatever becomes of this process."""
        if self._on_begun is not None:
            self._on_begun(target.name)

    # -- ends ---------------------------------------------------------------------------------------

    def _is_ended(self, target: _Target) -> bool:
        ended = target.session or target.joiner
        if ended is None or ended.outcome is None:
            return False
        self._end(target, ended.outcome)
        return True

    def _end(self, target: _Target, outcome: StopOutcome) -> None:
        target.outcome = outcome
        session = target.session
        if session is not None and session.is_attended and outcome.error is None:
            outcome = self._erased(session, outcome)
            target.outcome = outcome
        if target.server is not None:
            target.server.publish(outcome)
        self._let_go(target)
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    def _erased(self, session: Session, outcome: StopOutcome) -> StopOutcome:
        """Remove a ``--rm`` container that has ended, unless it was started again already. Errors are of this one."""
        try:
            with self.parts.locks.hold(outcome.id, LOCK_TIMEOUT_S):
                now = self.parts.store.get(outcome.id)
                if not now.status.is_live and now.run is not None and now.run.number == session.run.number:
                    erase(self.parts, now)
        except NotFound:
            pass
        except (BentoError, OSError) as error:
            return replace(outcome, error=as_bento_error(error))
        return outcome

    def _let_go(self, target: _Target) -> None:
        for part in (target.server, target.session, target.joiner):
            if part is not None:
                part.close()
        if target.lock is not None:
            target.lock.release()
        target.server = target.session = target.joiner = target.lock = None


def _wish(container: Container) -> Container:
    """Whoever drives the container's end may only be recording an exit: no restart may follow (rule S4)."""
    if container.spec.restart.name == "no" or not container.status.is_wanted:
        return container
    return replace(container, stop_asked=True)


def deadline_of(request: StopRequest, options: StopOptions) -> DeadlineMoved:
    """What a caller who joins asks of the deadline: only what was said, a default moves nothing."""
    if options.grace_s is None and options.total_s is None:
        return DeadlineMoved(None)
    deadline_s = None if request.grace_s == NO_LIMIT else clock.mono_s() + request.grace_s
    return DeadlineMoved(deadline_s, extend=options.extend)


def request_for(container: Container, options: StopOptions, grace_s: float) -> StopRequest:
    """Merge what was said now with what the container was made with (rules S7, S8)."""
    request = StopRequest(
        on_deaf=options.on_deaf,
        on_paused=options.on_paused,
        start_window_s=options.start_window_s,
        last_call_s=options.last_call_s,
        kill_timeout_s=options.kill_timeout_s,
        asked_by=options.asked_by,
        drain=bool(container.spec.ports) and (options.drain or container.spec.drain),
        pre_stop=container.spec.pre_stop + options.pre_stop,
        post_stop=container.spec.post_stop + options.post_stop,
        hook_timeout_s=(container.spec.hook_timeout_s if options.hook_timeout_s is None else options.hook_timeout_s),
    )
    for wanted_s in (container.spec.stop_timeout_s, options.grace_s):
        grace_s = grace_s if wanted_s is None else wanted_s
    number = options.signal if options.signal is not None else container.spec.stop_signal
    if options.on_paused is OnPaused.KILL:
        grace_s = 0.0
    request = _with_method(replace(request, grace_s=grace_s), container, options)
    return request if number is None else replace(request, signal=number)


def _with_method(request: StopRequest, container: Container, options: StopOptions) -> StopRequest:
    """Add how PID 1 is asked (rule S10). Who names a signal, and no method, wants that signal."""
    spec, command = container.spec, options.command or container.spec.stop_command
    if options.method is not None or options.command is not None:
        method = choose(method=options.method, command=command, is_system=spec.system)
    elif options.signal is not None:
        method = SIGNAL
    else:
        method = choose(method=spec.stop_method or None, command=command, is_system=spec.system)
    if method == SIGNAL:
        return request
    # An init tells whatever it runs itself: a last call would get in its way.
    last_call_s = 0.0 if request.last_call_s is None else request.last_call_s
    return replace(request, method=method, command=command, last_call_s=last_call_s)


def stop_containers(
    parts: Parts,
    refs: Sequence[str],
    options: StopOptions,
    *,
    on_begun: Callable[[str], None] | None = None,
    on_outcome: Callable[[StopOutcome], None] | None = None,
    on_phase: Callable[[StopProgress], None] | None = None,
) -> list[StopOutcome]:
    """Stop containers, all together; return an outcome for each, in order. Blocks until the last has ended.

    ``on_begun`` is called with a container's name once its stop is recorded, ``on_outcome`` as each ends, ``on_phase``
    whenever one gets on, or is given more or less time.
    """
    stopper = Stopper(parts, on_begun=on_begun, on_outcome=on_outcome, on_phase=on_phase)
    stopper.add(refs, options)
    return stopper.run()

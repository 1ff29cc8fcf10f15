"""One stop under way: carries out what the machine wants, and feeds back what was observed.

The loop calls ``handle`` for descriptors and timers; nothing here waits. A session ends with
``outcome`` set. Whoever holds the container's stop lock drives its session; there is one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from bento import clock
from bento.engine import policy
from bento.engine.asking import Asker
from bento.engine.cleanup import Cleanup
from bento.engine.draining import Drainer
from bento.engine.hooks import HookRunner
from bento.engine.report import Endings, exit_code_of, make_report
from bento.engine.sending import Sending
from bento.errors import BentoError, CleanupFailed, InternalError, StuckProcess, as_bento_error
from bento.kernel.tree import remove_tree
from bento.model.container import Container, Exit, Run, Status
from bento.model.stop import AskedBy, StopIntent, StopReport, StopRequest
from bento.stop import machine
from bento.stop.actions import (
    Action,
    Ask,
    Drain,
    EndMain,
    Identify,
    KillAll,
    KillHook,
    Look,
    Persist,
    ReportStuck,
    RunHook,
    RunStep,
    Tell,
    Thaw,
)
from bento.stop.inputs import HookDone, Input, Looked, MainExited, Resumed, StepDone, TimerFired, ToldExited
from bento.stop.process import Key
from bento.stop.states import FINAL, Phase, Step, StopState, Timer
from bento.stop.verdict import SIGKILL_STATUS

if TYPE_CHECKING:
    from bento.command import Child
    from bento.engine.parts import Parts

_SIGKILL = 9
_LOCK_TIMEOUT_S = 10.0
_WATCH_LIMIT = 256  # processes whose own end is told in the report


class StopOutcome(Struct, frozen=True, kw_only=True):
    """What became of one container of a stop. Exactly one of ``report`` and ``error`` says more; both when
    it stopped but something of it could not be released."""

    id: str
    name: str
    report: StopReport | None = None
    error: BentoError | None = None


class StopProgress(Struct, frozen=True):
    """Where one stop is, whenever that changes."""

    name: str
    phase: str
    until_s: float | None = None  # the latest end of this phase, CLOCK_MONOTONIC


class Session:
    """Drives one container's machine. ``watch`` and ``unwatch`` register descriptors with the loop."""

    def __init__(
        self,
        parts: Parts,
        container: Container,
        *,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
    ) -> None:
        if container.run is None:
            raise InternalError(f"container {container.name} has no run to stop")
        self.parts = parts
        self.container = container
        self.run: Run = container.run
        self.processes = parts.processes_for(container)
        self.outcome: StopOutcome | None = None
        self.asked_unix_ns = clock.wall_ns()
        self.is_attended = False  # removed at its end, by whoever drives this session
        self.on_phase: Callable[[StopProgress], None] | None = None
        self._progress: StopProgress | None = None
        self.is_asked = True  # False: nobody asked for a stop, the container had ended by itself
        self._watch, self._unwatch = watch, unwatch
        self._state: StopState | None = None
        self._queue: deque[Input] = deque()
        self._is_draining = False
        self._main_fd: int | None = None
        self._fds: dict[Key, int] = {}
        self._told: set[int] = set()
        self._asker = Asker(parts, self.run, container.id, watch=watch, unwatch=unwatch, answer=self._feed)
        self._sending = Sending(self._end_signal, watch=watch, unwatch=unwatch)
        # In somebody else's PID namespace the kernel does not end the rest with PID 1, so its exit is not the end.
        self._may_leave_rest = bool(container.spec.pid)
        self._cleanup = Cleanup(parts, container, self.run, watch=watch, unwatch=unwatch, done=self._feed)
        self._hooks: HookRunner | None = None
        self._drainer = Drainer(parts, container.id, self.run, watch=watch, unwatch=unwatch, done=self._feed)
        self._endings = Endings()
        self._oom_before = 0
        self._stuck: list[str] = []

    # -- beginnings -------------------------------------------------------------------------------

    def begin(self, request: StopRequest) -> None:
        """Begin a stop that somebody asked for."""
        self._open_main()
        self._start(request, has_exited=self._is_gone())

    def settle(self) -> None:
        """Release what a container held that has ended by itself, and record its exit."""
        self.is_asked = False
        self._start(StopRequest(grace_s=0.0), has_exited=self._is_gone())

    def resume(self, intent: StopIntent) -> None:
        """Go on with a stop whose driver is gone, with the time that was left."""
        self._open_main()
        self.asked_unix_ns = intent.asked_unix_ns
        self._oom_before = intent.oom_kills
        if intent.boot_id and intent.boot_id != self.parts.processes.boot_id():
            # The machine went down in the middle of it: nothing of that run is left, nor any of its times.
            self._start(intent.request, has_exited=True)
            return
        self._state = msgspec.json.decode(intent.journal, type=StopState)
        deadline_s = None
        if intent.deadline_boot_s is not None:
            deadline_s = intent.deadline_boot_s - clock.boot_s() + clock.mono_s()
        is_gone = self._is_gone()
        if not is_gone or self._state.phase in (Phase.CLEANING, Phase.STUCK):
            self._feed(Resumed(deadline_s))
        if is_gone:
            self._feed(MainExited())

    def _start(self, request: StopRequest, *, has_exited: bool) -> None:
        now_s = clock.mono_s()
        born_s = now_s - max(0.0, clock.boot_s() - self.run.started_boot_s)
        self._oom_before = self.processes.oom_kills(self.run)
        self._state, actions = machine.begin(request, now_s=now_s, born_s=born_s, has_exited=has_exited)
        self._drain(actions)

    def _open_main(self) -> None:
        if self.run.init is None:
            return
        self._main_fd = self.processes.open(self.run.init)
        if self._main_fd is not None:
            self._watch(self._main_fd, self._main_exited)
            self._cleanup.watch_release(self.run.init.pid, self._main_fd)

    def _is_gone(self) -> bool:
        """Whether the container has ended: PID 1, and whom it has left behind."""
        if self._main_fd is not None and not self.processes.has_exited(self._main_fd):
            return False
        return not self._may_leave_rest or self.processes.is_empty(self.run)

    # -- the loop's side --------------------------------------------------------------------------

    @property
    def state(self) -> StopState:
        """The machine's state."""
        if self._state is None:
            raise InternalError("a session was used before it began")
        return self._state

    def due_s(self) -> float | None:
        """When ``tick`` wants to be called, on the monotonic clock."""
        if self.outcome is not None or self._state is None:
            return None
        timer = machine.next_timer(self._state)
        return timer[1] if timer else None

    def tick(self) -> None:
        """Fire the timers that are due."""
        now_s = clock.mono_s()
        while self.outcome is None and (timer := machine.next_timer(self.state)) and timer[1] <= now_s:
            self._feed(TimerFired(timer[0]))

    def feed(self, event: Input) -> None:
        """Tell the machine of something from outside, such as a caller who joined."""
        if self.outcome is None:
            self._feed(event)

    def close(self) -> None:
        """Close every descriptor. Idempotent."""
        for fd in (*self._fds.values(), self._main_fd):
            if fd is not None:
                self._unwatch(fd)
                os.close(fd)
        self._asker.close()
        self._drainer.close()
        if self._hooks is not None:
            self._hooks.close()
        self._sending.close()
        self._cleanup.close()
        self._fds, self._main_fd = {}, None

    def _feed(self, event: Input) -> None:
        self._queue.append(event)
        self._drain()

    def _drain(self, actions: tuple[Action, ...] = ()) -> None:
        """Step through the queue. Actions append what they observe; that is taken in order, never nested.

        What cannot be written to the store ends the session, not the stop: the next command goes on from the journal.
        """
        if self._is_draining:
            return
        self._is_draining = True
        try:
            self._carry_out(actions)
            while self._queue and self.outcome is None:
                self._state, actions = machine.step(self.state, self._queue.popleft(), clock.mono_s())
                if self.on_phase is not None:
                    self._tell_phase(self.on_phase)
                self._carry_out(actions)
        except (BentoError, OSError) as error:
            self.outcome = StopOutcome(id=self.container.id, name=self.container.name, error=as_bento_error(error))
        finally:
            self._is_draining = False
        if self.outcome is None and self.state.phase in FINAL:
            self._finish()

    def _tell_phase(self, on_phase: Callable[[StopProgress], None]) -> None:
        state = self.state
        until_s = (
            state.timers.get(Timer.KILL_LIMIT) if state.phase is Phase.KILLING else state.timers.get(Timer.DEADLINE)
        )
        now = StopProgress(self.container.name, state.phase.value, until_s)
        if now != self._progress:
            self._progress = now
            on_phase(now)

    # -- actions ----------------------------------------------------------------------------------

    def _carry_out(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case Persist():
                    self._persist()
                case Look():
                    self._look()
                case Drain():
                    self._drainer.begin()
                case RunHook():
                    self._run_hook(action.number)
                case KillHook():
                    self._hook_runner().kill()
                case Tell():
                    self._tell(action)
                case Identify():
                    self._queue.append(self._asker.identify())
                case Ask():
                    self._ask(action)
                case Thaw():
                    self.processes.thaw(self.run)
                case EndMain():
                    if self._main_fd is not None:
                        self.processes.tell(self._main_fd, _SIGKILL, wake=False)
                case KillAll():
                    self._kill_all()
                case RunStep():
                    self._run_step(action.step)
                case ReportStuck():
                    self._stuck = self.processes.name_stuck(self.run)
            self._sending.follow(self.processes.take_children())

    def _persist(self) -> None:
        """Write intent and journal in one transaction (rules S4, S6)."""
        if not self.is_asked:
            return
        state = self.state
        deadline_boot_s = None
        if state.deadline_s is not None:
            deadline_boot_s = state.deadline_s - clock.mono_s() + clock.boot_s()
        intent = StopIntent(
            run=self.run.number,
            request=state.request,
            deadline_boot_s=deadline_boot_s,
            boot_id=self.run.init.boot_id if self.run.init else "",
            asked_unix_ns=self.asked_unix_ns,
            oom_kills=self._oom_before,
            journal=msgspec.json.encode(state),
        )
        asked_by = state.request.asked_by
        is_wanted = asked_by is not AskedBy.POLICY  # else only the end of a start that had died
        self.container = self.parts.store.modify(
            self.container.id,
            lambda c: msgspec.structs.replace(
                c,
                status=Status.STOPPING,
                stop_asked=c.stop_asked or is_wanted,
                shut_down=asked_by is AskedBy.SHUTDOWN,
                intent=intent,
            ),
        )

    def _look(self) -> None:
        processes = self.processes.look(self.run, self.state.request.signal)
        if self._may_leave_rest and not processes and self._is_gone():
            self._queue.append(MainExited())
            return
        for process in processes:
            # Of those alone who come now and then in a long stop, thousands of descriptors could be kept.
            if process.key not in self._fds and len(self._fds) < _WATCH_LIMIT:
                self._follow(process.key)
        is_frozen = self.processes.is_frozen(self.run)
        self._queue.append(Looked(processes, is_frozen))

    def _ask(self, action: Ask) -> None:
        answer = self._asker.ask(action, self._main_fd, self.state.request.command)
        if answer is not None:
            self._queue.append(answer)

    def _hook_runner(self) -> HookRunner:
        if self._hooks is None:
            request = self.state.request
            self._hooks = HookRunner(self.parts, self.container, request, watch=self._watch, unwatch=self._unwatch)
        return self._hooks

    def _run_hook(self, number: int) -> None:
        hook = self.state.request.hooks[number]
        self._hook_runner().begin(hook, lambda error: self._feed(HookDone(number, error)))

    def _tell(self, action: Tell) -> None:
        fd = self._follow((action.pid, action.start_ticks))
        if fd is not None:
            self._told.add(action.pid)
            self.processes.tell(fd, action.signal, wake=action.wake)

    def _end_signal(self, child: Child) -> str:
        reason = self.parts.runtime(self.run.runtime).end_signal(child)
        # Whoever has ended meanwhile needs no signal.
        return "" if not reason or self._is_gone() else f"the runtime could not send a signal: {reason}"

    def _kill_all(self) -> None:
        if self._may_leave_rest and self._is_gone():
            self._queue.append(MainExited())
            return
        self._endings.kill_began()
        self.processes.kill_all(self.run)

    def _follow(self, key: Key) -> int | None:
        """Open a process and note when it ends; None when it has ended already."""
        if key in self._fds:
            return self._fds[key]
        fd = self.processes.watch(*key)
        if fd is not None:
            self._fds[key] = fd
            self._watch(fd, lambda: self._exited(fd, key))
        return fd

    def _exited(self, fd: int, key: Key) -> None:
        self._unwatch(fd)
        self._endings.saw(key, clock.mono_s())
        if self._may_leave_rest and self._is_gone():
            self._feed(MainExited())
        elif key[0] in self._told:
            self._feed(ToldExited(key[0]))

    def _main_exited(self) -> None:
        if self._main_fd is not None:
            self._unwatch(self._main_fd)
        if self._is_gone():
            self._feed(MainExited())
        else:
            self._look()  # whoever it has left behind has nobody else to tell them
            self._drain()

    # -- clean-up steps -----------------------------------------------------------------------------

    def _run_step(self, step: Step) -> None:
        if step is not Step.RECORD:
            self._cleanup.begin(step, self.state.step_tries)
            return
        try:
            self._record()
        except (BentoError, OSError) as error:
            self._feed(StepDone(step, str(error)))

    def _record(self) -> None:
        """The last step: everything that happened, in one transaction."""
        code = exit_code_of(self.parts, self.container.id, self._main_fd)
        report = self._report(code) if self.is_asked else None
        ended = Exit(
            code=code,
            finished_unix_ns=clock.wall_ns(),
            is_released=self._cleanup.is_released,
            oom_killed=self._cleanup.oom_kills > 0 and code == SIGKILL_STATUS,
            note="" if code is not None else "the exit code is unknown: the monitor died before it could write it",
        )
        # Under the lock, so that no new run owns the run directory yet when it goes.
        with self.parts.locks.hold(self.container.id, _LOCK_TIMEOUT_S):
            self.container = self.parts.store.modify(
                self.container.id,
                lambda c: _stopped(c, self.run, ended, report, is_disconnected=self._cleanup.is_disconnected),
            )
            remove_tree(self.parts.run_dir(self.container.id))
        self._feed(StepDone(Step.RECORD))

    def _report(self, code: int | None) -> StopReport:
        return make_report(
            self.state,
            exit_code=code,
            oom_kills=self._cleanup.oom_kills - self._oom_before,
            ends=self._endings.collect(self.processes, self.state, self._fds, self.run),
            notes=(*self._sending.failures, *self._stuck),
            asked_unix_ns=self.asked_unix_ns,
            now_s=clock.mono_s(),
        )

    def _keep_stuck_report(self) -> None:
        """Every stop leaves a report, also one that did not get through (rule S23). The record stays ``stopping``."""
        report = self._report(None)
        with suppress(BentoError):  # the error that is told is the one that matters
            self.container = self.parts.store.modify(
                self.container.id, lambda c: msgspec.structs.replace(c, report=report)
            )

    def _finish(self) -> None:
        error: BentoError | None = None
        if self.state.phase is Phase.STUCK:
            if self.is_asked:
                self._keep_stuck_report()
            who = "; ".join(self._stuck) or "; ".join(self.state.errors)
            error = StuckProcess(
                f"container {self.container.name} could not be ended: {who}", hint="stop it again later"
            )
        elif self.state.errors:
            held = "" if self._cleanup.is_released else f"; the root filesystem is held by {self._holders()}"
            error = CleanupFailed(
                f"container {self.container.name} has stopped, but: {'; '.join(self.state.errors)}{held}",
                hint="see bento doctor",
            )
        self.outcome = StopOutcome(
            id=self.container.id,
            name=self.container.name,
            report=self.container.report if self.is_asked else None,
            error=error,
        )

    def _holders(self) -> str:
        holders = self.parts.storage.holders(self.container.id)
        return ", ".join(f"{holder.comm} ({holder.pid})" for holder in holders) or "nobody to be seen"


def _stopped(
    container: Container, run: Run, ended: Exit, report: StopReport | None, *, is_disconnected: bool
) -> Container:
    """The record of a container that has ended: stopped, or waiting for its restart when its policy says so."""
    connection = None if is_disconnected else run.connection  # what is left of it goes with the container
    stopped = msgspec.structs.replace(
        container,
        status=Status.STOPPED,
        run=msgspec.structs.replace(run, init=None, monitor=None, cgroups={}, connection=connection),
        exit=ended,
        intent=None,
        report=report or container.report,
    )
    now_s = clock.boot_s()
    up_s = now_s - run.started_boot_s if run.started_boot_s else 0.0
    return policy.after_end(stopped, ended, up_s=up_s, now_boot_s=now_s)

"""One stop under way: carries out what the machine wants, and feeds back what was observed.

The loop calls handlers for descriptors and timers; nothing here waits. A driver ends with ``outcome`` set. The process
that holds the container's stop lock runs its driver; there is one.

It is put together from ``container_processes``, ``init_request``, ``hooks``, ``cleanup`` (what is released) and
``recording`` (what is written down).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

import msgspec
from msgspec.structs import replace

from bento import clock
from bento.engine.base.outcome import StopOutcome, StopProgress
from bento.engine.stop.container_processes import ContainerProcesses
from bento.engine.stop.draining import Drainer
from bento.engine.stop.hooks import HookRunner
from bento.engine.stop.init_request import InitRequester
from bento.engine.stop.snapshot import Viewer
from bento.errors import BentoError, Conflict, InternalError, as_bento_error
from bento.model.container import Run
from bento.model.stop import StopIntent, StopRequest
from bento.stop import grace, machine
from bento.stop.actions import (
    Action,
    AskEngine,
    Drain,
    HoldBack,
    Identify,
    KillAll,
    KillHook,
    KillInit,
    LetGo,
    Look,
    Persist,
    ReportStuck,
    RequestInit,
    RunHook,
    RunStep,
    SendSignal,
    Thaw,
    WatchInit,
)
from bento.stop.inputs import HookDone, Input, Looked, MainExited, Resumed, StepDone, TimerFired
from bento.stop.states import FINAL, Phase, Step, StopState, Timer

if TYPE_CHECKING:
    from bento.engine.stop.batch import StopBatch
    from bento.engine.stop.target import StopTarget


class StopDriver:
    """Drives one container's machine. ``on_end`` is called once, when ``outcome`` is set."""

    def __init__(self, target: StopTarget, batch: StopBatch, *, on_end: Callable[[], None]) -> None:
        self._target, drivers, container = target, target.drivers, target.container
        if container.run is None:
            raise InternalError(f"container {container.name} has no run to stop")
        self.run: Run = container.run
        self.outcome: StopOutcome | None = None
        self.has_exit_owner = False  # removed at its end, by the loop that runs this driver
        self._drivers, self._name = drivers, container.name
        self._progress: StopProgress | None = None
        self._on_end, self._observer = on_end, batch.observer
        self._alarm = batch.loop.alarm(self._tick)
        self._loop = loop = batch.loop
        self._state: StopState | None = None
        self._queue: deque[Input] = deque()
        self._is_draining = False
        observer = batch.observer
        self._viewer = Viewer(container.name, observer, loop) if observer.wants_views else None
        self._trace = batch.tracing.job(self.run, self._feed)
        self._processes = ContainerProcesses(
            drivers,
            container,
            self.run,
            births=batch.births,
            watcher=loop,
            has_room_above=batch.has_room_above,
            feed=self._feed,
            look_again=self._look_again,
            on_end=self._viewer.ended if self._viewer else None,
        )
        self._requester = InitRequester(drivers, self.run, container.id, watcher=loop, answer=self._feed)
        self._cleanup = target.cleanup(batch, self._feed)
        self._recorder = target.recorder(self._processes, self._cleanup)
        self._hooks: HookRunner | None = None
        self._drainer = Drainer(drivers, container, self.run, watcher=loop, done=self._feed)

    # -- beginnings -------------------------------------------------------------------------------

    def begin(self, request: StopRequest) -> None:
        """Begin a stop that was asked for."""
        self._open_main()
        self._start(request, has_exited=self._processes.is_gone())

    def settle(self) -> None:
        """Release what a container held that has ended by itself, and record its exit."""
        self._recorder.is_asked = False
        self._start(StopRequest(grace_s=0.0), has_exited=self._processes.is_gone())

    def resume(self, intent: StopIntent, note: str = "") -> None:
        """Go on with a stop after its driver is gone, with the time that was left. ``note`` is for the report."""
        self._open_main()
        state = msgspec.json.decode(intent.journal, type=StopState)
        self._recorder.resume(intent, state)
        if intent.boot_id and intent.boot_id != self._drivers.processes.boot_id():
            # The machine went down in the middle of it: nothing of that run is left, nor any of its times.
            self._start(intent.request, has_exited=True)
            return
        self._state = replace(state, notes=(*state.notes, note)) if note else state
        deadline_s = None
        if intent.deadline_boot_s is not None:
            deadline_s = intent.deadline_boot_s - clock.boot_s() + clock.mono_s()
        is_gone = self._processes.is_gone()
        if not is_gone or self._state.phase in (Phase.CLEANING, Phase.STUCK):
            self._feed(Resumed(deadline_s))
        if is_gone:
            self._state = replace(self._state, ended_unseen=self._state.phase is Phase.GRACE)
            self._feed(MainExited())

    def _start(self, request: StopRequest, *, has_exited: bool) -> None:
        now_s = clock.mono_s()
        born_s = now_s - max(0.0, clock.boot_s() - self.run.started_boot_s)
        self._recorder.begin()
        self._state, actions = machine.begin(request, now_s=now_s, born_s=born_s, has_exited=has_exited)
        self._drain(actions)

    def _open_main(self) -> None:
        self._processes.open_main()
        if self.run.init is not None and self._processes.main_fd is not None:
            self._cleanup.watch_release(self.run.init.pid, self._processes.main_fd)

    # -- the loop's side --------------------------------------------------------------------------

    @property
    def state(self) -> StopState:
        """The machine's state."""
        if self._state is None:
            raise InternalError("a driver was used before it began")
        return self._state

    def _tick(self) -> None:
        """Fire the timers that are due."""
        now_s = clock.mono_s()
        while self.outcome is None and (timer := machine.next_timer(self.state)) and timer[1] <= now_s:
            self._feed(TimerFired(timer[0]))

    def feed(self, event: Input) -> None:
        """Give the machine something from outside, such as a call that joined."""
        if self.outcome is None:
            self._feed(event)

    def fail(self, error: BentoError) -> None:
        """End with an error: what this stop needs cannot be had. Nothing more is done."""
        if self.outcome is None:
            self.outcome = StopOutcome(id=self._target.container.id, name=self._name, error=error)
            self._alarm.set(None)
            self._on_end()

    def close(self) -> None:
        """Close every descriptor. Idempotent."""
        self._alarm.set(None)
        if self._viewer is not None:
            self._viewer.close()
        self._trace.close()
        self._processes.close()
        self._requester.close()
        self._drainer.close()
        if self._hooks is not None:
            self._hooks.close()
        self._cleanup.close()

    def _feed(self, event: Input) -> None:
        self._queue.append(event)
        self._drain()

    def _drain(self, actions: tuple[Action, ...] = ()) -> None:
        """Step through the queue. Actions append what they observe; that is taken in order, never nested.

        What cannot be written to the store ends the driver, not the stop: the next command goes on from the journal.
        """
        if self._is_draining or self.outcome is not None:
            return
        self._is_draining = True
        try:
            self._carry_out(actions)
            while self._queue and self.outcome is None:
                self._state, actions = machine.step(self.state, self._queue.popleft(), clock.mono_s())
                self._report_phase()
                self._carry_out(actions)
        except (BentoError, OSError) as error:
            container, failed = self._recorder.container, as_bento_error(error)
            at = self.state.step if self.state.phase is Phase.CLEANING and self.state.step else self.state.phase
            failed.message = (
                f"the stop of container {container.name} ({container.id}) failed ({at.value}): {failed.message}"
            )
            self.outcome = StopOutcome(id=container.id, name=container.name, error=failed)
        finally:
            self._is_draining = False
        if self.outcome is None and self.state.phase in FINAL:
            self.outcome = self._recorder.outcome(self.state)
        if self._viewer is not None and self.outcome is None:
            self._viewer.changed(self.state)
        timer = machine.next_timer(self.state) if self.outcome is None else None
        self._alarm.set(timer[1] if timer else None)
        if self.outcome is not None:
            self._on_end()

    def _report_phase(self) -> None:
        state = self.state
        until_s = (
            state.timers.get(Timer.KILL_LIMIT) if state.phase is Phase.KILLING else state.timers.get(Timer.DEADLINE)
        )
        now = StopProgress(self._name, state.phase.value, until_s)
        if now != self._progress:
            self._progress = now
            self._observer.phase(now)

    # -- actions ----------------------------------------------------------------------------------

    def _carry_out(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case Persist():
                    self._recorder.persist(self.state)
                case Look():
                    self._look(action)
                case WatchInit():
                    self._trace.watch_init(action, self.state.request.signal)
                case HoldBack():
                    self._hold_back(action)
                case LetGo():
                    self._trace.let_go(action.keys)
                case Drain():
                    self._drainer.begin()
                case RunHook():
                    self._run_hook(action.number)
                case KillHook():
                    self._hook_runner().kill()
                case SendSignal():
                    self._processes.send_signal(action)
                    self._loop.soon(self._cleanup.expect_end)
                case AskEngine():
                    self._target.ask_engine(self)
                case Identify():
                    self._queue.append(self._requester.identify())
                case RequestInit():
                    self._ask(action)
                case Thaw():
                    self._processes.thaw()
                case KillInit():
                    self._processes.end_main()
                case KillAll():
                    self._kill_all()
                case RunStep():
                    self._run_step(action.step)
                case ReportStuck():
                    self._recorder.note_stuck()
                case _:
                    assert_never(action)
            self._processes.follow_signals()

    def _look(self, action: Look) -> None:
        signal, tracer = self.state.request.signal, self._trace.tracer_pid
        seen = self._processes.look(signal, tracer=tracer, examine=action.examine)
        if self.state.phase is Phase.REQUESTED and isinstance(seen, Looked) and grace.may_hold(self.state, seen):
            self._trace.prepare()
        if self._viewer is not None and isinstance(seen, Looked):
            self._viewer.looked(seen.processes)
        self._queue.append(seen)

    def _hold_back(self, action: HoldBack) -> None:
        self._trace.hold(action.keys, thaw=action.thaw)
        if action.thaw or action.hang_up:
            self._processes.shut_down_sockets(with_unnamed=action.hang_up)

    def _look_again(self) -> None:
        self._drain((Look(),))

    def _ask(self, action: RequestInit) -> None:
        answer = self._requester.ask(action, self._processes.main_fd, self.state.request.command)
        if answer is not None:
            self._queue.append(answer)

    def _hook_runner(self) -> HookRunner:
        if self._hooks is None:
            container, request = self._recorder.container, self.state.request
            self._hooks = HookRunner(self._drivers, container, request, watcher=self._loop)
        return self._hooks

    def _run_hook(self, number: int) -> None:
        hook = self.state.request.hooks[number]
        self._hook_runner().begin(hook, lambda error: self._feed(HookDone(number, error)))

    def _kill_all(self) -> None:
        if (exited := self._processes.kill_all()) is not None:
            self._queue.append(exited)

    def _run_step(self, step: Step) -> None:
        self._trace.close()  # outside the grace nothing is held: the tracer ends while we are at work here
        if step is not Step.RECORD:
            self._cleanup.begin(step, self.state.step_tries)
            return
        try:
            self._recorder.record(self.state)
            self._feed(StepDone(step))
        except Conflict as error:
            self._feed(StepDone(step, str(error), retry=True))
        except (BentoError, OSError) as error:
            self._feed(StepDone(step, str(error)))

"""The engine's part in a stop of a simulated container (``world``), in virtual time.

``Driver`` carries out what the stop machine wants, feeds back what it sees, and can be killed at any action.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from bento.model.stop import StopRequest
from bento.stop import machine
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
from bento.stop.inputs import (
    DeadlineMoved,
    Drained,
    HookDone,
    Identified,
    Input,
    Looked,
    MainExited,
    Resumed,
    SignalledExited,
    StepDone,
    TimerFired,
)
from bento.stop.invariants import check_invariants
from bento.stop.states import FINAL, STEPS, Step, StopState

from support.habits import Does, Proc
from support.world import HUP, World

__all__ = ["Does", "Driver", "EndlessStopError", "Proc", "World", "joined", "order_of_steps"]


class EndlessStopError(AssertionError):
    """A stop that did not end in time."""


class Driver:
    """Drives one stop of a world to its end.

    Attributes:
        inputs: (seconds after the start, input) from outside: joins, spurious timers.
        crashes: numbers of actions before which the driver is killed; it comes back ``down_s`` later.
        step_results: what clean-up steps answer, first one first; then success.
        hook_takes: how long each hook runs and how it ends ("" is success), by its number; a missing one takes no time.
        drain_takes: how long it takes to close the ports, and how that ends; None: for ever.
        checks_journal: whether the state is to survive its journal each time that it is written.
        drains: when it was begun to close them.
        hook_runs: (number, begun at, ended at or None while it runs) of every hook that was begun.
    """

    def __init__(
        self,
        world: World,
        request: StopRequest,
        *,
        inputs: Iterable[tuple[float, Input]] = (),
        crashes: Iterable[int] = (),
        down_s: float = 0.01,
        step_results: dict[Step, list[tuple[str, bool] | None]] | None = None,
        hook_takes: Sequence[tuple[float, str]] = (),
        drain_takes: tuple[float, str] | None = (0.01, ""),
        checks_journal: bool = False,
    ) -> None:
        self.world, self.request = world, request
        self.inputs = sorted(inputs, key=lambda item: item[0])
        self.crashes, self.down_s = set(crashes), down_s
        self.step_results = step_results or {}
        self.hook_takes = list(hook_takes)
        self.drain_takes, self.checks_journal = drain_takes, checks_journal
        self.drains: list[float] = []
        self._drivers = 1
        self._is_hook_ours = False
        self.hook_runs: list[tuple[int, float, float | None]] = []
        self.actions: list[Action] = []
        self.steps_done: list[Step] = []
        self.tells: list[tuple[int, int]] = []
        self.hurried: list[float] = []  # when the last signal was sent (rule S30)
        self.deadlines: list[float | None] = []
        self.asks: list[str] = []  # delivered
        self.stuck_reports = 0
        self.has_lost_tracer = False
        self.crashed_before: list[Action] = []
        self._journal: bytes | None = None
        self._queue: deque[Input] = deque()
        self._watched: set[int] = set()
        self._is_main_seen = False
        self.state: StopState
        self.began_s = world.now_s
        world.tracer.tell = self._queue.append

    def run(self, *, limit_s: float = 10_000.0) -> StopState:
        self._begin()
        self._drain()
        while self.state.phase not in FINAL:
            self._turn(limit_s)
        return self.state

    def _begin(self) -> None:
        main = self.world.main
        self.state, actions = machine.begin(
            self.request, now_s=self.world.now_s, born_s=self.world.born_s, has_exited=bool(main.ended)
        )
        self._is_main_seen = bool(main.ended)
        self._carry_out(actions)

    def _turn(self, limit_s: float) -> None:
        timer = machine.next_timer(self.state)
        due = [at_s for at_s in (timer[1] if timer else None, self.world.next_s()) if at_s is not None]
        if self.inputs:
            due.append(self.began_s + self.inputs[0][0])
        if not due or min(due) > self.began_s + limit_s:
            raise EndlessStopError(f"{self.state.phase} at {self.world.now_s}, timers {self.state.timers}")
        self.world.advance(max(min(due), self.world.now_s))
        self._observe()
        self._drain()
        while self.inputs and self.began_s + self.inputs[0][0] <= self.world.now_s:
            self._queue.append(self.inputs.pop(0)[1])
        self._drain()
        timer = machine.next_timer(self.state)
        if timer and timer[1] <= self.world.now_s and self.state.phase not in FINAL:
            self._queue.append(TimerFired(timer[0]))
            self._drain()

    def _is_main_gone(self) -> bool:
        """A guest is gone when all of its cgroup is."""
        return bool(self.world.main.ended) and (not self.world.is_guest or not self.world.alive())

    def _observe(self) -> None:
        for pid in sorted(self._watched):
            if self.world.procs[pid].ended:
                self._watched.discard(pid)
                self._queue.append(SignalledExited(pid))
        if self._is_main_gone() and not self._is_main_seen:
            self._is_main_seen = True
            self._queue.append(MainExited())

    def _drain(self) -> None:
        while self._queue:
            event = self._queue.popleft()
            before = self.state
            self.state, actions = machine.step(before, event, self.world.now_s)
            check_invariants(before, event, self.state, actions)
            self._check(before, event)
            self._carry_out(actions)
            self._observe()

    def _check(self, before: StopState, event: Input) -> None:
        if self.state.exited_s is not None and before.exited_s is None:
            assert self.world.main.ended, "an exit that was not seen"
        self.deadlines.append(self.state.deadline_s)

    def _carry_out(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if len(self.actions) in self.crashes:
                self.crashes.discard(len(self.actions))
                self.crashed_before.append(action)
                self._come_back()
                return
            self.actions.append(action)
            self._carry_out_one(action)

    def _carry_out_one(self, action: Action) -> None:
        world = self.world
        match action:
            case Persist():
                self._journal = msgspec.json.encode(self.state)
                if self.checks_journal:
                    assert msgspec.json.decode(self._journal, type=StopState) == self.state
            case Drain():
                self._drain_ports()
            case Look():
                self._queue.append(Looked(world.look(examine=action.examine), world.is_frozen))
            case WatchInit():
                world.tracer.watch(holds_exit=action.holds_exit, freezes=action.freezes, noting=action.noting)
            case HoldBack():
                world.tracer.hold(action.keys, thaw=action.thaw)
            case LetGo():
                world.tracer.release(action.keys)
            case SendSignal():
                self.tells.append((action.pid, action.start_ticks))
                proc = world.procs[action.pid]
                assert action.signal in (self.request.signal, self.request.last_signal, HUP)
                if not proc.ended:
                    if action.signal == self.request.last_signal:  # as the plain stop would have signalled it
                        self.hurried.append(world.now_s - self.began_s)
                        world.end(proc, "own")
                    elif action.signal == self.request.signal:
                        world.signal(proc, "bento", wake=action.wake)
                    else:
                        world.hang_up(proc)
                    self._watched.add(action.pid)
            case AskEngine():
                raise AssertionError("no engine runs it")
            case Identify():
                self._queue.append(Identified(world.main.does.obeys or "signal", "as it is"))
            case RequestInit():
                answer = world.ask(action.method)
                self.asks += [] if answer.error else [action.method]
                self._queue.append(answer)
            case Thaw():
                world.thaw()
            case KillInit():
                world.kill(world.main)
            case KillAll():
                world.thaw()
                for proc in world.alive():
                    world.kill(proc)
            case RunHook():
                self._run_hook(action.number)
            case KillHook():
                self._end_hook()
            case RunStep():
                self._run_step(action.step)
            case ReportStuck():
                self.stuck_reports += 1

    def _run_step(self, step: Step) -> None:
        results = self.step_results.get(step)
        result = results.pop(0) if results else ("", False)
        if result is None:  # no answer: it hangs
            return
        error, retry = result
        if not error:
            self.steps_done.append(step)
        self._queue.append(StepDone(step, error, retry))

    def _drain_ports(self) -> None:
        assert not self.tells, "a process was told before the ports were closed"
        assert not self.drains or self.crashed_before, "closed twice by one driver"
        self.drains.append(self.world.now_s)
        if self.drain_takes is not None:
            takes_s, error = self.drain_takes
            of_driver = self._drivers
            self.world.at(takes_s, lambda: self._queue.append(Drained(error)) if of_driver == self._drivers else None)

    def _run_hook(self, number: int) -> None:
        assert not self.hook_is_running, "two hooks at a time"
        takes_s, error = self.hook_takes[number] if number < len(self.hook_takes) else (0.0, "")
        self.hook_runs.append((number, self.world.now_s, None))
        self._is_hook_ours = True
        self.world.at(takes_s, lambda: self._hook_ended(number, error))

    def _hook_ended(self, number: int, error: str) -> None:
        if self.hook_is_running and self.hook_runs[-1][0] == number:
            self._end_hook()
            if self._is_hook_ours:
                self._queue.append(HookDone(number, error))

    @property
    def hook_is_running(self) -> bool:
        return bool(self.hook_runs) and self.hook_runs[-1][2] is None

    def _end_hook(self) -> None:
        if self.hook_is_running:
            number, began_s, _ = self.hook_runs[-1]
            self.hook_runs[-1] = (number, began_s, self.world.now_s)

    def _come_back(self) -> None:
        """Another process finds the record, and goes on from its journal. The tracer ends with its client."""
        self._queue.clear()
        self.has_lost_tracer = self.has_lost_tracer or self.world.tracer.is_used
        self.world.tracer.die(tells=False)
        self.world.tracer.dies_before = None
        self._watched.clear()
        self._drivers += 1
        self._is_hook_ours = False  # it lives on, and is not waited for
        self.world.advance(self.world.now_s + self.down_s)
        if self._journal is None:
            self._begin()
            return
        self.state = msgspec.json.decode(self._journal, type=StopState)
        self._is_main_seen = False
        # As Session.resume: what has exited before anything was killed or cleaned is not killed now.
        self._queue.append(Resumed(self.state.deadline_s))
        self._observe()


def order_of_steps(driver: Driver) -> list[Step]:
    """The clean-up steps that succeeded, each once, in the order of their first success."""
    return [step for step in dict.fromkeys(driver.steps_done) if step in STEPS]


def joined(at_s: float, deadline_s: float | None, *, extend: bool = False) -> tuple[float, Input]:
    """A caller that joins; the deadline is on the world's clock, which begins at 1000."""
    return (at_s, DeadlineMoved(deadline_s, extend))

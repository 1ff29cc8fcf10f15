"""A stop rehearsed: the machine itself, driven in virtual time against a model of the container. Pure.

No rule of the stop is in here: what is signalled, when, and what follows is what ``machine`` does with what it is
shown. Only how programs take it is assumed (``cast``). Besides, the tracer answers at once, ports are closed at once,
and hooks succeed at once, but for a sleep, which takes its time.
"""

from __future__ import annotations

from collections import deque
from typing import assert_never

from msgspec import Struct

from bento.model.stop import ProcessEnd, StopRequest
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
from bento.stop.forecast.cast import Assumed, Cast, Event
from bento.stop.inputs import (
    Drained,
    HeldBack,
    HookDone,
    Identified,
    InitAnswered,
    Input,
    MainExited,
    SignalledExited,
    StepDone,
    TimerFired,
    Traced,
)
from bento.stop.process import Process
from bento.stop.states import FINAL, StopState, Timer
from bento.units import SIGHUP


class Rehearsal(Struct, frozen=True, kw_only=True):
    """How it went. ``state`` is not final when it would go on for ever."""

    state: StopState
    events: tuple[Event, ...]
    ends: tuple[ProcessEnd, ...]
    exit_code: int | None  # of PID 1
    deadline_s: float | None  # when SIGKILL would come, had it not ended
    last_call_s: float | None

    @property
    def is_over(self) -> bool:
        """Whether it comes to an end."""
        return self.state.phase in FINAL


def rehearse(
    request: StopRequest,
    processes: tuple[Process, ...],
    *,
    age_s: float,
    is_frozen: bool = False,
    assumed: Assumed | None = None,
) -> Rehearsal:
    """Run a stop of what one look has shown, at time 0. ``age_s``: of the container."""
    run = _Run(request, Cast(processes, is_frozen=is_frozen, assumed=assumed or Assumed()), age_s)
    run.play()
    main = next((process for process in processes if process.is_main), None)
    return Rehearsal(
        state=run.state,
        events=tuple(run.cast.events),
        ends=run.cast.ends(),
        exit_code=run.cast.codes.get(main.pid) if main else None,
        deadline_s=run.deadline_s,
        last_call_s=run.last_call_s,
    )


class _Run:
    """The machine's driver, as ``engine.stop.driver`` is for real processes."""

    def __init__(self, request: StopRequest, cast: Cast, age_s: float) -> None:
        self.cast = cast
        self.now_s = 0.0
        self.state, self._actions = machine.begin(request, now_s=0.0, born_s=-age_s)
        timers = self.state.timers
        self.deadline_s, self.last_call_s = timers.get(Timer.DEADLINE), timers.get(Timer.LAST_CALL)
        self._queue: deque[Input] = deque()
        self._hook: tuple[float, int] | None = None  # when the one that runs ends, and its number
        self._signalled: set[int] = set()
        self._is_main_seen = False
        # Most looks of a long grace show what the one before has shown: after so many, only the deadline counts.
        self._looks_left = max(150, min(3000, 100_000 // max(1, len(cast.alive))))

    def play(self) -> None:
        """Go on until it is over, or nothing more will happen."""
        self._drain()
        while self.state.phase not in FINAL:
            timers = {t: at_s for t, at_s in self.state.timers.items() if t is not Timer.LOOK or self._looks_left > 0}
            timer = min(timers.items(), key=lambda item: item[1], default=None)
            exit_s, hook = self.cast.next_s(), self._hook
            due = [at_s for at_s in (timer and timer[1], exit_s, hook and hook[0]) if at_s is not None]
            if not due:
                return
            self.now_s = min(due)
            if hook is not None and hook[0] <= self.now_s:
                self._hook = None
                self._queue.append(HookDone(hook[1]))
            elif exit_s is not None and exit_s <= self.now_s:
                self._observe(self.cast.advance(self.now_s))
            else:
                assert timer is not None
                self._looks_left -= timer[0] is Timer.LOOK
                self._queue.append(TimerFired(timer[0]))
            self._drain()

    def _observe(self, ended: list[int]) -> None:
        self._queue.extend(SignalledExited(pid) for pid in ended if pid in self._signalled)
        self._take_inputs()
        if self.cast.is_over() and not self._is_main_seen:
            self._is_main_seen = True
            self._queue.append(MainExited())

    def _take_inputs(self) -> None:
        self._queue.extend(self.cast.inputs)
        self.cast.inputs.clear()

    def _drain(self) -> None:
        self._carry_out(self._actions)
        while self._queue:
            self.state, self._actions = machine.step(self.state, self._queue.popleft(), self.now_s)
            self._carry_out(self._actions)
        self._actions = ()

    def _carry_out(self, actions: tuple[Action, ...]) -> None:
        cast, now_s = self.cast, self.now_s
        for action in actions:
            match action:
                case Look():
                    self._queue.append(cast.look(now_s, examine=action.examine))
                case WatchInit():
                    cast.holds_exit, cast.noting = action.holds_exit, frozenset(action.noting)
                    self._queue.append(Traced())
                case HoldBack():
                    held = {pid for pid, _ in action.keys}
                    cast.held |= held
                    if held:
                        cast.events.append(Event(now_s, "held", tuple(sorted(held))))
                    self._queue.append(HeldBack(action.keys))
                case LetGo():
                    cast.let_go(now_s)
                case SendSignal():
                    self._signalled.add(action.pid)
                    is_hangup = action.signal == SIGHUP != self.state.request.signal
                    cast.signal(action.pid, action.signal, now_s, is_hangup=is_hangup)
                    self._take_inputs()
                case Thaw():
                    cast.is_frozen = False
                    cast.events.append(Event(now_s, "thawed"))
                case KillInit():
                    main = cast.main()
                    cast.events.append(Event(now_s, "end-main", (main.pid,) if main else ()))
                    cast.kill([main.pid] if main else [], now_s, is_all=False)
                case KillAll():
                    cast.events.append(Event(now_s, "kill-all", tuple(cast.alive)))
                    cast.kill(list(cast.alive), now_s, is_all=True)
                case Drain():
                    cast.events.append(Event(now_s, "drained"))
                    self._queue.append(Drained())
                case Identify():
                    self._queue.append(Identified(cast.method(), "its program's name"))
                case RequestInit():
                    cast.ask(now_s)
                    self._queue.append(InitAnswered(action.method))
                case RunHook():
                    self._run_hook(action.number)
                case KillHook():
                    self._hook = None
                case RunStep():
                    self._queue.append(StepDone(action.step))
                case Persist() | ReportStuck() | AskEngine():  # nothing to the processes; no engine is asked here
                    pass
                case _:
                    assert_never(action)

    def _run_hook(self, number: int) -> None:
        hook = self.state.request.hooks[number]
        self.cast.events.append(Event(self.now_s, "hook", number=number))
        self._hook = (self.now_s + (hook.seconds if hook.kind == "sleep" else 0.0), number)

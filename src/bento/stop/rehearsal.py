"""A stop rehearsed: the machine itself, driven in virtual time against a model of the container. Pure.

No rule of the stop is in here: what is signalled, when, and what follows is what ``machine`` does with what it is
shown. Only how programs take it is assumed, and that is the whole of this model:

- a program that receives the signal ends at once, and ends what it has started;
- an init or another forwarder passes it on to its first child, and leaves with that child's status;
- a shell with a trap notes it while it waits for a child, and runs the trap, or leaves, when that has ended;
- what has only the default action dies of it; what ignores the signal, or does not receive it, goes on;
- what is held does not go on, and PID 1 can be held at its exit;
- inits that want another signal (systemd, runit) go on, too;
- ports are closed at once, and hooks succeed at once, but for a sleep, which takes its time.
"""

from __future__ import annotations

from collections import deque
from typing import Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from bento.model.stop import StopRequest
from bento.model.waits import Evidence, ThreadWait
from bento.stop import machine
from bento.stop.actions import (
    Action,
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
    Drained,
    HeldBack,
    HookDone,
    Identified,
    InitAnswered,
    InitLeaving,
    Input,
    Looked,
    MainExited,
    SignalledExited,
    SignalNoted,
    StepDone,
    TimerFired,
    Traced,
)
from bento.stop.methods import HALTED_CODE, METHODS, SIGNAL
from bento.stop.process import Disposition, Key, Process
from bento.stop.states import FINAL, StopState, Timer
from bento.stop.tree import Tree, is_shell, program
from bento.stop.verdict import SIGKILL_STATUS
from bento.stop.wrapping import waits_for

SOON_S: Final = 0.001  # what "at once" takes
SWALLOWERS: Final = frozenset({"node", "nodejs"})
"""They set a handler of their own that only gives up: it looks like one of the program's."""
_FORWARDERS: Final = frozenset(
    {"tini", "tini-static", "catatonit", "docker-init", "podman-init", "dumb-init", "s6-svscan"}
    | {"su", "sudo", "timeout", "runuser", "npm", "yarn", "pnpm", "npx"}
)
_SIGKILL: Final = 9
_BY_NAME: Final[dict[str, str]] = {name: name for name in METHODS} | {"init": "sysvinit"}
_ENDS_ON: Final = {"systemd": frozenset({37, 38, 2}), "runit": frozenset({30, 2})}
"""Inits that do something else at other signals: systemd executes itself anew at SIGTERM (systemd(1), SIGNALS)."""
_UNREAD: Final = Evidence(threads=(ThreadWait(tid=0, state="R"),))


def is_forwarder(process: Process) -> bool:
    """Whether a program is known to pass a signal on to its child. For forecasts alone."""
    return program(process) in _FORWARDERS or process.comm in _FORWARDERS


class Event(Struct, frozen=True):
    """Something that happens in a rehearsal."""

    at_s: float
    kind: str  # drained | passed-on | noted | ended | left | held | leaving | thawed | end-main | kill-all | hook
    pids: tuple[int, ...] = ()
    number: int = 0  # of the hook


class Rehearsal(Struct, frozen=True, kw_only=True):
    """How it went. ``state`` is not final when it would go on for ever."""

    state: StopState
    events: tuple[Event, ...]
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
    swallows: bool = False,
) -> Rehearsal:
    """Run a stop of what one look has shown, at time 0. ``age_s``: of the container.

    ``swallows``: programs known for it (node) drop their handler when told, and live on.
    """
    run = _Run(request, _Cast(processes, is_frozen=is_frozen, swallows=swallows), age_s)
    run.play()
    main = next((process for process in processes if process.is_main), None)
    return Rehearsal(
        state=run.state,
        events=tuple(run.cast.events),
        exit_code=run.cast.codes.get(main.pid) if main else None,
        deadline_s=run.deadline_s,
        last_call_s=run.last_call_s,
    )


class _Cast:
    """The processes, and how they take what they are told."""

    def __init__(self, processes: tuple[Process, ...], *, is_frozen: bool, swallows: bool) -> None:
        self.alive = {process.pid: process for process in processes}
        self.codes: dict[int, int] = {}  # of those that have ended
        self.events: list[Event] = []
        self.is_frozen = is_frozen
        self.due: list[tuple[float, int, int, str]] = []  # which ends when, with which code, and the event's kind
        self.held: set[int] = set()
        self.holds_exit = False
        self.leaving: int | None = None  # the exit code of a PID 1 that is held at its exit
        self.noting: frozenset[Key] = frozenset()
        self.inputs: list[Input] = []
        self._swallows = swallows
        self._waits_for = {process.pid: self._foreground(process) for process in processes}

    def _foreground(self, process: Process) -> frozenset[int]:
        """What a process waits for, as the kernel says; without that, its children."""
        tree = Tree(self.alive.values())
        found = waits_for(tree, process) if process.evidence is not None else tree.children(process)
        return frozenset(child.pid for child in found)

    def main(self) -> Process | None:
        return next((process for process in self.alive.values() if process.is_main), None)

    def look(self, *, examine: bool) -> Looked:
        """Show them, with evidence where it is asked for; what a real look has not brought may do anything."""
        shown = list(self.alive.values())
        if examine:
            shown = [one if one.evidence is not None else replace(one, evidence=_UNREAD) for one in shown]
        return Looked(tuple(shown), self.is_frozen)

    def method(self) -> str:
        """Return what PID 1 would be asked by, from its name alone: a rehearsal has no more."""
        main = self.main()
        return _BY_NAME.get(main.comm, SIGNAL) if main else SIGNAL

    def ask(self, now_s: float) -> None:
        """Have an init shut its container down, as one that has nothing to do."""
        main = self.main()
        if main is not None:
            self.due.append((now_s + SOON_S, main.pid, HALTED_CODE, "ended"))

    def signal(self, pid: int, number: int, now_s: float) -> None:
        """Have a process take a signal. A frozen one takes it when it is thawed, which comes with it."""
        process = self.alive[pid]
        waiting = self._waits_for[pid] & self.alive.keys()
        ends_on = _ENDS_ON.get(process.comm, frozenset({number}))
        if process.key in self.noting:
            is_noted = is_shell(process) and bool(waiting)
            self.inputs.append(SignalNoted(process.key, is_noted))
        if not process.disposition.receives:
            if process.disposition is Disposition.DEFAULT:
                self.due.append((now_s + SOON_S, pid, 128 + number, "ended"))
        elif is_forwarder(process) and waiting:
            first = min(waiting, key=lambda child: self.alive[child].key[::-1])
            self.events.append(Event(now_s, "passed-on", (pid, first)))
            self.signal(first, number, now_s)
        elif self._swallows and program(process) in SWALLOWERS:
            self.alive[pid] = replace(
                process, disposition=Disposition.DROPPED if process.is_main else Disposition.DEFAULT
            )
        elif number in ends_on and not (is_shell(process) and waiting):
            self.due.append((now_s + SOON_S, pid, 0, "ended"))

    def kill(self, pids: list[int], now_s: float) -> None:
        self.due += [(now_s, pid, SIGKILL_STATUS, "killed") for pid in pids]

    def let_go(self, now_s: float) -> None:
        """Nothing is held any more; a PID 1 at its exit ends."""
        self.held.clear()
        self.holds_exit = False
        main = self.main()
        if self.leaving is not None and main is not None:
            self.due.append((now_s, main.pid, self.leaving, "released"))

    def next_s(self) -> float | None:
        return min((due[0] for due in self.due), default=None)

    def advance(self, now_s: float) -> list[int]:
        """End what is due; return what has ended."""
        ended: list[int] = []
        while self.due and (first := min(self.due))[0] <= now_s:
            self.due.remove(first)
            _, pid, code, kind = first
            if pid in self.alive:
                ended += self._end(pid, code, kind, now_s)
        return ended

    def _end(self, pid: int, code: int, kind: str, now_s: float) -> list[int]:
        process = self.alive[pid]
        if process.is_main and self.holds_exit and kind in ("ended", "left"):
            if self.leaving is None:
                self.leaving = code
                self.events.append(Event(now_s, "leaving", (pid,)))
                self.inputs.append(InitLeaving())
            return []
        self.codes[pid] = code
        gone = self._gone_with(process)
        for one in gone:
            self.alive.pop(one, None)
        main = self.main()
        for child in list(self.alive.values()):
            if child.ppid in gone and main is not None:
                self.alive[child.pid] = replace(child, ppid=main.pid)
        if kind != "killed":
            self.events.append(Event(now_s, "ended" if kind == "released" else kind, (pid,)))
        for waiter in list(self.alive.values()):
            waiting = self._waits_for[waiter.pid]
            if waiting and not waiting & self.alive.keys() and self._leaves(waiter):
                self.due.append((now_s + SOON_S, waiter.pid, code, "left"))
        return gone

    def _gone_with(self, process: Process) -> list[int]:
        """What ends with a process: with PID 1 its whole namespace, with a program what it has started."""
        if process.is_main:
            return list(self.alive)
        if process.disposition.receives and not is_forwarder(process) and not is_shell(process):
            return [process.pid, *(below for below, _ in Tree(self.alive.values()).below([process.key]))]
        return [process.pid]

    def _leaves(self, waiter: Process) -> bool:
        """Whether a process ends when what it waits for has ended. What is held never does."""
        if waiter.pid in self.held:
            return False
        return is_shell(waiter) or is_forwarder(waiter) or (waiter.is_main and not waiter.disposition.receives)


class _Run:
    """The machine's driver, as ``engine.session`` is for real processes."""

    def __init__(self, request: StopRequest, cast: _Cast, age_s: float) -> None:
        self.cast = cast
        self.now_s = 0.0
        self.state, self._actions = machine.begin(request, now_s=0.0, born_s=-age_s)
        timers = self.state.timers
        self.deadline_s, self.last_call_s = timers.get(Timer.DEADLINE), timers.get(Timer.LAST_CALL)
        self._queue: deque[Input] = deque()
        self._hook: tuple[float, int] | None = None  # when the one that runs ends, and its number
        self._told: set[int] = set()
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
        self._queue.extend(SignalledExited(pid) for pid in ended if pid in self._told)
        self._take_inputs()
        if self.cast.main() is None and not self._is_main_seen:
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
                    self._queue.append(cast.look(examine=action.examine))
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
                    self._told.add(action.pid)
                    cast.signal(action.pid, action.signal, now_s)
                    self._take_inputs()
                case Thaw():
                    cast.is_frozen = False
                    cast.events.append(Event(now_s, "thawed"))
                case KillInit():
                    main = cast.main()
                    cast.events.append(Event(now_s, "end-main", (main.pid,) if main else ()))
                    cast.kill([main.pid] if main else [], now_s)
                case KillAll():
                    cast.events.append(Event(now_s, "kill-all", tuple(cast.alive)))
                    cast.kill(list(cast.alive), now_s)
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
                case Persist() | ReportStuck():  # nothing to the processes
                    pass
                case _:
                    assert_never(action)

    def _run_hook(self, number: int) -> None:
        hook = self.state.request.hooks[number]
        self.cast.events.append(Event(self.now_s, "hook", number=number))
        self._hook = (self.now_s + (hook.seconds if hook.kind == "sleep" else 0.0), number)

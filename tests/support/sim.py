"""A container in virtual time: processes with habits, and a kernel that delivers signals as Linux does.

``World`` plays the container, ``Driver`` plays the engine's session: it carries out what the stop machine wants,
feeds back what it sees, and can be killed at any action. Nothing here sleeps; the same input gives the same end.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec

from bento.model.stop import StopRequest
from bento.stop import machine
from bento.stop.actions import (
    Action,
    Drain,
    Identify,
    KillAll,
    KillHook,
    KillInit,
    Look,
    Persist,
    ReportStuck,
    RequestInit,
    RunHook,
    RunStep,
    SendSignal,
    Thaw,
)
from bento.stop.inputs import (
    DeadlineMoved,
    Drained,
    HookDone,
    Identified,
    InitAnswered,
    Input,
    Looked,
    MainExited,
    Resumed,
    SignalledExited,
    StepDone,
    TimerFired,
)
from bento.stop.invariants import check_invariants
from bento.stop.process import Disposition, Process, disposition
from bento.stop.states import FINAL, STEPS, Step, StopState

TERM = 15
MOVE_S = 0.002
"""How long a parent takes to notice that its child has ended: long enough for a look in between."""


@dataclass(frozen=True)
class Does:
    """What a process is and does. ``runs``: its children, for a shell one after the other."""

    kind: str = "plain"
    # plain: default action. ignores. blocks: and never reads. works: a handler that needs ``needs_s``.
    # drops: the same with the default action restored meanwhile. swallows: as node without a handler.
    # shell: ``runs`` in turn, leaves with the last. trap: a shell with a trap. forwarder: passes on to its one child.
    # init: of a system container; ignores the stop signal, ends its children when asked by its method.
    # group: as dumb-init, to everybody below. supervisor: a handler; restarts children, ends them when told.
    name: str = ""
    runs: tuple[Does, ...] = ()
    jobs: tuple[Does, ...] = ()  # started by a shell with &
    trap_runs: tuple[Does, ...] = ()
    trap_forwards: bool = False  # the trap tells the jobs and waits for them
    needs_s: float = 0.0
    lasts_s: float = 1e9  # ends by itself after so long
    hears_after_s: float = 0.0  # installs its handler so late
    loops: bool = False  # a shell that begins again
    cpu: bool = False
    is_halted: bool = False
    dies_after_s: float = 0.0  # hangs in the kernel for so long after SIGKILL
    hidden_looks: int = 0  # so many looks miss it: forked while they went on
    obeys: str = ""  # of an init: the stop method that it knows
    refuses: int = 0  # of an init: so many init_requests find it still booting
    halts: bool = False  # of an init: shuts all down and stays


@dataclass
class Proc:
    """One process."""

    pid: int
    ppid: int
    does: Does
    born_s: float
    argv: tuple[str, ...]
    is_main: bool = False
    is_job: bool = False
    is_entered: bool = False
    is_halted: bool = False
    is_pending: bool = False
    is_reset: bool = False  # has restored the default action
    is_busy: bool = False  # was told, and works on its end
    is_dying: bool = False
    step: int = 0  # of a shell
    foreground: int = 0
    hidden_looks: int = 0
    got: list[str] = field(default_factory=list)  # who sent it the stop signal
    told_s: float | None = None
    ended: str = ""  # "", own, default, killed, killed-with-main, quit
    ended_s: float = 0.0

    @property
    def key(self) -> tuple[int, int]:
        return (self.pid, 1)


_NAMES = {
    "plain": "sleep", "ignores": "stubborn", "blocks": "blocker", "works": "server", "drops": "dropper",
    "swallows": "node", "shell": "sh", "trap": "bash", "forwarder": "tini", "group": "dumb-init",
    "supervisor": "supervisord", "init": "init",
}  # fmt: skip
_CAUGHT = {"works", "drops", "swallows", "trap", "forwarder", "group", "supervisor"}


class World:
    """The processes of one container."""

    def __init__(
        self, main: Does, *, age_s: float = 100.0, is_frozen: bool = False, sessions: Sequence[Does] = ()
    ) -> None:
        self.now_s = 1000.0
        self.procs: dict[int, Proc] = {}
        self.is_frozen = False
        self.history: list[str] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._pids = count(100)
        self._held: list[Callable[[], None]] = []
        self.born_s = self.now_s - age_s
        self.main = self.spawn(main, ppid=1, is_main=True)
        for session in sessions:
            self.enter(session)
        self.present = {proc.pid for proc in self.procs.values()}
        self.is_frozen = is_frozen

    # -- time

    def at(self, delay_s: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._order), then))

    def next_s(self) -> float | None:
        return self._events[0][0] if self._events else None

    def advance(self, to_s: float) -> None:
        """Let everything happen that is due until then."""
        while self._events and self._events[0][0] <= to_s:
            at_s, _, then = heapq.heappop(self._events)
            self.now_s = max(self.now_s, at_s)
            if self.is_frozen:
                self._held.append(then)
            else:
                then()
        self.now_s = max(self.now_s, to_s)

    def thaw(self) -> None:
        self.is_frozen = False
        held, self._held = self._held, []
        for then in held:
            then()

    # -- processes

    def spawn(self, does: Does, *, ppid: int, is_main: bool = False, is_job: bool = False) -> Proc:
        name = does.name or _NAMES[does.kind]
        proc = Proc(
            pid=next(self._pids), ppid=ppid, does=does, born_s=self.now_s, argv=(name, f"{does.kind}-{does.needs_s}"),
            is_main=is_main, is_job=is_job, is_halted=does.is_halted, hidden_looks=does.hidden_looks,
        )  # fmt: skip
        self.procs[proc.pid] = proc
        if does.lasts_s < 1e9:
            self.at(does.lasts_s, lambda: self.end(proc, "own"))
        for job in does.jobs:
            self.spawn(job, ppid=proc.pid, is_job=True)
        if does.kind in ("shell", "trap"):
            self._next_command(proc)
        else:
            for child in does.runs:
                self.spawn(child, ppid=proc.pid)
        return proc

    def enter(self, does: Does) -> Proc:
        """Bring a process in from outside, as exec does."""
        proc = self.spawn(does, ppid=0)
        proc.is_entered = True
        return proc

    def children(self, proc: Proc) -> list[Proc]:
        return [other for other in self.procs.values() if other.ppid == proc.pid and not other.ended]

    def below(self, proc: Proc) -> list[Proc]:
        found = self.children(proc)
        for child in found:
            found = found + self.below(child)
        return found

    def alive(self) -> list[Proc]:
        return [proc for proc in self.procs.values() if not proc.ended]

    def end(self, proc: Proc, how: str) -> None:
        if proc.ended:
            return
        proc.ended, proc.ended_s = how, self.now_s
        self.history.append(f"{self.now_s:.3f} {proc.argv[0]} {proc.pid} {how}")
        if proc.is_main:
            for other in self.alive():
                self.end(other, "killed-with-main")
            return
        for child in self.children(proc):
            child.ppid = self.main.pid
        parent = self.procs.get(proc.ppid)
        if parent and not parent.ended:
            self.at(MOVE_S, lambda: self._child_ended(parent, proc))

    def kill(self, proc: Proc) -> None:
        """SIGKILL."""
        if proc.ended or proc.is_dying:
            return
        if proc.does.dies_after_s > 0:
            proc.is_dying = True
            heapq.heappush(
                self._events,
                (self.now_s + proc.does.dies_after_s, next(self._order), lambda: self.end(proc, "killed")),
            )
        else:
            self.end(proc, "killed")

    def signal(self, proc: Proc, by: str, *, wake: bool = False) -> None:
        """The stop signal."""
        if proc.ended:
            return
        if by == "bento":
            proc.told_s = self.now_s
        proc.got.append(by)
        self.history.append(f"{self.now_s:.3f} {by} tells {proc.argv[0]} {proc.pid}")
        proc.is_pending = True
        if proc.is_halted and wake:
            proc.is_halted = False
        if not proc.is_halted:
            if self.is_frozen:
                self._held.append(lambda: self._deliver(proc))
            else:
                self._deliver(proc)

    def ask(self, method: str) -> InitAnswered:
        """A request to PID 1 by a stop method."""
        main = self.main
        if main.ended or main.does.obeys != method:
            return InitAnswered(method, "nobody hears that")
        if main.does.refuses > len(main.got):
            main.got.append("too early")
            return InitAnswered(method, "it is still booting", retry=True)
        main.got.append(method)
        self.history.append(f"{self.now_s:.3f} {method} asked")
        main.is_busy = True

        def shut_down() -> None:
            for proc in self.alive():
                if not proc.is_main:
                    self.end(proc, "own")
            if not main.does.halts:
                self.end(main, "own")

        self.at(main.does.needs_s, shut_down)
        return InitAnswered(method)

    def _deliver(self, proc: Proc) -> None:
        if proc.ended:
            return
        what = self.disposition(proc)
        if what is Disposition.BLOCKED:
            return
        proc.is_pending = False
        if what is Disposition.DEFAULT:
            self.end(proc, "default")
        elif what.receives:
            self._handle(proc)

    def disposition(self, proc: Proc) -> Disposition:
        bit = 1 << (TERM - 1)
        kind = proc.does.kind
        hears = kind in _CAUGHT and not proc.is_reset and self.now_s - proc.born_s >= proc.does.hears_after_s
        return disposition(
            TERM,
            blocked=bit if kind == "blocks" else 0,
            ignored=bit if kind in ("ignores", "init") else 0,
            caught=bit if hears and kind != "forwarder" else 0,
            is_namespace_init=proc.is_main,
            is_traced=False,
            waits=hears and kind == "forwarder",
        )

    def look(self) -> tuple[Process, ...]:
        shown = []
        for proc in self.alive():
            if proc.hidden_looks > 0:
                proc.hidden_looks -= 1
                continue
            ticks = int((self.now_s - proc.born_s) * 100) if proc.does.cpu and not self.is_frozen else 0
            shown.append(
                Process(
                    pid=proc.pid, start_ticks=1, ppid=proc.ppid, comm=proc.argv[0], argv=proc.argv,
                    disposition=self.disposition(proc), is_main=proc.is_main, is_pending=proc.is_pending,
                    is_halted=proc.is_halted, is_background=proc.is_job, cpu_ticks=ticks, is_entered=proc.is_entered,
                )
            )  # fmt: skip
        return tuple(shown)

    # -- habits

    def _handle(self, proc: Proc) -> None:
        kind = proc.does.kind
        if kind in ("works", "drops"):
            if proc.is_busy:  # as many do: the second one means "quit now"
                self.end(proc, "quit")
                return
            proc.is_busy = True
            proc.is_reset = kind == "drops"
            self.at(proc.does.needs_s, lambda: self.end(proc, "own"))
        elif kind == "swallows":
            proc.is_reset = True
            if not proc.is_main:
                self.end(proc, "default")
        elif kind == "forwarder":
            for child in self.children(proc)[:1]:
                self.signal(child, proc.argv[0])
        elif kind == "group":
            for child in self.below(proc):
                self.signal(child, proc.argv[0])
        elif kind == "supervisor":
            self._supervisor_told(proc)
        elif kind == "trap":
            is_first, proc.is_busy = not proc.is_busy, True
            if is_first and (not proc.foreground or self.procs[proc.foreground].ended):
                self._run_trap(proc)

    def _supervisor_told(self, proc: Proc) -> None:
        proc.is_busy = True
        for child in self.children(proc):
            self.signal(child, proc.argv[0])
        if not self.children(proc):
            self.at(proc.does.needs_s, lambda: self.end(proc, "own"))

    def _child_ended(self, parent: Proc, child: Proc) -> None:
        if parent.ended:
            return
        kind = parent.does.kind
        if kind in ("shell", "trap") and child.pid == parent.foreground:
            parent.foreground = 0
            if parent.is_busy and kind == "trap":
                self._run_trap(parent)
            else:
                self._next_command(parent)
        elif kind == "trap" and parent.is_busy and not self.children(parent):
            self.end(parent, "own")  # its wait has ended
        elif kind in ("forwarder", "group") and child.does in parent.does.runs:
            self.end(parent, "own")
        elif kind == "supervisor":
            if not parent.is_busy and child.does in parent.does.runs:
                self.spawn(child.does, ppid=parent.pid)
            elif parent.is_busy and not self.children(parent):
                self.at(parent.does.needs_s, lambda: self.end(parent, "own"))

    def _next_command(self, shell: Proc) -> None:
        runs = shell.does.runs
        if shell.step >= len(runs) and shell.does.loops:
            shell.step = 0
        if shell.step < len(runs):
            command = runs[shell.step]
            shell.step += 1
            shell.foreground = self.spawn(command, ppid=shell.pid).pid
        elif not shell.does.jobs or not self.children(shell):
            self.end(shell, "own")
        elif shell.does.kind == "shell":  # wait: leaves when its jobs have left
            self.at(0.01, lambda: None if shell.ended else self._next_command(shell))

    def _run_trap(self, shell: Proc) -> None:
        shell.is_busy = True
        if shell.step < 1000:
            shell.step = 1000
            if shell.does.trap_forwards:
                for job in self.children(shell):
                    self.signal(job, shell.argv[0])
        done = shell.step - 1000
        if done < len(shell.does.trap_runs):
            shell.step += 1
            shell.foreground = self.spawn(shell.does.trap_runs[done], ppid=shell.pid).pid
        elif not (shell.does.trap_forwards and self.children(shell)):
            self.end(shell, "own")


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
    ) -> None:
        self.world, self.request = world, request
        self.inputs = sorted(inputs, key=lambda item: item[0])
        self.crashes, self.down_s = set(crashes), down_s
        self.step_results = step_results or {}
        self.hook_takes = list(hook_takes)
        self.drain_takes = drain_takes
        self.drains: list[float] = []
        self._drivers = 1
        self._is_hook_ours = False
        self.hook_runs: list[tuple[int, float, float | None]] = []
        self.actions: list[Action] = []
        self.steps_done: list[Step] = []
        self.tells: list[tuple[int, int]] = []
        self.deadlines: list[float | None] = []
        self.asks: list[str] = []  # delivered
        self.stuck_reports = 0
        self.crashed_before: list[Action] = []
        self._journal: bytes | None = None
        self._queue: deque[Input] = deque()
        self._watched: set[int] = set()
        self._is_main_seen = False
        self.state: StopState
        self.began_s = world.now_s

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

    def _observe(self) -> None:
        for pid in sorted(self._watched):
            if self.world.procs[pid].ended:
                self._watched.discard(pid)
                self._queue.append(SignalledExited(pid))
        if self.world.main.ended and not self._is_main_seen:
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
            assert self.world.main.ended, "an exit that nobody saw"
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
            case Drain():
                self._drain_ports()
            case Look():
                self._queue.append(Looked(world.look(), world.is_frozen))
            case SendSignal():
                self.tells.append((action.pid, action.start_ticks))
                proc = world.procs[action.pid]
                assert action.signal == self.request.signal
                if not proc.ended:
                    world.signal(proc, "bento", wake=action.wake)
                    self._watched.add(action.pid)
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
        if result is None:  # no answer: somebody hangs
            return
        error, retry = result
        if not error:
            self.steps_done.append(step)
        self._queue.append(StepDone(step, error, retry))

    def _drain_ports(self) -> None:
        assert not self.tells, "somebody was told before the ports were closed"
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
        """Another process finds the record, and goes on from its journal."""
        self._queue.clear()
        self._watched.clear()
        self._drivers += 1
        self._is_hook_ours = False  # it lives on, and nobody waits for it
        self.world.advance(self.world.now_s + self.down_s)
        if self._journal is None:
            self._begin()
            return
        self.state = msgspec.json.decode(self._journal, type=StopState)
        self._is_main_seen = False
        # As Session.resume: who has exited before anything was killed or cleaned is not killed now.
        self._queue.append(Resumed(self.state.deadline_s))
        self._observe()


def order_of_steps(driver: Driver) -> list[Step]:
    """The clean-up steps that succeeded, each once, in the order of their first success."""
    return [step for step in dict.fromkeys(driver.steps_done) if step in STEPS]


def joined(at_s: float, deadline_s: float | None, *, extend: bool = False) -> tuple[float, Input]:
    """A caller who joins; the deadline is on the world's clock, which begins at 1000."""
    return (at_s, DeadlineMoved(deadline_s, extend))

"""Short words for what a look at a container shows, and a hand on the stop machine in virtual time."""

from __future__ import annotations

from msgspec.structs import replace

from bento.model.stop import StopRequest
from bento.model.waits import Descriptor, Evidence, Kind, TerminalMode, ThreadWait
from bento.stop import machine
from bento.stop.actions import Action, SendSignal
from bento.stop.inputs import Input, Looked, TimerFired
from bento.stop.invariants import check_invariants
from bento.stop.process import Disposition, Process
from bento.stop.states import FINAL, Phase, StopState, Timer

HANDLED, BLOCKED, WAITING, IGNORED, DEFAULT, DROPPED, UNKNOWN = Disposition


def proc(pid: int, disposition: Disposition, name: str = "prog", *, under: int = 0, **more) -> Process:
    """A process; ``under`` is its parent, and none makes it PID 1."""
    more.setdefault("argv", (name,))
    more.setdefault("start_ticks", 7)
    more.setdefault("is_main", under == 0)
    more.setdefault("is_namespace_init", more["is_main"])
    threads = more["evidence"].threads if more.get("evidence") else ()
    more.setdefault("is_waiting", [one.call for one in threads] in (["wait4"], ["waitid"]))
    return Process(pid=pid, ppid=under, comm=name, disposition=disposition, **more)


def thread(call: str = "", **more) -> Evidence:
    """One thread in a system call; without one it runs."""
    more.setdefault("state", "S" if call else "R")
    return Evidence(threads=(ThreadWait(tid=1, call=call, **more),))


def runs() -> Evidence:
    return thread()


def waits(child: int | None = 0) -> Evidence:
    """It waits for a child, 0: for any."""
    return thread("wait4", child=child)


def sleeps(seconds: float = 1e5) -> Evidence:
    return thread("clock_nanosleep", timeout_s=seconds)


def pauses() -> Evidence:
    return thread("pause")


def polls(kind: Kind = "socket") -> Evidence:
    return thread("epoll_wait", fds=(Descriptor(kind),))


def types(call: str = "pselect6", terminal: TerminalMode = "edited", **more) -> Evidence:
    """It waits for what is typed into a terminal."""
    return thread(call, fds=(Descriptor("tty", terminal=terminal),), **more)


def serves(*, connected: int = 0) -> Evidence:
    """A listener; at rest when nothing is connected to it."""
    return replace(polls("listen"), listening=1, connected=connected)


class Stop:
    """A stop under test. The container is 100 s old and the clock says 1000 at the beginning."""

    def __init__(self, request: StopRequest | None = None, *, age_s: float = 100.0) -> None:
        self.now_s = 1000.0
        request = request or StopRequest()
        self.state: StopState
        self.state, self.actions = machine.begin(request, now_s=self.now_s, born_s=self.now_s - age_s)

    def give(self, event: Input, *, after_s: float = 0.0) -> tuple[Action, ...]:
        """Feed one input, some time later; return the actions."""
        self.now_s += after_s
        before = self.state
        self.state, self.actions = machine.step(before, event, self.now_s)
        check_invariants(before, event, self.state, self.actions)
        return self.actions

    def look(self, *processes: Process, after_s: float = 0.0, is_frozen: bool = False) -> list[int]:
        """Feed a look; return the pids that are signalled because of it."""
        self.give(Looked(processes, is_frozen), after_s=after_s)
        return self.signalled_now

    def did(self, *actions: Action) -> bool:
        """Whether the last input led to exactly these."""
        return self.actions == actions

    @property
    def signalled_now(self) -> list[int]:
        return [action.pid for action in self.actions if isinstance(action, SendSignal)]

    def look_until(self, at_s: float, *processes: Process) -> list[int]:
        """Show the same at every look that is asked for until then; return which are signalled. Other timers fire."""
        told: list[int] = self.look(*processes) if self.state.phase is Phase.REQUESTED else []
        while self.state.phase not in FINAL:
            timer = machine.next_timer(self.state)
            if timer is None or timer[1] > 1000.0 + at_s:
                break
            self.now_s = timer[1]
            self.give(TimerFired(timer[0]))
            if timer[0] in (Timer.LOOK, Timer.LAST_CALL):
                told += self.look(*processes)
        self.now_s = max(self.now_s, 1000.0 + at_s)
        return told

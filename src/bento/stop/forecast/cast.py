"""How programs are assumed to take a stop that is rehearsed. Pure; the whole of the model is this:

- a program that receives the signal ends at once, and ends what it has started before;
- an init or another forwarder passes it on to its first child, or to all below it where it passes on to a group, and
  leaves with that child's status;
- a shell with a trap notes it while it waits for a child, and runs the trap, or leaves, when that has ended; or it is
  in its ``wait`` builtin and runs the trap at once (``Assumed.traps_at_once``). What it has started it leaves alone;
- what has only the default action dies of it; what ignores the signal, or does not receive it, goes on;
- what waits for a child and does not receive the signal leaves when that has ended, and not when it is held;
- what sleeps may be at work once its time is over;
- PID 1 can be held at its exit; the kernel ends the rest of its PID namespace with it, unless it is a guest in another;
- inits that want another signal (systemd, runit) go on, too.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bento.model.stop import ProcessEnd
from bento.model.waits import Evidence, ThreadWait
from bento.stop.inputs import InitGaveUp, InitLeaving, Input, Looked, SignalNoted
from bento.stop.methods import HALTED_CODE, METHODS, SIGNAL
from bento.stop.process import Disposition, Key, Process
from bento.stop.rules.tree import Tree, is_shell, program
from bento.stop.rules.wrapping import waits_for, waits_for_jobs
from bento.stop.verdict import SIGKILL_STATUS

SOON_S: Final = 0.001  # what "at once" takes
SWALLOWERS: Final = frozenset({"node", "nodejs"})
"""They set a handler of their own that only gives up: it looks like one of the program's."""
_FORWARDERS: Final = frozenset(
    {"tini", "tini-static", "catatonit", "docker-init", "podman-init", "dumb-init"}
    | {"su", "sudo", "timeout", "runuser", "npm", "yarn", "pnpm", "npx"}
)
_BY_NAME: Final[dict[str, str]] = {name: name for name in METHODS} | {"init": "sysvinit"}
_ENDS_ON: Final = {"systemd": frozenset({37, 38, 2}), "runit": frozenset({30, 2})}
"""Inits that do something else at other signals: systemd executes itself anew at SIGTERM (systemd(1), SIGNALS)."""
_UNREAD: Final = Evidence(threads=(ThreadWait(tid=0, state="R"),))
_BY_ITSELF: Final = frozenset({"ended", "left", "trapped"})


def is_forwarder(process: Process) -> bool:
    """Whether a program is known to pass a signal on to its child. For forecasts alone."""
    return program(process) in _FORWARDERS or process.comm in _FORWARDERS


def is_supervisor(process: Process) -> bool:
    """Whether a program is assumed to end what it has started when it gets the signal."""
    return process.disposition.receives and not is_forwarder(process) and not is_shell(process)


class Assumed(Struct, frozen=True, kw_only=True):
    """What cannot be known beforehand, one way or the other."""

    swallows: bool = False  # programs known for it (node) drop their handler when they get the signal, and live on
    traps_at_once: bool = False  # shells with a trap are in their wait builtin


class Event(Struct, frozen=True):
    """Something that happens in a rehearsal."""

    at_s: float
    kind: str  # drained | passed-on | ended | left | trapped | held | leaving | thawed | end-main | kill-all | hook
    pids: tuple[int, ...] = ()
    number: int = 0  # of the hook


class Cast:
    """The processes, and how they take what they get."""

    def __init__(self, processes: tuple[Process, ...], *, is_frozen: bool, assumed: Assumed) -> None:
        self.first = processes
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
        self._assumed = assumed
        self._is_kill = False
        self._how: dict[int, str] = {}
        self._got: set[int] = set()  # the signal
        self._waits_for = {process.pid: self._foreground(process) for process in processes}

    def _foreground(self, process: Process) -> frozenset[int]:
        """What a process waits for, as the kernel says; without that, the children of what is known to wait."""
        tree = Tree(self.first)
        children = tree.children(process)
        if is_forwarder(process):
            return frozenset(child.pid for child in children[:1])
        if process.evidence is None:
            waits = is_shell(process) or (process.is_main and not process.disposition.receives)
            return frozenset(child.pid for child in children) if waits else frozenset()
        return frozenset(child.pid for child in waits_for(tree, process))

    def main(self) -> Process | None:
        """Return PID 1 while it lives, also at its exit."""
        return next((process for process in self.alive.values() if process.is_main), None)

    def is_over(self) -> bool:
        """Whether the end of PID 1 is seen: where it is a guest, only with the end of all."""
        was = next((process for process in self.first if process.is_main), None)
        return not self.alive if _is_guest(was) else self.main() is None

    def look(self, now_s: float, *, examine: bool) -> Looked:
        """Show them, with evidence where it is asked for; what a real look has not brought may do anything."""
        shown = [_older(process, now_s) for process in self.alive.values()]
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

    def signal(self, pid: int, number: int, now_s: float, *, is_hangup: bool = False) -> None:
        """Have a process take a signal. A frozen one takes it when it is thawed, which comes with it.

        ``is_hangup``: SIGHUP in place of the stop signal, which a shell at its prompt ends by (rule S29).
        """
        process = self.alive[pid]
        if is_hangup:
            self.due.append((now_s + SOON_S, pid, 128 + number, "ended"))
            return
        self._got.add(pid)
        waiting = self._waits_for[pid] & self.alive.keys()
        is_in_wait = waits_for_jobs(Tree(self.first), process) or self._assumed.traps_at_once
        notes = is_shell(process) and bool(waiting) and not is_in_wait
        if process.key in self.noting:
            self.inputs.append(SignalNoted(process.key, notes))
        if not process.disposition.receives:
            if process.disposition is Disposition.DEFAULT:
                self.due.append((now_s + SOON_S, pid, 128 + number, "ended"))
        elif is_forwarder(process) and waiting:
            self._pass_on(process, waiting, number, now_s)
        elif self._assumed.swallows and program(process) in SWALLOWERS:
            lives_on = Disposition.DROPPED if process.is_main else Disposition.DEFAULT
            self.alive[pid] = replace(process, disposition=lives_on)
            if process.is_main and self.holds_exit:
                self.inputs.append(InitGaveUp())
        elif number in _ENDS_ON.get(process.comm, frozenset({number})) and not notes:
            self.due.append((now_s + SOON_S, pid, 0, "trapped" if is_shell(process) and waiting else "ended"))

    def _pass_on(self, process: Process, waiting: frozenset[int], number: int, now_s: float) -> None:
        below = Tree(self.alive.values()).below([process.key]) if process.kills_group else ()
        for pid in sorted({pid for pid, _ in below} | waiting):
            if pid not in self._got:
                self.events.append(Event(now_s, "passed-on", (process.pid, pid)))
                self.signal(pid, number, now_s)

    def kill(self, pids: list[int], now_s: float, *, is_all: bool) -> None:
        """SIGKILL these."""
        self._is_kill = self._is_kill or is_all
        self.due += [(now_s, pid, SIGKILL_STATUS, "killed") for pid in pids]

    def let_go(self, now_s: float) -> None:
        """Nothing is held any more; a PID 1 at its exit ends."""
        self.held.clear()
        self.holds_exit = False
        main = self.main()
        if self.leaving is not None and main is not None:
            self.due.append((now_s, main.pid, self.leaving, "released"))

    def next_s(self) -> float | None:
        """Return when the next one ends."""
        return min((due[0] for due in self.due), default=None)

    def advance(self, now_s: float) -> list[int]:
        """End what is due; return what has ended."""
        ended: list[int] = []
        while self.due and (first := min(self.due))[0] <= now_s:
            self.due.remove(first)
            _, pid, code, kind = first
            if pid in self.alive:
                ended += self._end(self.alive[pid], code, kind, now_s)
        return ended

    def ends(self) -> tuple[ProcessEnd, ...]:
        """Return how each has ended, as a report has it."""
        return tuple(
            ProcessEnd(
                pid=process.pid,
                comm=program(process),
                how="alive" if process.pid in self.alive else self._how[process.pid],
                code=self.codes.get(process.pid),
                receives=process.disposition.value,
            )
            for process in self.first
        )

    def _end(self, process: Process, code: int, kind: str, now_s: float) -> list[int]:
        gone: list[int] = []
        if kind in _BY_ITSELF and is_supervisor(process):
            below = Tree(self.alive.values()).below([process.key])
            gone = [pid for pid in self.alive if pid != process.pid and any(pid == one for one, _ in below)]
            self._bury(gone, "exited", 0)
        if process.is_main and self.holds_exit and kind in _BY_ITSELF and self._leaves_others(process):
            self.leaving = code
            self.events.append(Event(now_s, "leaving", (process.pid,)))
            self.inputs.append(InitLeaving())
            return gone
        if kind != "killed":
            self.events.append(Event(now_s, "ended" if kind == "released" else kind, (process.pid,)))
        self._bury([process.pid], _how_of(kind, code), code)
        if process.is_main and not _is_guest(process):
            rest = list(self.alive)
            self._bury(rest, "killed-by-us" if self._is_kill else "killed-with-pid-1", SIGKILL_STATUS)
            return [*gone, process.pid, *rest]
        self._adopt_orphans([*gone, process.pid])
        self._let_waiters_leave(code, now_s)
        return [*gone, process.pid]

    def _bury(self, pids: list[int], how: str, code: int) -> None:
        for pid in pids:
            del self.alive[pid]
            self._how[pid], self.codes[pid] = how, code

    def _leaves_others(self, main: Process) -> bool:
        """Whether something is left that receives the signal: then PID 1 is held at its exit."""
        return any(one.disposition.receives for one in self.alive.values() if one is not main)

    def _adopt_orphans(self, gone: list[int]) -> None:
        main = self.main()
        for child in list(self.alive.values()):
            if child.ppid in gone and main is not None and child is not main:
                self.alive[child.pid] = replace(child, ppid=main.pid)

    def _let_waiters_leave(self, code: int, now_s: float) -> None:
        due = {pid for _, pid, _, _ in self.due}
        for waiter in self.alive.values():
            waiting, is_leaving = self._waits_for[waiter.pid], waiter.is_main and self.leaving is not None
            if not waiting or waiting & self.alive.keys() or waiter.pid in self.held | due or is_leaving:
                continue
            if is_shell(waiter) and waiter.pid in self._got:
                self.due.append((now_s + SOON_S, waiter.pid, 0, "trapped"))
            elif not is_supervisor(waiter):
                self.due.append((now_s + SOON_S, waiter.pid, code, "left"))


def _is_guest(main: Process | None) -> bool:
    """Whether PID 1 shares the PID namespace of others. In a machine of its own (UNKNOWN) it does not."""
    return main is not None and not main.is_namespace_init and main.disposition is not Disposition.UNKNOWN


def _how_of(kind: str, code: int) -> str:
    if kind == "killed":
        return "killed-by-us"
    return "signalled" if code > 128 and kind == "ended" else "exited"


def _older(process: Process, now_s: float) -> Process:
    """Return a process as it is so much later, if nothing has happened."""
    if not now_s:
        return process
    evidence = process.evidence and replace(
        process.evidence,
        threads=tuple(_later(thread, now_s) for thread in process.evidence.threads),
        alarm_s=_less(process.evidence.alarm_s, now_s),
    )
    return replace(process, age_s=process.age_s + now_s, evidence=evidence)


def _later(thread: ThreadWait, now_s: float) -> ThreadWait:
    fds = tuple(replace(fd, wakes_in_s=_less(fd.wakes_in_s, now_s)) for fd in thread.fds)
    return replace(thread, timeout_s=_less(thread.timeout_s, now_s), fds=fds)


def _less(seconds: float | None, now_s: float) -> float | None:
    return None if seconds is None else max(0.0, seconds - now_s)

"""A container in virtual time: processes with habits, a kernel that delivers signals as Linux does, and a tracer.

A process is a program (a generator that yields what it waits for). When PID 1 ends, its namespace is killed at once;
held at its exit, it is not. Nothing here sleeps; the same input gives the same end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from bento.model.waits import Descriptor, Evidence, ThreadWait
from bento.stop.inputs import InitAnswered
from bento.stop.process import Disposition, Process, disposition

from support.habits import EVER, MOVE_S, PROGRAMS, Does, Proc, Wait, history, saves, stays, supervisor_ends
from support.world_tracer import Tracer

HUP, TERM = 1, 15
PIDS_LIMIT = 64


_NAMES = {
    "ignores": "stubborn", "blocks": "blocker", "works": "server", "drops": "dropper", "swallows": "node",
    "shell": "sh", "trap": "bash", "forwarder": "tini", "group": "dumb-init", "supervisor": "supervisord",
    "move": "mv", "prompt": "bash", "plain-prompt": "dash",
}  # fmt: skip
_CAUGHT = {"works", "drops", "swallows", "trap", "forwarder", "group", "supervisor"}
_CALLS = {"sleep": "clock_nanosleep", "lock": "flock", "peer": "recvfrom", "pipe": "read", "poll": "ppoll",
          "listen": "epoll_wait", "socket": "epoll_wait", "pause": "pause", "sigwait": "rt_sigtimedwait",
          "child": "wait4", "wait": "wait4", "tty": "read", "prompt": "read"}  # fmt: skip
_EDITED = (Descriptor("tty", terminal="edited"),)
_FDS = {"tty": _EDITED, "prompt": _EDITED,
        "peer": (Descriptor("socket"),), "pipe": (Descriptor("pipe"),), "listen": (Descriptor("listen"),),
        "socket": (Descriptor("listen"), Descriptor("socket"))}  # fmt: skip


class World:
    """The processes of one container, and the work that they have saved."""

    def __init__(
        self, main: Does, *, age_s: float = 100.0, is_frozen: bool = False, sessions: Sequence[Does] = (),
        is_guest: bool = False,
    ) -> None:  # fmt: skip
        self.born_s = 1000.0 - age_s
        self.now_s = self.born_s
        self.procs: dict[int, Proc] = {}
        self._alive: dict[int, Proc] = {}
        self.is_frozen = False
        self.is_guest = is_guest  # PID 1 shares the PID namespace of others
        self.history: list[str] = []
        self.saved: dict[str, float] = {}  # a piece of work by its place in the tree, and when
        self.is_full = False  # a fork has failed: a loop has gone through some rounds without doing them
        self.ruined: set[str] = set()  # a good file that something unfinished has replaced
        self.went_on: list[tuple[Proc, Proc]] = []  # a shell to its next command, after this child
        self.tracer = Tracer(self)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._pids = count(100)
        self._deferred: list[Callable[[], None]] = []
        self.main = self.spawn(main, None, "1")
        self.main.is_main = True
        self.advance(1000.0)
        for number, session in enumerate(sessions):
            self.enter(session, f"s{number}")
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
            then()
        self.now_s = max(self.now_s, to_s)

    def run(self, proc: Proc, then: Callable[[], None]) -> None:
        """Have a process do something now, or when it may run again."""
        if proc.ended or proc.is_at_exit:
            return
        if self.is_frozen:
            self._deferred.append(lambda: self.run(proc, then))
        elif proc.is_held or proc.is_halted:
            proc.deferred.append(lambda: self.run(proc, then))
        else:
            proc.switches += 1
            then()

    def freeze(self) -> None:
        self.is_frozen = True

    def thaw(self) -> None:
        self.is_frozen = False
        deferred, self._deferred = self._deferred, []
        for then in deferred:
            then()

    def catch_up(self, proc: Proc) -> None:
        deferred, proc.deferred = proc.deferred, []
        for then in deferred:
            then()

    # -- processes

    def spawn(self, does: Does, parent: Proc | None, path: str) -> Proc:
        program = PROGRAMS.get(does.kind, stays)
        proc = Proc(
            pid=next(self._pids), ppid=parent.pid if parent else 0, does=does, born_s=self.now_s, path=path,
            name=does.name or _NAMES.get(does.kind, does.kind), program=iter(()), is_halted=does.is_halted,
            hidden_looks=does.hidden_looks,
        )  # fmt: skip
        if len(self._alive) >= PIDS_LIMIT:  # fork fails: drawn trees of loops would else be fork bombs
            proc.ended, proc.ended_s, self.is_full = "refused", self.now_s, True
            return proc
        self.procs[proc.pid] = self._alive[proc.pid] = proc
        if parent is not None:
            parent.started.append(proc)
        if parent is None and not hasattr(self, "main"):
            self.main = proc
        proc.program = program(self, proc)
        for number, job in enumerate(does.jobs):
            self.spawn(job, proc, f"{path}/&{number}")
        if does.kind not in ("shell", "trap"):
            for number, child in enumerate(does.runs):
                self.spawn(child, proc, f"{path}/{number}")
        self._next(proc)
        return proc

    def enter(self, does: Does, path: str = "s") -> Proc:
        """Bring a process in from outside, as exec does."""
        proc = self.spawn(does, None, path)
        proc.is_entered = True
        return proc

    def children(self, proc: Proc) -> list[Proc]:
        return [other for other in self._alive.values() if other.ppid == proc.pid]

    def below(self, proc: Proc) -> list[Proc]:
        found = self.children(proc)
        for child in list(found):
            found += self.below(child)
        return found

    def alive(self) -> list[Proc]:
        return list(self._alive.values())

    def save(self, proc: Proc) -> None:
        self.saved.setdefault(proc.path, self.now_s)

    def _next(self, proc: Proc) -> None:
        """Go on with the program until it waits again."""
        proc.turn += 1
        turn = proc.turn
        try:
            proc.wait = next(proc.program)
        except StopIteration:
            self.end(proc, "own")
            return
        proc.since_s = self.now_s
        if proc.wait.seconds < EVER:
            self.at(proc.wait.seconds, lambda: self._wake(proc, turn))

    def _wake(self, proc: Proc, turn: int) -> None:
        self.run(proc, lambda: self._next(proc) if proc.turn == turn else None)

    def switch(self, proc: Proc, program: Iterator[Wait]) -> None:
        """Have a process do something else from now on."""
        proc.program = program
        self._next(proc)

    def end(self, proc: Proc, how: str) -> None:
        if proc.ended or proc.is_at_exit:
            return
        if proc.is_main and how not in ("killed", "killed-with-main") and self.tracer.keeps_exit():
            proc.is_at_exit = True
            self.history.append(f"{self.now_s:.3f} PID 1 is held at its exit")
            self.tracer.at_exit()
            return
        self.finish(proc, how)

    def finish(self, proc: Proc, how: str) -> None:
        proc.ended, proc.ended_s = how, self.now_s
        self._alive.pop(proc.pid, None)
        self.history.append(f"{self.now_s:.3f} {proc.name} {proc.pid} {how}")
        if proc.is_main and not self.is_guest:
            for other in self.alive():
                self.finish(other, "killed-with-main")
            return
        for child in self.children(proc):
            child.ppid = 0 if self.is_guest else self.main.pid
        parent = self.procs.get(proc.ppid)
        if parent and not parent.ended:
            parent.ended_children += 1
            self.at(MOVE_S, lambda: self.run(parent, lambda: self._child_ended(parent, proc)))

    def kill(self, proc: Proc) -> None:
        """SIGKILL: it does not wake a process at its exit."""
        if proc.ended or proc.is_dying or proc.is_at_exit:
            return
        if proc.does.dies_after_s > 0:
            proc.is_dying = True
            self.at(proc.does.dies_after_s, lambda: None if proc.ended else self.finish(proc, "killed"))
        else:
            self.finish(proc, "killed")

    def hang_up(self, proc: Proc) -> None:
        """SIGHUP from Bento: only a shell at its prompt is sent it."""
        assert proc.does.kind in ("prompt", "plain-prompt"), proc.path
        if proc.ended or proc.is_at_exit:
            return
        proc.got.append("bento")
        self.history.append(f"{self.now_s:.3f} bento hangs up {proc.name} {proc.pid}")
        if proc.does.kind == "prompt":
            self.run(proc, lambda: self.switch(proc, history(self, proc)))
        elif self.disposition(proc, HUP) is Disposition.DEFAULT:
            self.run(proc, lambda: self.end(proc, "default"))

    def signal(self, proc: Proc, by: str, *, wake: bool = False) -> None:
        """The stop signal."""
        if proc.ended or proc.is_at_exit:
            return
        if by == "bento":
            proc.told_s = self.now_s
        proc.got.append(by)
        self.history.append(f"{self.now_s:.3f} {by} signals {proc.name} {proc.pid}")
        proc.is_pending = True
        if proc.is_halted and wake:
            proc.is_halted = False
            self.catch_up(proc)
        self.run(proc, lambda: self._deliver(proc))

    def _deliver(self, proc: Proc) -> None:
        what = self.disposition(proc)
        if what is Disposition.BLOCKED:
            return
        proc.is_pending = False
        if what is Disposition.DEFAULT:
            self.end(proc, "default")
        elif what.receives:
            self.tracer.took_signal(proc)
            self._handle(proc)

    def disposition(self, proc: Proc, number: int = TERM) -> Disposition:
        bit = 1 << (number - 1)
        kind = proc.does.kind
        if number == HUP:
            return disposition(
                HUP, blocked=0, ignored=0, caught=bit if kind == "prompt" else 0, is_traced=False, waits=False,
                is_namespace_init=proc.is_main and not self.is_guest,
            )  # fmt: skip
        receives = kind in _CAUGHT and not proc.is_reset and self.now_s - proc.born_s >= proc.does.handler_after_s
        return disposition(
            TERM,
            blocked=bit if kind == "blocks" else 0,
            ignored=bit if kind in ("ignores", "init", "prompt", "plain-prompt") else 0,
            caught=bit if receives and kind != "forwarder" else 0,
            is_namespace_init=proc.is_main and not self.is_guest,
            is_traced=False,
            waits=receives and kind == "forwarder",
        )

    # -- what a look shows

    def look(self, *, examine: bool = False) -> tuple[Process, ...]:
        shown = []
        for proc in self.alive():
            if proc.hidden_looks > 0:
                proc.hidden_looks -= 1
                continue
            runs = proc.wait.on == "work" and not (self.is_frozen or proc.is_held or proc.is_halted or proc.is_at_exit)
            ticks = int((self.now_s - proc.born_s) * 100) if runs else 0
            shown.append(
                Process(
                    pid=proc.pid, start_ticks=1, ppid=proc.ppid, comm=proc.name, argv=(proc.name,),
                    disposition=self.disposition(proc), hangup=self.disposition(proc, HUP),
                    is_main=proc.is_main, is_pending=proc.is_pending,
                    is_halted=proc.is_halted, cpu_ticks=ticks, is_entered=proc.is_entered,
                    is_namespace_init=proc.is_main and not self.is_guest, kills_group=proc.does.kind == "group",
                    switches=proc.switches * 1000 + ticks, age_s=self.now_s - proc.born_s,
                    evidence=self._evidence(proc) if examine else None,
                )
            )  # fmt: skip
        return tuple(shown)

    def _evidence(self, proc: Proc) -> Evidence:
        wait, left_s = proc.wait, None
        if proc.wait.seconds < EVER:
            left_s = max(0.0, proc.since_s + wait.seconds - self.now_s)
        state = "t" if proc.is_held or proc.is_at_exit else "T" if proc.is_halted else "R" if wait.on == "work" else "S"
        timeout_s = left_s if wait.on in ("sleep", "poll") else None
        thread = ThreadWait(
            tid=proc.pid, state=state, call=_CALLS.get(wait.on, ""), is_held=state == "t", fds=_FDS.get(wait.on, ()),
            timeout_s=timeout_s, child=wait.child if wait.on in ("child", "wait") else None,
        )  # fmt: skip
        is_server = proc.does.kind == "works"
        return Evidence(
            threads=(thread,), listening=int(is_server), connected=int(is_server and proc.does.is_busy)
        )  # fmt: skip

    # -- an init

    def ask(self, method: str) -> InitAnswered:
        """A request to PID 1 by a stop method."""
        main = self.main
        if main.ended or main.does.obeys != method:
            return InitAnswered(method, "it does not know that")
        if main.does.refuses > len(main.got):
            main.got.append("too early")
            return InitAnswered(method, "it is still booting", retry=True)
        main.got.append(method)
        self.history.append(f"{self.now_s:.3f} {method} asked")
        self.at(main.does.needs_s, lambda: self.run(main, self._shut_down))
        return InitAnswered(method)

    def _shut_down(self) -> None:
        for proc in self.alive():
            if not proc.is_main:
                self.finish(proc, "own")
        if not self.main.does.halts:
            self.end(self.main, "own")

    # -- habits

    def _handle(self, proc: Proc) -> None:
        kind = proc.does.kind
        if kind in ("works", "drops"):
            if proc.is_busy:  # as many do: the second one means "quit now"
                self.end(proc, "quit")
                return
            proc.is_busy, proc.is_cut, proc.is_reset = True, True, kind == "drops"
            self.switch(proc, saves(self, proc))
        elif kind == "swallows":
            proc.is_reset = True
            if proc.is_main:
                self.tracer.gave_up()
            else:
                self.end(proc, "default")
        elif kind in ("forwarder", "group"):
            for child in self.children(proc)[:1] if kind == "forwarder" else self.below(proc):
                self.signal(child, proc.name)
        elif kind == "supervisor" and not proc.is_busy:
            proc.is_busy = True
            self.switch(proc, supervisor_ends(self, proc))
        elif kind == "trap":
            proc.is_noted = True
            if proc.wait.on != "child":
                self._next(proc)

    def _child_ended(self, parent: Proc, child: Proc) -> None:
        wait = parent.wait
        if wait.on == "child" and wait.child == child.pid:
            self.went_on.append((parent, child))
            self._next(parent)
        elif wait.on == "wait":
            self._next(parent)
        elif parent.does.kind in ("forwarder", "group") and child.path == f"{parent.path}/0":
            self.end(parent, "own")
        elif parent.does.kind == "supervisor" and not parent.is_busy and child.path.startswith(f"{parent.path}/"):
            self.spawn(child.does, parent, child.path)


# -- the tracer ----------------------------------------------------------------------------------------

"""Kills and halts processes of the engine at random."""

from __future__ import annotations

import random
import signal
import threading
from typing import NamedTuple

from stress.journal import Journal
from stress.world import Ours, World, send

_PAUSE_S = (0.02, 0.3)
_HALT_S = (0.05, 1.0)
_HALTS = 0.3
_MONITORS = 0.25
"""A monitor lives as long as its container: most are to be spared."""

_HUNTS, _HUNT = 0.4, 20
"""Runtimes live for some ms: now and then it is looked for one, so many times on end."""


class Fault(NamedTuple):
    """A SIGKILL. ``op``: the command it hit, or that has started what it hit; ``name``: "" where it is not known."""

    kind: str
    op: str
    container: str
    name: str


class Saboteur:
    """A thread of its own. Signals what it has looked at, by pidfd.

    Attributes:
        may_kill: else it only halts.
        faults: the kills so far.
    """

    def __init__(self, world: World, journal: Journal, dice: random.Random) -> None:
        self._world, self._journal, self._dice = world, journal, dice
        self._end, self._idle = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="saboteur")
        self.may_kill = False
        self.faults: list[Fault] = []

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End it; what it has halted goes on. Idempotent."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()

    def rest(self, is_resting: bool) -> None:
        """Leave everything alone from now on, or go on. Blocks until it does."""
        if is_resting:
            self._idle.set()
            self._lock.acquire()
            self._lock.release()
        else:
            self._idle.clear()

    def hit(self, op: str, names: tuple[str, ...], since: int) -> bool:
        """Whether a kill since the ``since``-th may have changed what this command does to these containers."""
        return any(
            fault.op == op or fault.name in names or not (fault.op or fault.name) for fault in self.faults[since:]
        )

    def monitors_hit(self, names: tuple[str, ...], since: int) -> bool:
        """Whether a monitor of these containers was killed since the ``since``-th fault."""
        return any(fault.kind == "monitor" and fault.name in names for fault in self.faults[since:])

    def _run(self) -> None:
        while not self._end.wait(self._dice.uniform(*_PAUSE_S)):
            if self._idle.is_set():
                continue
            with self._lock:
                self._strike()

    def _strike(self) -> None:
        looks = _HUNT if self._dice.random() < _HUNTS else 1
        for _ in range(looks):
            there = [one for one in self._world.ours() if one.kind != "monitor" or self._dice.random() < _MONITORS]
            if looks > 1:
                there = [one for one in there if one.kind == "runtime"]
            if there:
                break
        else:
            return
        target = self._dice.choice(there)
        if self._dice.random() < _HALTS or not self.may_kill:
            self._halt(target)
            return
        name = self._world.name_of(target.container)
        # Noted before: a worker that sees what comes of it is to find it.
        self.faults.append(Fault(target.kind, target.op, target.container, name))
        if send(target.process, signal.SIGKILL):
            self._note("SIGKILL", target, name)

    def _halt(self, target: Ours) -> None:
        seconds = self._dice.uniform(*_HALT_S)
        if not send(target.process, signal.SIGSTOP):
            return
        self._note(f"SIGSTOP for {seconds:.2f} s", target, self._world.name_of(target.container))
        self._end.wait(seconds)
        send(target.process, signal.SIGCONT)

    def _note(self, what: str, target: Ours, name: str) -> None:
        words = target.words.partition(str(self._world.roots.run_root))[2].strip() or target.words
        whose = f" of {name}" if name else ""
        op = f" in op {target.op}" if target.op else ""
        names = (name,) if name else ()
        self._journal.add("fault", f"{what}: {target.kind} {target.process.pid}{whose}{op}: {words[:100]}", *names)

"""A worker: draws commands, runs them, and holds what they say and do against the model."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from typing import NamedTuple

from stress import model
from stress.draw import OWN, SHARED, Op, draw
from stress.faults import Saboteur
from stress.journal import Journal, StressError
from stress.model import Slot
from stress.world import OP_VARIABLE, World, end
from support.cli import BentoCli

LIMIT_S = 100.0
"""Nothing takes longer, however many processes stand still for a while."""
_SETTLE_S = 60.0
_WAIT_S = 0.7
_LINES_MAX = 4
_SHARED_CODES = {0, 1, 2, 125, 126, 127, 137, 141}


class Done(NamedTuple):
    """A command that has ended."""

    op_id: str
    words: tuple[str, ...]
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"bento {' '.join(self.words)}\nexit {self.code}\n--- stdout\n{self.out[-3000:]}--- stderr\n{self.err}"


class Worker:
    """Acts upon containers of its own, and upon those that all share."""

    def __init__(self, number: int, world: World, journal: Journal, saboteur: Saboteur, dice: random.Random) -> None:
        self.number = number
        self._world, self._journal, self._saboteur, self._dice = world, journal, saboteur, dice
        self._cli: BentoCli = world.cli(number)
        self._label = f"w{number}"
        self._count = 0
        self.slots = [self._slot(f"w{number}c{at}") for at in range(OWN)]
        self._shared = [self._slot(f"s{at}") for at in range(SHARED)]

    def run(self, is_over: threading.Event) -> None:
        """Work until it is over. Raises StressError."""
        while not is_over.is_set():
            op = draw(self._dice)
            if op.verb == "foreground":
                self._foreground(op)
            elif op.verb in ("ps", "volume", "doctor", "doctor-fix", "look"):
                self._look(op)
            elif op.is_shared:
                self._on_shared(op)
            else:
                self._on_own(op, self.slots[op.slot])

    def settle(self, slot: Slot, *, expected: set[str], says: str = "") -> None:
        """Wait until the container is at rest; its state must be one of those. Raises StressError."""
        self._watch(slot)
        deadline_s = time.monotonic() + _SETTLE_S
        while True:
            state = self._state(slot)
            status = str(state["Status"])
            if status in model.STEADY or time.monotonic() > deadline_s:
                break
            time.sleep(0.1)
        if status not in expected:
            raise StressError(f"{slot.name} is {status}, not {' or '.join(sorted(expected))}\n{says}", *slot.names)
        slot.states = {status}
        if status == model.STOPPED and (wrong := slot.wrong_code(int(str(state["ExitCode"])), str(state["Error"]))):
            raise StressError(f"{slot.name}: {wrong}\n{json.dumps(state)}\n{says}", *slot.names)

    def _state(self, slot: Slot) -> dict[str, object]:
        """Return what inspect says, under whichever name it has; asked again as long as that is killed."""
        missing = 0
        while missing < len(slot.names):
            done = self._bento(("inspect", slot.name), slot.names)
            if done.code == 0:
                state: dict[str, object] = json.loads(done.out)[0]["State"]
                return state
            if done.code > 0:
                missing += 1
                slot.name = slot.other_name
        return {"Status": model.ABSENT}

    # -- containers of its own

    def _on_own(self, op: Op, slot: Slot) -> None:
        if op.verb == "prune":
            self._prune(op)
            return
        self._watch(slot)
        slot.begin(op)
        since = len(self._saboteur.faults)
        before = slot.possible()
        done = self._bento(self._words(op, slot), slot.names, limit_s=_WAIT_S if op.verb == "wait" else None)
        is_disturbed = self._saboteur.hit(done.op_id, slot.names, since) or done.code < 0
        if op.verb == "wait" and done.code < 0:
            return  # it waits for what does not end, and was ended by us
        if op.verb in ("create", "run", "start", "restart") and (done.code == 0 or is_disturbed):
            slot.begun(op, before, is_certain=done.code == 0 and not is_disturbed)
            slot.faults_seen = min(slot.faults_seen, since)
        self._watch(slot)
        self._judge_words(done)
        if is_disturbed:
            self._rest(done.op_id)
            self.settle(slot, expected=slot.after(op, codes=None) | before, says=str(done))
            return
        after = slot.after(op, codes={done.code})
        if not after and slot.may_end and model.RUNNING in before and done.code in (1, 125):
            after = before  # it has ended meanwhile
        if not after:
            was = " or ".join(sorted(before))
            raise StressError(f"that is not what comes of it when {slot.name} is {was}:\n{done}", *slot.names)
        slot.states = after
        if op.verb == "rename" and done.code == 0:
            slot.name = slot.other_name
        elif op.verb == "inspect" and done.code == 0:
            self._judge_state(slot, json.loads(done.out)[0]["State"]["Status"], done)
        elif op.verb == "wait" and done.code == 0 and after == {model.STOPPED} == before:
            wrong = slot.wrong_code(int(done.out), "the start may have failed")
            if wrong:
                raise StressError(f"{slot.name}: {wrong}\n{done}", *slot.names)

    def _prune(self, op: Op) -> None:
        """Delete all of its own containers that do not run."""
        names = tuple(name for slot in self.slots for name in slot.names)
        since = len(self._saboteur.faults)
        done = self._bento(("container", "prune", "-f", "--filter", f"label=owner={self._label}"), names)
        is_disturbed = self._saboteur.hit(done.op_id, names, since) or done.code < 0
        self._judge_words(done)
        for slot in self.slots:
            before = slot.possible()
            slot.states = slot.after(op, codes=None if is_disturbed else {done.code})
            if is_disturbed:
                self._rest(done.op_id)
                self.settle(slot, expected=slot.states, says=str(done))
            elif not slot.states:
                raise StressError(f"that is no prune when {slot.name} is {' or '.join(before)}:\n{done}", *slot.names)

    def _watch(self, slot: Slot) -> None:
        """Note what has befallen its monitor."""
        seen, slot.faults_seen = slot.faults_seen, len(self._saboteur.faults)
        if self._saboteur.monitors_hit(slot.names, seen):
            slot.is_unwatched = True

    def _words(self, op: Op, slot: Slot) -> tuple[str, ...]:
        name = slot.name
        made = ("--name", name, "--label", f"owner={self._label}", "-v", f"{slot.share}:/s", *op.more, "bb")
        match op.verb:
            case "create" | "run":
                assert op.program is not None
                return (op.verb, *(("-d",) if op.verb == "run" else ()), *made, *op.program.argv)
            case "tell":
                return ("kill", "-s", "TERM", name)
            case "rm-f":
                return ("rm", "-f", name)
            case "exec":
                return ("exec", name, "sh", "-c", f"exit {op.more[0]}")
            case "exec-d":
                return ("exec", "-d", name, "sleep", op.more[0])
            case "rename":
                return ("rename", name, slot.other_name)
            case "cp-in":
                return ("cp", f"{self._world.files}/in", f"{name}:/tmp/in")
            case "cp-out":
                return ("cp", f"{name}:/etc/passwd", f"{self._world.files}/{self._label}")
            case "commit":
                return ("commit", "-q", name, f"made:{self._label}")
            case _:
                return (op.verb, *op.more, name)

    # -- everything else

    def _foreground(self, op: Op) -> None:
        assert op.program is not None
        slot = self._slot(f"{self._label}fg")
        image = "bb" if op.program.code % 2 else "host"
        since = len(self._saboteur.faults)
        flags = ("--rm", "--name", slot.name, "-v", f"{slot.share}:/s", *op.more, image)
        done = self._bento(("run", *flags, *op.program.argv), slot.names)
        is_disturbed = self._saboteur.hit(done.op_id, slot.names, since) or done.code < 0
        self._judge_words(done)
        if not is_disturbed:
            if done.code != op.program.code:
                raise StressError(f"its program exits with {op.program.code}:\n{done}", slot.name)
        else:
            self._rest(done.op_id)
            since = len(self._saboteur.faults)
            removed = self._bento(("rm", "-f", slot.name), slot.names)
            while removed.code != 0 and self._saboteur.hit(removed.op_id, slot.names, since):
                since = len(self._saboteur.faults)
                removed = self._bento(("rm", "-f", slot.name), slot.names)
            if removed.code != 0:
                raise StressError(f"it cannot be removed:\n{removed}", slot.name)

    def _look(self, op: Op) -> None:
        shared = self._shared[op.slot % SHARED].name
        words: tuple[str, ...] = op.more
        match op.verb:
            case "ps":
                words = ("ps", "-a", "--format", "json")
            case "volume":
                named = () if op.more[0] in ("ls", "prune") else (f"{self._label}v",)
                words = ("volume", *op.more, *named)
            case "doctor":
                words = ("doctor",)
            case "doctor-fix":
                words = ("doctor", "--fix")
            case _ if op.more[0] in ("port", "report", "explain", "diff"):
                words = (*op.more, self.slots[op.slot].name if not op.is_shared else shared)
        done = self._bento(words, ())
        self._judge_weakly(done)
        if op.verb == "ps" and done.code == 0:
            listed = {one["Names"]: one["State"] for one in map(json.loads, done.out.splitlines())}
            for slot in self.slots:
                self._judge_state(slot, listed.get(slot.name, model.ABSENT), done)

    def _on_shared(self, op: Op) -> None:
        slot = self._shared[op.slot]
        if op.verb == "prune":
            return
        words = self._words(op, slot)
        self._judge_weakly(self._bento(words, slot.names, limit_s=_WAIT_S if op.verb == "wait" else None))

    def _judge_state(self, slot: Slot, state: str, done: Done) -> None:
        """Nothing else acts upon its own containers: between two commands these are as the last one has left them."""
        if state not in slot.possible():
            raise StressError(
                f"{slot.name} is {state}, not {' or '.join(sorted(slot.possible()))}:\n{done}", *slot.names
            )

    def _judge_weakly(self, done: Done) -> None:
        self._judge_words(done)
        if done.code >= 0 and done.code not in _SHARED_CODES and done.words[0] != "exec":
            raise StressError(f"no exit status of such a command:\n{done}", *done.words)

    def _judge_words(self, done: Done) -> None:
        lines = [line for line in done.err.splitlines() if line.startswith("bento: ")]
        for bad in ("Traceback", "please report", "Exception", "sqlite3.", "Errno"):
            if bad in done.err:
                raise StressError(f"that is no way to say it:\n{done}", *done.words)
        is_mute = done.code in (1, 125) and not done.err and done.words[0] not in ("doctor", "exec", "run")
        if len(lines) > _LINES_MAX or is_mute:
            raise StressError(f"{len(lines)} lines of explanation:\n{done}", *done.words)

    # -- commands

    def _bento(self, words: tuple[str, ...], names: tuple[str, ...], *, limit_s: float | None = None) -> Done:
        """Run a command to its end; after ``limit_s``, if given, kill it. Raises StressError when it hangs."""
        self._count += 1
        op_id = f"{self._label}-{self._count}"
        begun_s = time.monotonic()
        self._journal.add(self._label, f"{op_id} begins: {' '.join(words)[:160]}", *names)
        process = self._cli.start(*words, env=os.environ | {OP_VARIABLE: op_id})
        try:
            out, err = process.communicate(timeout=limit_s or LIMIT_S)
        except subprocess.TimeoutExpired:
            if limit_s is None:
                stacks = [f"{one.kind} {one.process}" for one in self._world.ours()]
                raise StressError(
                    f"it hangs for {LIMIT_S} s: bento {' '.join(words)}\n" + "\n".join(stacks), *names
                ) from None
            out, err = "", ""
        finally:
            end(process)
        done = Done(op_id, words, process.returncode, out, err)
        said = (err.strip().splitlines() or [""])[-1][:160]
        took_s = time.monotonic() - begun_s
        self._journal.add(self._label, f"{op_id} {words[0]}: exit {done.code} after {took_s:.2f} s {said}", *names)
        return done

    def _rest(self, op_id: str) -> None:
        """Wait until nothing that this command has started is at work any more."""
        deadline_s = time.monotonic() + _SETTLE_S
        while any(one.op == op_id for one in self._world.at_work()) and time.monotonic() < deadline_s:
            time.sleep(0.05)

    def _slot(self, name: str) -> Slot:
        share = self._world.files / name
        share.mkdir(exist_ok=True)
        return Slot(name, share)

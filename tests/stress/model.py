"""What must have become of a container that one worker alone acts upon.

A verb that nothing was done to has one outcome for each state the container may be in. One that was killed has had its
effect, or none: then the container is asked, once whatever goes on with it has come to rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from stress.draw import Op
from stress.programs import END_FILE, KILLED, PIPE, TOLD, Program

ABSENT, CREATED, RUNNING, PAUSED, STOPPED = "absent", "created", "running", "paused", "stopped"
STEADY = (ABSENT, CREATED, RUNNING, PAUSED, STOPPED)
_THERE = (CREATED, RUNNING, PAUSED, STOPPED)
_LIVE = (RUNNING, PAUSED)


class Result(NamedTuple):
    """An exit status, and the state after it."""

    code: int
    after: str


def outcome(op: Op, before: str) -> Result:
    """Return what comes of an undisturbed verb."""
    failed = Result(1, before)
    refused = Result(125, before)
    is_there, is_live = before in _THERE, before in _LIVE
    match op.verb:
        case "create":
            return failed if is_there else Result(0, CREATED)
        case "run":
            return refused if is_there else Result(0, RUNNING)
        case "start":
            return Result(0, before if is_live else RUNNING) if is_there else failed
        case "stop" | "restart":
            after = STOPPED if op.verb == "stop" else RUNNING
            if before == PAUSED:
                return Result(0, after) if float(op.more[1]) == 0 else failed
            return Result(0, after) if before == RUNNING or (op.verb == "restart" and is_there) else failed
        case "kill":
            return Result(0, STOPPED) if is_live else failed
        case "tell":
            return Result(0, before) if is_live else failed
        case "rm":
            return Result(0, ABSENT) if is_there and not is_live else failed
        case "rm-f":
            return Result(0, ABSENT)
        case "pause":
            return Result(0, PAUSED) if before == RUNNING else failed
        case "unpause":
            return Result(0, RUNNING) if before == PAUSED else failed
        case "exec":
            return Result(int(op.more[0]), before) if before == RUNNING else refused
        case "exec-d":
            return Result(0, before) if before == RUNNING else refused
        case "prune":
            return Result(0, before if is_live else ABSENT)
        case "rename" | "cp-in" | "cp-out" | "commit" | "logs" | "inspect" | "wait":
            return Result(0, before) if is_there else failed
        case verb:
            raise AssertionError(verb)


class Slot:
    """A container of one worker: there or not, under this or that name.

    Attributes:
        states: those it may be in.
        may_end: it was told to end, or ends by itself: what runs may have stopped by now.
        was_killed: a kill was asked for in this run, or may come at the end of a grace.
        is_unwatched: its monitor was killed in this run: then its end may not have been seen.
        is_doubtful: its last start was disturbed: the record may say why it failed.
        faults_seen: the number of faults that were looked at for it.
    """

    def __init__(self, name: str, share: Path) -> None:
        self.names = (name, f"{name}-x")
        self.name = name
        self.share = share
        self.states = {ABSENT}
        self.program: Program | None = None
        self.may_end = self.was_killed = self.is_unwatched = self.is_doubtful = False
        self.faults_seen = 0

    @property
    def other_name(self) -> str:
        """The one it gets when it is renamed."""
        return self.names[self.name == self.names[0]]

    def possible(self) -> set[str]:
        """The states it may be in by now."""
        if self.may_end and RUNNING in self.states:
            return self.states | {STOPPED}
        return set(self.states)

    def begin(self, op: Op) -> None:
        """Note what a verb that is about to run may do to the run."""
        if op.verb in ("stop", "kill", "rm-f", "restart"):
            self.was_killed = True
        elif op.verb == "tell":
            self.may_end = True

    def after(self, op: Op, *, codes: set[int] | None) -> set[str]:
        """Return the states it may be in after a verb; ``codes`` None: it was disturbed, and any may be true."""
        found: set[str] = set()
        for before in self.possible():
            result = outcome(op, before)
            if codes is None:
                found |= {before, result.after}
                if op.verb == "run":
                    found |= {CREATED}
                if before in _LIVE and op.verb in ("restart", "rm-f"):
                    found |= {STOPPED}
                if result.after == RUNNING and op.verb in ("run", "start", "restart"):
                    found |= {STOPPED}  # it was ended again, by the process that found its start abandoned
            elif result.code in codes:
                found.add(result.after)
                if op.verb == "prune" and before == CREATED:
                    found.add(CREATED)  # one that was made just now is kept: it is about to be started
        return found

    def begun(self, op: Op, before: set[str], *, is_certain: bool) -> None:
        """Note that a run has begun, or may have, or that a container was made."""
        if op.verb in ("run", "create"):
            if ABSENT not in before:
                return
            self.program = op.program
        if self.program is None:  # there was none to be started
            return
        goes_on = bool(before - {ABSENT, CREATED, STOPPED}) and op.verb == "start"
        is_mixed = not is_certain or goes_on
        # Where the run of before may have gone on, what was done to it may still show.
        self.may_end = self.program.ends_by_itself or (is_mixed and self.may_end)
        self.was_killed = is_mixed and self.was_killed
        self.is_unwatched = is_mixed and self.is_unwatched
        self.is_doubtful = not is_certain

    def wrong_code(self, code: int, error: str) -> str:
        """Return what is wrong with the exit code of a run that has ended; -1: it was not seen.

        ``error``: what the record says went wrong at a start, or may say.
        """
        if self.program is None or (self.is_doubtful and error):
            return ""
        try:
            written = (self.share / END_FILE).read_text().strip()
        except FileNotFoundError:
            written = ""
        if code == -1:
            return "" if self.is_unwatched else "its exit code was lost, and nobody has killed its monitor"
        if code == PIPE and self.is_unwatched:
            return ""
        if code in (KILLED, TOLD):
            return "" if self.was_killed or self.may_end else f"exit code {code}, and nobody has ended it"
        if written == str(code) == str(self.program.code):
            return ""
        return f"exit code {code}; its program, which exits with {self.program.code}, has written {written!r}"

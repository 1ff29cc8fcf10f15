"""Phases of a stop, the moves between them, and all that a stop remembers.

Rules of this file: every move of the machine is in MOVES; a state is a value, whole in itself
(its JSON is the journal from which another process goes on, rule S6); times are seconds of one
monotonic clock.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bento.model.stop import HookResult, Signalled, StopRequest
from bento.stop.process import Key, Process


class Phase(str, Enum):
    """Where a stop is."""

    REQUESTED = "requested"  # wanted and recorded; nobody has been looked at yet
    DRAINING = "draining"  # the published ports are being closed to new connections
    HOOKING = "hooking"  # pre-stop hooks run, one after the other
    GRACE = "grace"  # the program has been told, or is about to be, within the grace
    KILLING = "killing"  # SIGKILL, until the exit is seen
    CLEANING = "cleaning"  # the exit was seen; what the container held is released, in order
    STUCK = "stuck"  # SIGKILL did not help within the kill limit; a later stop goes on
    DONE = "done"


MOVES: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.REQUESTED: frozenset({Phase.DRAINING, Phase.HOOKING, Phase.GRACE, Phase.KILLING, Phase.CLEANING}),
    Phase.DRAINING: frozenset({Phase.HOOKING, Phase.GRACE, Phase.KILLING, Phase.CLEANING}),
    Phase.HOOKING: frozenset({Phase.GRACE, Phase.KILLING, Phase.CLEANING}),
    Phase.GRACE: frozenset({Phase.KILLING, Phase.CLEANING}),
    Phase.KILLING: frozenset({Phase.CLEANING, Phase.STUCK}),
    Phase.CLEANING: frozenset({Phase.DONE, Phase.STUCK}),
    Phase.STUCK: frozenset({Phase.KILLING, Phase.CLEANING}),
    Phase.DONE: frozenset(),
}
FINAL: Final = frozenset({Phase.STUCK, Phase.DONE})


class Step(str, Enum):
    """What a stop releases, in this order (rule S21). The record is last."""

    MONITOR = "log drain"
    RUNTIME = "runtime"
    CGROUP = "cgroup"
    NETWORK = "network"
    OVERLAY = "unmount"
    HOOKS = "post-stop"
    RECORD = "record"


STEPS: Final = tuple(Step)


class Timer(str, Enum):
    """What a stop waits for besides the processes themselves."""

    LOOK = "look"
    DRAIN_LIMIT = "drain-limit"
    LAST_CALL = "last-call"
    DEADLINE = "deadline"
    KILL_AGAIN = "kill-again"
    KILL_LIMIT = "kill-limit"
    HOOK_LIMIT = "hook-limit"
    STEP_AGAIN = "step-again"
    STEP_LIMIT = "step-limit"


class KillCause(str, Enum):
    """Why SIGKILL was sent."""

    ASKED = "asked"  # a grace of 0, or a kill that joined
    GRACE_OVER = "grace-over"
    DEFAULT_ACTION = "default-action"  # rule S14
    HALTED = "halted"  # PID 1 has shut everything down and stays (rule S10)


class Mark(Struct, frozen=True):
    """The moment a phase of the report begins."""

    name: str
    at_s: float


class InitRequest(Struct, frozen=True, kw_only=True):
    """One method that was tried on PID 1 (rule S10)."""

    method: str
    at_s: float  # seconds since the stop began
    error: str | None = None  # None: no answer yet; "": delivered


class Watch(Struct, frozen=True, kw_only=True):
    """What the looks of the telling phase have shown over time."""

    first: tuple[Process, ...] = ()  # everybody at the first look, and who came until somebody was told
    main: Process | None = None  # PID 1 at the last look that showed it
    keys: frozenset[Key] = frozenset()  # everybody at the last look
    cpu_ticks: int = -1  # of all together; -1 before the first look
    changed_s: float = 0.0  # when somebody last came or went
    worked_s: float = 0.0  # when CPU time was last used, by anybody
    main_worked_s: float = 0.0  # and by PID 1
    deaf_since_s: float | None = None  # PID 1 deaf in every look since
    hearers_left_s: float | None = None  # when the last of wave 1 was seen gone
    wrappers: frozenset[Key] = frozenset()  # looked through at some time
    blocked: tuple[tuple[Key, float], ...] = ()  # who blocks the signal in every look since then
    answered: frozenset[Key] = frozenset()  # stood below somebody who was told, and may have been told by it
    looks: int = 0


class StopState(Struct, frozen=True, kw_only=True):
    """A stop between two inputs."""

    request: StopRequest
    phase: Phase
    began_s: float
    born_s: float  # when the container was started
    deadline_s: float | None  # None: never kill
    timers: dict[Timer, float] = {}
    watch: Watch = Watch()
    sessions: Watch = Watch()  # the same for those that have entered from outside (rule S16)
    in_sessions: frozenset[Key] = frozenset()  # who was of a session at the last look
    late: frozenset[Key] = frozenset()  # of them, those of sessions that began after somebody was told
    method: str = ""  # that is tried, or has worked; "": not known yet, or told like an application from the start
    is_identified: bool = False  # PID 1 was looked at, to see which method it obeys
    init_requests: tuple[InitRequest, ...] = ()
    notes: tuple[str, ...] = ()
    signalled: tuple[Signalled, ...] = ()
    marks: tuple[Mark, ...] = ()
    is_hooking: bool = False  # a hook runs
    hooks_begun: int = 0  # of request.hooks, those begun or left out: none of them is begun again (rule S6)
    hooks: tuple[HookResult, ...] = ()
    kill_cause: KillCause | None = None
    kill_rounds: int = 0
    had_exited: bool = False  # the process had gone before the stop began (rule S2)
    exited_s: float | None = None
    step: Step | None = None
    step_tries: int = 0
    errors: tuple[str, ...] = ()

    @property
    def first(self) -> tuple[Process, ...]:
        """Everybody who was there at the beginning, exec sessions last."""
        return tuple({process.key: process for process in self.watch.first + self.sessions.first}.values())

    @property
    def told(self) -> frozenset[Key]:
        """Everybody who has had the stop signal from us, or may have: it was recorded before it was sent."""
        return frozenset((telling.pid, telling.start_ticks) for telling in self.signalled)


def go(state: StopState, phase: Phase, name: str, now_s: float) -> StopState:
    """Move to a phase that MOVES allows, and mark when."""
    assert phase in MOVES[state.phase], f"{state.phase} -> {phase}"
    return replace(state, phase=phase, marks=(*state.marks, Mark(name, now_s)))


def backoff_s(first_s: float, tries: int, most_s: float) -> float:
    """Return the pause before the next try: doubled each time, up to ``most_s``."""
    return min(first_s * 2.0 ** min(tries, 32), most_s)  # 2**1024 is no float

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

from bento.model.stop import Held, HookResult, Signalled, StopRequest
from bento.stop.process import Key, Process


class Phase(str, Enum):
    """Where a stop is."""

    REQUESTED = "requested"  # wanted and recorded; no process has been looked at yet
    DRAINING = "draining"  # the container is being closed to new connections
    HOOKING = "hooking"  # pre-stop hooks run, one after the other
    GRACE = "grace"  # the program has been signalled, or is about to be
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
    TRACER_LIMIT = "tracer-limit"  # the tracer does not answer
    EXIT_HOLD = "exit-hold"  # PID 1 has been held at its exit for long enough
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
    PROMPT = "prompt"  # a shell at its prompt that SIGHUP does not reach (rule S29)
    WRAPPED = "wrapped"  # the program that PID 1 waited for has ended; PID 1 was held meanwhile (rule S13)
    LEFT_BEHIND = "left-behind"  # what PID 1 has left in a PID namespace that it shares
    HALTED = "halted"  # PID 1 has shut everything down and stays (rule S10)


class Mark(Struct, frozen=True):
    """The moment a phase of the report begins."""

    name: str
    at_s: float


class InitRequest(Struct, frozen=True, kw_only=True):
    """One method by which PID 1 was asked to end (rule S10)."""

    method: str
    at_s: float  # seconds since the stop began
    error: str | None = None  # None: no answer yet; "": delivered


class Idle(Struct, frozen=True):
    """Since when a process has not run: its context switches have not changed in any look since.

    ``calm_s``: since when it has not worked, but at the most ticked, as what only waits for its next turn does.
    """

    key: Key
    switches: int
    since_s: float
    cpu_ticks: int = 0
    calm_s: float = 0.0


class Watch(Struct, frozen=True, kw_only=True):
    """What the looks of the grace have shown over time."""

    first: tuple[Process, ...] = ()  # all at the first look, and what came until the first signal, or an init's request
    receivers: frozenset[Key] = frozenset()  # of these, those that received the signal then
    later: tuple[Process, ...] = ()  # what came after it, for the report
    main: Process | None = None  # PID 1 at the last look that showed it
    keys: frozenset[Key] = frozenset()  # all at the last look
    sessions: frozenset[Key] = frozenset()  # of them, those of exec sessions, also when they are orphans by now
    answered: frozenset[Key] = frozenset()  # were below one that was signalled, and it may have notified them
    idle: tuple[Idle, ...] = ()  # all at the last look
    before: tuple[tuple[Key, int], ...] = ()  # context switches at the last look before PID 1 was signalled
    calls: tuple[tuple[Key, str], ...] = ()  # what they were blocked in then
    parents: frozenset[Key] = frozenset()  # those that had a child then
    cpu_ticks: int = -1  # of all together; -1 before the first look
    changed_s: float = 0.0  # when a process last came or went
    worked_s: float = 0.0  # when CPU time was last used, by any process
    blocked: tuple[tuple[Key, float], ...] = ()  # those that block the signal in every look since then
    looks: int = 0
    prompts: frozenset[Key] = frozenset()  # shells that a look has shown at their prompt (rule S29)
    left_prompt: frozenset[Key] = frozenset()  # of them, those that are at it no more, and have no child
    has_shells: bool = False  # one may be at its prompt: only evidence tells


class Trace(str, Enum):
    """Whether a tracer watches PID 1 for its exit, and for what it does with the signal (rules S13, S13a)."""

    NONE = "none"
    ASKED = "asked"
    ON = "on"
    OFF = "off"  # not possible, or not wanted any more


class Ask(str, Enum):
    """How far the engine that runs the container is with its own stop (rule S31)."""

    NO = "no"
    ASKED = "asked"  # its signal is on the way to PID 1
    ARRIVED = "arrived"  # at PID 1; the next look shows whether that received it
    SETTLED = "settled"  # it was received, and counts as one of ours; or it was lost


class Hold(Struct, frozen=True, kw_only=True):
    """What the tracer does for this stop. It ends with the tracer, whose process is not the driver's."""

    trace: Trace = Trace.NONE
    asked: tuple[Key, ...] = ()  # to be held, and the tracer has not answered yet
    held: frozenset[Key] = frozenset()
    refused: frozenset[Key] = frozenset()  # could not be held: nothing is signalled that these wait for
    noted: tuple[Key, ...] = ()  # have only noted the signal, in front of a child
    at_exit_s: float | None = None  # since when PID 1 is held at its exit
    thaws: bool = False  # its user had frozen the container: to be thawed once PID 1 has its signal (rule S11)
    is_settled: bool = False  # the others that would go on are held, too, and the container is thawed
    has_hung_up: bool = False  # PID 1 at its exit has no connection any more


class Wrapped(Struct, frozen=True, kw_only=True):
    """What is signalled in PID 1's place (rules S13, S14)."""

    wrappers: tuple[Key, ...] = ()  # PID 1 first
    ends: tuple[Key, ...] = ()  # what they wait for in the end
    since_s: float = 0.0  # in every look since then
    is_begun: bool = False  # they are held, or asked to be, and what they wait for is signalled
    is_idle: bool = False  # nothing receives the signal; the ends get its default action


class StopState(Struct, frozen=True, kw_only=True):
    """A stop between two inputs."""

    request: StopRequest
    phase: Phase
    began_s: float
    born_s: float  # when the container was started
    deadline_s: float | None  # None: never kill
    timers: dict[Timer, float] = {}
    watch: Watch = Watch()
    hold: Hold = Hold()
    wrapped: Wrapped = Wrapped()
    ask: Ask = Ask.NO
    asked_s: float = 0.0  # when the engine was asked
    method: str = ""  # that is tried, or has worked; "": not known yet, or signalled like an application from the start
    is_identified: bool = False  # PID 1 was looked at, to see which method it obeys
    init_requests: tuple[InitRequest, ...] = ()
    notes: tuple[str, ...] = ()
    signalled: tuple[Signalled, ...] = ()
    hastened: tuple[Signalled, ...] = ()  # those of them that got the last signal as well (rule S30)
    held: tuple[Held, ...] = ()  # for the report
    marks: tuple[Mark, ...] = ()
    is_hooking: bool = False  # a hook runs
    hooks_begun: int = 0  # of request.hooks, those begun or left out: none of them is begun again (rule S6)
    hooks: tuple[HookResult, ...] = ()
    kill_cause: KillCause | None = None
    kill_rounds: int = 0
    had_exited: bool = False  # the process had gone before the stop began (rule S2)
    exited_s: float | None = None
    ended_unseen: bool = False  # PID 1 ended in the grace, when the driver had died
    gave_up: bool = False  # PID 1 has sent itself the signal without a handler: it has done what it does at it
    has_lost_hold: bool = False  # what was held went on, since the tracer or the driver had died
    step: Step | None = None
    step_tries: int = 0
    errors: tuple[str, ...] = ()

    @property
    def signalled_keys(self) -> frozenset[Key]:
        """The processes that have got the stop signal from us, or may have: it was recorded before it was sent."""
        return frozenset((one.pid, one.start_ticks) for one in self.signalled)


def go(state: StopState, phase: Phase, name: str, now_s: float) -> StopState:
    """Move to a phase that MOVES allows, and mark when."""
    assert phase in MOVES[state.phase], f"{state.phase} -> {phase}"
    return replace(state, phase=phase, marks=(*state.marks, Mark(name, now_s)))


def backoff_s(first_s: float, tries: int, most_s: float) -> float:
    """Return the pause before the next try: doubled each time, up to ``most_s``."""
    return min(first_s * 2.0 ** min(tries, 32), most_s)  # 2**1024 is no float

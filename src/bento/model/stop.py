"""What is asked of a stop and what it reports afterwards."""

from enum import Enum
from typing import Any, Final

from msgspec import Struct

from bento.units import NO_LIMIT, SIGKILL


class AskedBy(str, Enum):
    """What wanted the stop (rule S4)."""

    USER = "user"
    API = "api"
    POLICY = "policy"
    DEPENDENCY = "dependency"
    SHUTDOWN = "shutdown"
    REMOVAL = "removal"
    SYSTEMD = "systemd"  # which stops the container's unit


class OnPaused(str, Enum):
    """What a stop does to a container that its user has paused (rule S11)."""

    REFUSE = "refuse"
    THAW = "thaw"
    KILL = "kill"


class OnDeaf(str, Enum):
    """What a stop does to a PID 1 to which the kernel does not deliver the signal (rule S14)."""

    IDLE = "idle"  # end it when nothing in the container can wake before the deadline, or it is a listener at rest
    END = "end"  # end it without another look, once the start window is over
    WAIT = "wait"  # leave it the whole grace


class Scope(str, Enum):
    """How far a stop looks (rule S0)."""

    AUTO = "auto"  # every process of the container, by the rules S13 to S16
    MAIN = "main"  # the plain stop: the signal to PID 1, the grace, SIGKILL


class OnWrapper(str, Enum):
    """What becomes of a process that only waits for the program which is signalled in its place (rule S13)."""

    HOLD = "hold"  # it never goes on to its next command
    CONTINUE = "continue"


class SignalFrom(str, Enum):
    """What says the stop signal, where no call and no container names one (rules S8, S30)."""

    IMAGE = "image"  # its STOPSIGNAL, or SIGTERM
    AUTO = "auto"  # the program that is found, in the place of SIGTERM


class Occasion(str, Enum):
    """Why a process got the stop signal from Bento."""

    INIT = "init"  # it is PID 1, or was asked as PID 1 by a method
    PROGRAM = "program"  # PID 1 waits for it, or stands above it, and does not receive the signal itself
    FOREGROUND = "foreground"  # a shell with a trap waits for it before it runs the trap
    EXIT_HOLD = "exit-hold"  # PID 1 was leaving, and the kernel would have killed it
    LAST_CALL = "last-call"
    DEFAULT_ACTION = "default-action"  # nothing in the container could wake before the deadline
    LEFT_BEHIND = "left-behind"  # by a PID 1 that was only a guest in its PID namespace
    LAST_SIGNAL = "last-signal"  # the program has chosen its stop signal, and did not end by it (rule S30)
    PROMPT = "prompt"  # a shell at its prompt, below a PID 1 that has got its signal (rule S29)


class Verdict(str, Enum):
    """How the container came to its end (rule S23)."""

    GRACEFUL = "graceful"
    FORWARDED = "forwarded"
    LAST_CALL = "last-call"
    DEFAULT_ACTION = "default-action"
    CUT_SHORT = "cut-short"  # PID 1 ended by itself, and with it the kernel killed a program that receives the signal
    KILLED = "killed"
    ALREADY_EXITED = "already-exited"
    STUCK = "stuck"

    @property
    def is_graceful(self) -> bool:
        """Whether the program was given its chance, and took it or had already gone."""
        return self in (Verdict.GRACEFUL, Verdict.FORWARDED, Verdict.ALREADY_EXITED)


class Hook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something to be done before the signal, or on the host after the clean-up (rule S9)."""

    kind: str  # "inside" or "host": a command for /bin/sh; "sleep"
    command: str = ""
    seconds: float = 0.0  # of "sleep"


class HookResult(Struct, frozen=True, kw_only=True):
    """How a hook ended. ``error`` "" is success."""

    when: str  # pre-stop | post-stop
    kind: str
    command: str
    start_s: float  # seconds since the stop began
    duration_s: float
    error: str = ""


class StopRules(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a stop goes, and how long it looks (rules S0, S13 to S15). None leaves it to what is asked next.

    A call says it, or the container, or the configuration; the first that does wins. Times are seconds.
    """

    scope: Scope | None = None  # MAIN: the plain stop
    on_wrapper: OnWrapper | None = None  # a process that only waits for the program
    on_deaf: OnDeaf | None = None  # a PID 1 that does not receive the signal
    exit_hold_s: float | None = None  # at most so long, within the grace; 0: off
    last_call_s: float | None = None  # so long before the deadline; 0: off
    last_call_all: bool | None = None  # it goes to every process that was not signalled
    start_window_s: float | None = None  # after start, in which PID 1 may still install a handler
    signal_from: SignalFrom | None = None  # AUTO: in the place of SIGTERM, what the program asks for (rule S30)


class StopSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a container is to be stopped; None and "" leave it to its image, then to what is asked next. In seconds."""

    signal: int | None = None  # a number
    timeout_s: float | None = None  # the grace
    method: str = ""  # "": what follows from the rest
    command: str = ""  # of the method exec
    rules: StopRules = StopRules()
    pre_stop: tuple[Hook, ...] = ()  # before the signal
    post_stop: tuple[Hook, ...] = ()  # after the clean-up, on the host
    hook_timeout_s: float | None = None  # of each
    drain: bool = False  # a stop first refuses new connections


NOTHING_SAID: Final = StopRules()


def first_said(*sources: StopRules) -> dict[str, Any]:
    """Return what is said at all, by the names of the fields; earlier sources win."""
    found: dict[str, Any] = {}
    for name in StopRules.__struct_fields__:
        said = (value for source in sources if (value := getattr(source, name)) is not None)
        if (value := next(said, None)) is not None:
            found[name] = value
    return found


class StopRequest(Struct, frozen=True, kw_only=True):
    """What a caller asks for. All times are seconds."""

    signal: int = 15
    method: str = "signal"
    command: str = ""  # of the method exec, for /bin/sh inside
    grace_s: float = 10.0  # 0: kill now; NO_LIMIT: never kill
    kill_timeout_s: float = 30.0
    start_window_s: float = 10.0
    pre_stop: tuple[Hook, ...] = ()  # in order, out of the grace
    post_stop: tuple[Hook, ...] = ()  # on the host, after the clean-up
    hook_timeout_s: float | None = None  # each; None: what the grace leaves
    last_call_s: float | None = None  # None: 2 s or a fifth of the grace; 0: off
    last_call_all: bool = False  # also those with the default action, and those that another process may have signalled
    scope: Scope = Scope.AUTO
    on_wrapper: OnWrapper = OnWrapper.HOLD
    on_deaf: OnDeaf = OnDeaf.IDLE
    exit_hold_s: float | None = None  # None: what is left of the grace; 0: off
    on_paused: OnPaused = OnPaused.REFUSE
    drain: bool = False  # first of all, refuse new connections (rule S17a)
    signal_from: SignalFrom = SignalFrom.IMAGE
    last_signal: int = 0  # what the program that has chosen gets shortly before the deadline; 0: nothing
    choice: str = ""  # what was chosen, and why
    asked_by: AskedBy = AskedBy.USER
    by_engine: bool = False  # another engine, which runs it, is asked first, and signals PID 1 (rule S31)

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """All hooks, by the numbers that the machine gives them."""
        return self.pre_stop + self.post_stop

    @property
    def may_kill(self) -> bool:
        """Whether the grace ever ends."""
        return self.grace_s != NO_LIMIT

    @property
    def is_kill(self) -> bool:
        """Whether it is a kill: without a grace, or by the one signal that no program can handle."""
        return self.grace_s == 0 or self.is_sigkill

    @property
    def is_sigkill(self) -> bool:
        """Whether the stop signal is SIGKILL: then Bento kills in its place, once drain and hooks are over."""
        return self.signal == SIGKILL and self.method == "signal" and not self.by_engine


class StopIntent(Struct, frozen=True, kw_only=True):
    """The stop under way, written before its first signal (rules S4, S6).

    ``journal`` is the machine's own state, so that another process can go on from there.
    """

    run: int
    request: StopRequest
    deadline_boot_s: float | None  # CLOCK_BOOTTIME; None: no limit
    boot_id: str
    asked_unix_ns: int
    oom_kills: int = 0  # the cgroup's count when the stop began
    oom_kills_at_end: int = 0  # and when it had ended, once that is known
    is_released: bool = False  # the root filesystem was seen to be held by no process
    program_code: int | None = None  # of the program that PID 1 only waited for, once that has ended (rule S13)
    journal: bytes = b""


class Signalled(Struct, frozen=True, kw_only=True):
    """One signal that a stop has sent: no process gets a second one (rule S13)."""

    pid: int
    start_ticks: int
    comm: str
    at_s: float  # seconds since the stop began
    why: str
    receives: str  # the disposition read before
    occasion: Occasion = Occasion.INIT
    session: bool = False  # of an exec session, which gets SIGTERM (rule S16)
    signal: str = ""  # its name; "" in reports of before it was kept: the stop's, or SIGTERM for a session


class Held(Struct, frozen=True, kw_only=True):
    """A process that a stop kept from going on, by ptrace (rules S13, S13a). It was let go before it was killed."""

    pid: int
    comm: str
    why: str
    at_s: float  # seconds since the stop began


class PhaseTiming(Struct, frozen=True, kw_only=True):
    """A phase of the stop on its own time axis; seconds since the stop began."""

    name: str
    start_s: float
    duration_s: float


UNSEEN: Final = "unseen"
"""In place of a name and of a disposition: the process began, and was killed, between two looks."""


class ProcessEnd(Struct, frozen=True, kw_only=True):
    """How one process that was alive when the stop began, or that came later, has ended."""

    pid: int
    ppid: int = 0  # as it was first seen; 0: not known
    comm: str
    how: str  # exited | signalled | killed-by-us | killed-with-pid-1 | unknown | alive
    code: int | None = None  # exit code, or signal number
    receives: str = ""  # its disposition for the stop signal at the first look
    session: bool = False  # of an exec session
    waited: str = ""  # what it waited for when a look first read that; "": no look has, or it is one of many
    began_s: float | None = None  # of one that came during the stop; seconds since the stop began, as all times
    ended_s: float | None = None  # when it was seen gone


class StopReport(Struct, frozen=True, kw_only=True):
    """What happened in a stop, kept with the container (rule S23)."""

    id: str = ""  # of the container
    name: str = ""  # as it was then
    asked_by: AskedBy
    method: str
    signal: str
    grace_s: float
    started_unix_ns: int
    duration_s: float
    verdict: Verdict
    cause: str
    remedy: str
    exit_code: int | None
    disposition: str  # of PID 1, for the stop signal
    is_graceful: bool = False  # what --strict asks: every program that receives the signal ended by itself
    is_slow: bool = False  # took over half of the grace
    phases: tuple[PhaseTiming, ...] = ()
    signalled: tuple[Signalled, ...] = ()
    held: tuple[Held, ...] = ()
    processes: tuple[ProcessEnd, ...] = ()
    hooks: tuple[HookResult, ...] = ()
    notes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()  # clean-up steps that failed


class ViewedProcess(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process in the middle of a stop, as the last look has shown it, or as it ended since."""

    pid: int
    ppid: int
    comm: str
    receives: str  # its disposition for the stop signal
    does: str = ""  # what it waits for, where the look read that, or whether it has run since the look before
    told: str = ""  # the signal that it got from Bento
    told_s: float = 0.0  # when, CLOCK_MONOTONIC
    is_held: bool = False
    is_session: bool = False  # of an exec session: the signal is SIGTERM
    has_ended: bool = False


class StopView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stop in the middle of it. Times are CLOCK_MONOTONIC."""

    name: str
    phase: str
    signal: str  # its name
    until_s: float | None = None  # the latest end of this phase
    last_call_s: float | None = None
    waits: str = ""  # for what it waits, and why: a sentence
    processes: tuple[ViewedProcess, ...] = ()  # parents before their children; of very many, the first ones
    more: int = 0  # so many more there are

"""What is asked of a check, and what it has found: how a container took its stops, what is wrong, what to change.

Times are seconds. A check is judged by the *plain* stop: the signal to PID 1 alone, the grace, SIGKILL.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from msgspec import Struct

from bento.model.stop import StopReport, Verdict


class Severity(str, Enum):
    """How much a finding weighs; ``--fail-on`` names one of them."""

    INFO = "info"  # worth knowing; nothing is lost
    WARNING = "warning"  # something is lost at some moments, or time is
    ERROR = "error"  # the program is killed, or work is lost, in a plain stop

    @property
    def weight(self) -> int:
        """A heavier one has a greater number."""
        return list(Severity).index(self)


class CheckVerdict(str, Enum):
    """What a check comes to."""

    PASSED = "passed"  # no finding at or above the severity that was named
    FAILED = "failed"
    UNJUDGED = "unjudged"  # it could not be run, or ended before it could be stopped: see ``error``


class CheckKind(str, Enum):
    """What was judged."""

    IMAGE = "image"  # started for the check, and stopped
    SERVICE = "service"  # the same, a service of a compose file
    RUNNING = "running"  # something that runs, which was only looked at


class RunKind(str, Enum):
    """What one run of a check was for."""

    SETTLED = "settled"  # stopped once it was ready
    START_UP = "start-up"  # stopped, or only looked at, before
    TWICE = "twice"  # the signal came again during the stop
    LOAD = "load"  # stopped with work under way
    DRAIN = "drain"  # the same, new connections refused first
    AFTER = "after"  # started again with the volumes of an earlier run
    LOOK = "look"  # nothing was sent


class SeenProcess(Struct, frozen=True, kw_only=True):
    """One process as /proc showed it before the signal. Masks have bit n-1 set for signal n (proc_pid_status(5))."""

    pid: int
    ppid: int
    comm: str
    argv: tuple[str, ...] = ()
    state: str = ""  # one letter, as in proc_pid_stat(5); Z: a zombie
    session: int = 0  # its session's leader (setsid(2)); 0: not known
    blocked: int = 0  # SigBlk
    ignored: int = 0  # SigIgn
    caught: int = 0  # SigCgt
    receives: str = ""  # what the stop signal would do to it (rule S12); "" for a zombie
    why: str = ""  # the same in a sentence
    calls: tuple[str, ...] = ()  # the system call of each thread, as far as it was read
    waits: str = ""  # what it waits for, as "polls a socket"
    how: str = ""  # how it ended, as in ProcessEnd; "" where it was only looked at
    code: int | None = None  # of that: an exit code, or the number of a signal


class Moment(Struct, frozen=True):
    """Something that happened, so many seconds after the stop had begun (before it: less than 0)."""

    at_s: float
    text: str


class Evidence(Struct, frozen=True, kw_only=True):
    """What a finding rests on."""

    facts: tuple[str, ...] = ()  # sentences
    processes: tuple[SeenProcess, ...] = ()  # those that it is about
    timeline: tuple[Moment, ...] = ()  # of the run that shows it


Place = Literal["dockerfile", "script", "program", "compose", "unit", "pod", "command"]
"""Where something is to be changed: ``unit`` is a systemd or Quadlet unit, ``command`` the options of ``run``."""


class Change(Struct, frozen=True):
    """The very lines to be written at one place."""

    place: Place
    text: str  # one line or more


class Remedy(Struct, frozen=True, kw_only=True):
    """What to do about a finding: in a sentence, and then any *one* of the changes, the best first."""

    text: str
    changes: tuple[Change, ...] = ()


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with how a container stops."""

    id: str  # BG001: stable from release to release
    name: str  # the same as a word, as "deaf-pid-1"
    severity: Severity
    title: str  # one line, without what differs from run to run
    detail: str  # what was seen, in a sentence or two
    evidence: Evidence
    remedy: Remedy
    runs: tuple[int, ...] = ()  # the numbers of the runs that show it


class SeenRequest(Struct, frozen=True, kw_only=True):
    """One request, from when it was sent to its whole answer, or the end of its connection; since the stop began."""

    from_s: float  # less than 0: it was under way when the stop began
    until_s: float
    how: str  # answered | lost | refused


class Requests(Struct, frozen=True, kw_only=True):
    """What became of the requests that were sent before and during the stop of a run (``--load-port``)."""

    sent: int = 0
    answered: int = 0
    unanswered: int = 0  # under way when the stop began; the connection ended without a whole answer
    unanswered_late: int = 0  # the same of those that were accepted after that
    refused: int = 0  # the connection was not accepted
    longest_s: float = 0.0  # of those answered
    seen: tuple[SeenRequest, ...] = ()  # those that ended after the stop signal; of many, the lost ones first


class Loaded(Struct, frozen=True, kw_only=True):
    """How a command of ``--load``, or of ``--after``, has ended. ``exit_code`` None: it was killed at its limit."""

    command: str
    exit_code: int | None
    duration_s: float
    output: str = ""  # the end of it


class CheckRun(Struct, frozen=True, kw_only=True):
    """One start of the container, and its stop; or one look at it."""

    number: int  # from 1
    kind: RunKind
    ready: str = ""  # by what it was found ready; "" where that was not waited for
    ready_s: float | None = None  # from the start until then
    received_s: float | None = None  # from the start until PID 1 was first seen to receive the signal
    stopped_s: float | None = None  # from the start until the stop signal; None: it was not sent
    report: StopReport | None = None  # of the plain stop
    processes: tuple[SeenProcess, ...] = ()  # just before the signal, or at the look
    requests: Requests | None = None
    command: Loaded | None = None
    note: str = ""  # what else is to be known, as why it was cut short


class WithBento(Struct, frozen=True, kw_only=True):
    """What Bento's own stop would make of it, as ``explain`` foresees that; None: it would not end."""

    verdict: Verdict | None
    cause: str
    duration_s: float | None
    otherwise: str = ""  # how else it may end, and when it does


class Check(Struct, frozen=True, kw_only=True):
    """What one check has found."""

    subject: str  # the image's name, a container's, "process 4711", or "FILE: service"
    kind: CheckKind
    command: tuple[str, ...] = ()  # of PID 1, as it was started
    signal: str  # its name
    grace_s: float
    fail_on: Severity = Severity.WARNING
    started_unix_ns: int
    duration_s: float
    runs: tuple[CheckRun, ...] = ()
    findings: tuple[Finding, ...] = ()  # the heaviest first
    verdict: CheckVerdict
    error: str = ""  # why it could not be judged
    with_bento: WithBento | None = None


class Readiness(Struct, frozen=True, kw_only=True):
    """By what a container counts as ready. The first that is given: the log, the command, its health check, a port.

    With none of them it is ready once it has been quiet for a while.
    """

    log: str = ""  # a regular expression, searched in each line of its output
    command: str = ""  # for /bin/sh in the container, again and again until it succeeds
    quiet_s: float = 1.0  # no process has worked or come or gone for so long
    timeout_s: float = 60.0


class Load(Struct, frozen=True, kw_only=True):
    """Work that is under way when the stop comes."""

    command: str = ""  # for /bin/sh on the host; it says by its exit status whether all was well
    port: int | None = None  # of the container: HTTP requests go there
    path: str = "/"
    lead_s: float = 0.5  # the stop comes so long after it has begun

    @property
    def is_wanted(self) -> bool:
        """Whether there is any."""
        return bool(self.command) or self.port is not None


class CheckOptions(Struct, frozen=True, kw_only=True):
    """How a check is carried out; None leaves it to the container, then to its image, then to the default."""

    grace_s: float | None = None
    signal: int | None = None  # a number
    ready: Readiness = Readiness()
    load: Load = Load()
    after: str = ""  # for /bin/sh in the next container with the same volumes; it fails where that is not whole
    repeat: int = 1  # so often it is stopped once it is ready
    start_up: int = 3  # so many moments of its start at which it is stopped
    twice: bool = True  # the signal comes a second time, in a run of its own
    fail_on: Severity = Severity.WARNING

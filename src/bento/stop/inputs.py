"""What may happen to a stop. Past tense: these are observations, never intentions."""

from __future__ import annotations

from msgspec import Struct

from bento.stop.process import Key, Process
from bento.stop.states import Step, Timer


class Looked(Struct, frozen=True):
    """A look at every process of the container."""

    processes: tuple[Process, ...]
    is_frozen: bool = False


class MainExited(Struct, frozen=True):
    """PID 1 of the container was seen gone. Only this leads to ``stopped`` (rule S20)."""


class Traced(Struct, frozen=True):
    """The tracer watches PID 1, or says why it cannot. ``error`` "" is success."""

    error: str = ""


class HeldBack(Struct, frozen=True):
    """The tracer holds these processes; the others that it was asked to hold have gone, or cannot be held."""

    keys: tuple[Key, ...]
    refused: tuple[Key, ...] = ()
    error: str = ""


class SignalNoted(Struct, frozen=True):
    """A traced process has taken the signal: ``is_only_noted`` when it went straight back to waiting for its child."""

    key: Key
    is_only_noted: bool


class InitGaveUp(Struct, frozen=True):
    """PID 1 has sent itself the stop signal, which it does not handle any more: elsewhere it would have ended by it."""


class InitLeaving(Struct, frozen=True):
    """PID 1 is held at its exit, and the container's cgroup is frozen. Its namespace is still alive."""


class TracerLost(Struct, frozen=True):
    """The tracer has ended, or has let PID 1 go for this reason: nothing is held any more."""

    reason: str


class SignalledExited(Struct, frozen=True):
    """A process that the stop had signalled was seen gone."""

    pid: int


class Drained(Struct, frozen=True):
    """The container was closed to new connections, or could not be. ``error`` "" is success."""

    error: str = ""


class Identified(Struct, frozen=True):
    """PID 1 was looked at: the method it obeys, ``signal`` when it is no init that is known, and how that shows."""

    method: str
    reason: str


class InitAnswered(Struct, frozen=True):
    """PID 1 was asked by a method. ``error`` "" is success; ``retry``: nothing was sent, and soon it may be."""

    method: str
    error: str = ""
    retry: bool = False


class TimerFired(Struct, frozen=True):
    """A timer of the state has come due."""

    timer: Timer


class DeadlineMoved(Struct, frozen=True):
    """Another caller joined (rule S5). Later than now only with ``extend``."""

    deadline_s: float | None
    extend: bool = False


class HookDone(Struct, frozen=True):
    """A hook ended, or could not be begun. ``error`` "" is success."""

    number: int
    error: str = ""


class StepDone(Struct, frozen=True):
    """A clean-up step ended. ``error`` "" is success; ``retry``: it may succeed a little later."""

    step: Step
    error: str = ""
    retry: bool = False


class Resumed(Struct, frozen=True):
    """Another process goes on with this stop: the one that drove it before is gone.

    ``deadline_s`` is the recorded one on today's clock; the machine may have been suspended meanwhile.
    """

    deadline_s: float | None = None


Input = (
    HookDone
    | InitAnswered
    | Drained
    | Identified
    | Looked
    | Traced
    | HeldBack
    | SignalNoted
    | InitGaveUp
    | InitLeaving
    | TracerLost
    | MainExited
    | SignalledExited
    | TimerFired
    | DeadlineMoved
    | StepDone
    | Resumed
)

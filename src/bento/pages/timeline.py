"""What a timeline shows, apart from how it is drawn: lanes in groups on one axis, with bars and marks."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class BarKind(str, Enum):
    """What lasts. Each has a look of its own, by more than its colour; the value is a class of the style."""

    PHASE = "phase"
    CLEANUP = "cleanup"
    HOOK = "hook"
    PROCESS = "process"
    HELD = "held"
    UNKNOWN = "unknown"  # until when is not known
    REQUEST = "request"


class MarkKind(str, Enum):
    """What happens at one moment. Each has a shape of its own."""

    SIGNAL = "signal"
    EXITED = "exited"
    BY_SIGNAL = "by-signal"
    KILLED = "killed"
    ALIVE = "alive"
    FAILED = "failed"


MEANING: dict[Enum, str] = {
    BarKind.PHASE: "a phase of the stop",
    BarKind.CLEANUP: "clean-up",
    BarKind.HOOK: "a hook",
    BarKind.PROCESS: "the process lives",
    BarKind.HELD: "it is held",
    BarKind.UNKNOWN: "its end was not seen",
    BarKind.REQUEST: "a request",
    MarkKind.SIGNAL: "gets a signal",
    MarkKind.EXITED: "exits by itself",
    MarkKind.BY_SIGNAL: "ended by a signal",
    MarkKind.KILLED: "is killed",
    MarkKind.ALIVE: "is still alive",
    MarkKind.FAILED: "fails",
}
"""For the legend."""


class Bar(Struct, frozen=True):
    """From ``start_s`` to ``end_s``; ``title`` says all of it."""

    kind: BarKind
    start_s: float
    end_s: float
    title: str


class Mark(Struct, frozen=True):
    """One moment."""

    kind: MarkKind
    at_s: float
    title: str


class Lane(Struct, frozen=True, kw_only=True):
    """One row: its name at the left, what became of it at the right. Later bars are drawn over earlier ones."""

    label: str
    result: str = ""
    indent: int = 0
    bars: tuple[Bar, ...] = ()
    marks: tuple[Mark, ...] = ()


class Group(Struct, frozen=True):
    """Lanes below one heading. ``more``: what is said of those that are not drawn."""

    title: str
    lanes: tuple[Lane, ...]
    more: str = ""


class Moment(Struct, frozen=True):
    """A moment of all lanes: a line across them."""

    at_s: float
    label: str


class Timeline(Struct, frozen=True, kw_only=True):
    """A picture of ``duration_s`` seconds. ``title`` names it, ``text`` says in a sentence what is to be seen."""

    title: str
    text: str
    duration_s: float
    groups: tuple[Group, ...]
    moments: tuple[Moment, ...] = ()

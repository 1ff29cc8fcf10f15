"""What is known of a real program, such as nginx: which signal ends it in order, and what others do to it."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Effect(str, Enum):
    """What a signal makes of a program's work."""

    FINISHES = "finishes"  # it takes nothing new, finishes what is under way, and ends
    ENDS = "ends"  # it puts its state in order and ends at once; what its clients have under way is cut off
    WAITS = "waits"  # it takes nothing new, and ends in order when its last client has left
    RESTARTS = "restarts"  # it starts anew, and lives on
    NOTHING = "nothing"  # it goes on; mostly it has no handler, and as PID 1 does not even get the signal
    ABORTS = "aborts"  # it ends without putting its state in order

    @property
    def is_orderly(self) -> bool:
        """Whether the program ends by it, with its state in order."""
        return self in (Effect.FINISHES, Effect.ENDS, Effect.WAITS)


class SignalFact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one signal does to the program as PID 1."""

    effect: Effect
    does: str  # "at SIGQUIT nginx " and this: a phrase without a full stop
    source: str  # manual page or documentation, by name and section
    exit_codes: tuple[int, ...] = ()  # of an end by it; empty: it does not end it
    log: str = ""  # a regular expression: what a clean end leaves in its log; "": nothing is known


class Match(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the program is found. What is given must all hold; "" is not asked."""

    executable: str = ""  # the name of the file that the kernel runs, a pattern of fnmatch
    script: str = ""  # the name of a script that an interpreter runs, by its arguments, a pattern of fnmatch
    arguments: str = ""  # a regular expression, found in the words of the command line joined by blanks


class Program(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One program, as a file of ``bento.programs.known`` has it. Signals are names without SIG."""

    name: str
    kind: str  # what it is: "web server"
    match: tuple[Match, ...]
    versions: str  # to which of them the facts apply
    graceful: str  # the signal that ends it in order with the least loss; "": none does
    signals: dict[str, SignalFact]
    auto: tuple[str, ...] = ()  # what is sent in the place of SIGTERM, and shortly before the end of the grace
    forwards: bool = False  # an init of containers: it passes each signal on to what it runs
    remedy: str = ""  # what to change, where no stop signal is the remedy
    traps: tuple[str, ...] = ()  # of it as PID 1, each a sentence without a full stop
    package: str = ""  # of Debian, with which the facts were tested; "": they are the documentation's alone
    tested: str = ""  # the version of that

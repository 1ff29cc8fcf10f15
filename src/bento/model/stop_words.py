"""How the rules of stop are named in words: on the command line, in the configuration, in what ``inspect`` shows.

A row for each field of ``StopRules``. Options, settings and keys are made from it: none of them can be forgotten.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from bento.model.stop import OnDeaf, OnWrapper, Scope, SignalFrom


class RuleWord(Struct, frozen=True):
    """What is said of a rule: a choice, seconds (float), or a switch (bool)."""

    kind: type[Scope | OnWrapper | OnDeaf | SignalFrom | float | bool]
    text: str  # for --help
    is_setting: bool = True  # a whole machine may have it
    option: str = ""  # another option that says it, with its word; "": one of its own

    @property
    def choices(self) -> tuple[str, ...]:
        """The words of a choice; () of anything else."""
        return tuple(each.value for each in self.kind) if issubclass(self.kind, Enum) else ()


WORDS: Final[dict[str, RuleWord]] = {
    "scope": RuleWord(Scope, "main: the plain stop, which signals PID 1 alone and looks no further (default auto)"),
    "on_wrapper": RuleWord(
        OnWrapper, "a process that only waits for the program: hold it, or let it continue (default hold)"
    ),
    "on_deaf": RuleWord(
        OnDeaf, "a PID 1 that does not receive the signal: end it when idle, end it, or wait (default idle)"
    ),
    "exit_hold_s": RuleWord(
        float, "seconds, at most, that PID 1 is held at its exit for the others (0: off; default: the grace)"
    ),
    "last_call_s": RuleWord(
        float, "seconds before the deadline to signal what cannot have got the signal yet (0: off; default 2)"
    ),
    "start_window_s": RuleWord(float, "seconds after start in which PID 1 may still install a handler (default 10)"),
    "last_call_all": RuleWord(
        bool, "at the last call, signal every process that Bento has not signalled", is_setting=False
    ),
    "signal_from": RuleWord(SignalFrom, "", option="-s auto"),
}


def option_of(field: str) -> str:
    """Return how ``stop`` calls a field, such as "exit-hold"; ``run`` has "stop-" before it."""
    return field.removeprefix("on_").removesuffix("_s").replace("_", "-")


def flag_of(field: str) -> str:
    """Return the option of ``stop`` that says a field, such as "--exit-hold"."""
    return WORDS[field].option or f"--{option_of(field)}"


def key_of(field: str) -> str:
    """Return how the configuration calls a field, such as "stop_exit_hold"."""
    return "stop_" + option_of(field).replace("-", "_")


def shown_as(field: str) -> str:
    """Return how ``inspect`` calls a field, such as "StopExitHold"."""
    return "Stop" + option_of(field).title().replace("-", "")

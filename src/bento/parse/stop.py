"""The words of a stop: its method and its command (rule S10), its hooks (rule S9)."""

from __future__ import annotations

from bento.errors import UsageError
from bento.model.stop import Hook
from bento.stop.methods import ALIASES, AUTO, METHODS, NAMES, SIGNAL
from bento.units import parse_seconds


def parse_method(text: str) -> str:
    """Return the name of a method; LXC's words are accepted. Raises UsageError."""
    name = ALIASES.get(text, text)
    if name not in (SIGNAL, AUTO) and name not in METHODS:
        raise UsageError(f"unknown stop method {text!r}", hint=f"use one of {', '.join(NAMES)}")
    return name


def parse_command(text: str) -> str:
    """Return a command for /bin/sh. Raises UsageError for an empty one."""
    if not text.strip():
        raise UsageError("the stop command is empty", hint="write it as one word: --stop-command 'CMD ARGUMENTS'")
    return text


def parse_hook(kind: str, text: str) -> Hook:
    """What is done before the signal, by its kind: a command ``inside`` or on the ``host``, or seconds to ``sleep``.

    Raises UsageError.
    """
    if kind == "sleep":
        return Hook(kind=kind, seconds=parse_seconds(text, what="sleep", allow_no_limit=False))
    return Hook(kind=kind, command=text)


def parse_hook_timeout(text: str) -> float:
    """Seconds above 0. Raises UsageError."""
    limit_s = parse_seconds(text, what="hook timeout", allow_no_limit=False)
    if limit_s == 0:
        raise UsageError("a hook timeout of 0 leaves no time for any hook", hint="give seconds, such as 10 or 0.5")
    return limit_s

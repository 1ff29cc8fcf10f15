"""The words of a stop's hooks (rule S9)."""

from __future__ import annotations

from bento.errors import UsageError
from bento.model.stop import Hook
from bento.units import parse_seconds


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

"""The words of a stop: its grace, its hooks (rule S9), and how far it goes (rule S0)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bento.errors import UsageError
from bento.model.stop import Hook, OnDeaf, OnWrapper, Scope
from bento.units import parse_seconds


def parse_grace(text: str | None, *, is_forced: bool) -> float | None:
    """Seconds, -1 for no limit; None where nothing is said. ``is_forced``: kill at once. Raises UsageError."""
    grace_s = None if text is None else parse_seconds(text, what="grace")
    if is_forced and grace_s not in (None, 0.0):
        raise UsageError("--force and -t exclude each other", hint="--force is -t 0: it leaves no grace")
    return 0.0 if is_forced else grace_s


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


def _seconds(what: str) -> Callable[[str], float]:
    return lambda text: parse_seconds(text, what=what, allow_no_limit=False)


_RULES: Final[Mapping[str, Callable[[str], Any]]] = {
    "scope": Scope,
    "on_wrapper": OnWrapper,
    "on_deaf": OnDeaf,
    "exit_hold_s": _seconds("exit hold"),
    "last_call_s": _seconds("last call"),
    "start_window_s": _seconds("start window"),
}


def parse_rules(words: Mapping[str, str | None]) -> dict[str, Any]:
    """Return fields of StopRules by what is said of each, None for nothing. Raises UsageError for bad seconds."""
    return {name: None if text is None else _RULES[name](text) for name, text in words.items()}

"""``--filter KEY=VALUE``, as listings and prunes have it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from bento import clock
from bento.errors import UsageError
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.parse import times
else:  # most filters are of no time
    times = LazyModule("bento.parse.times")

PRUNE_KEYS = ("label", "label!", "until")


def split(filters: Iterable[str], known: Collection[str]) -> dict[str, list[str]]:
    """Return the values of each key. Raises UsageError for what is no KEY=VALUE of a known key."""
    wanted: dict[str, list[str]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise UsageError(f"bad filter {text!r}", hint=f"use KEY=VALUE with one of {', '.join(sorted(known))}")
        wanted.setdefault(key, []).append(value)
    return wanted


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """Whether there is this label: ``KEY``, or ``KEY=VALUE``."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def parse_until(text: str) -> int:
    """Return the moment that ``until=`` names, in ns since 1970: a time, or so long ago. Raises UsageError."""
    return round(times.parse_since(text, clock.utc()).timestamp() * 1e9)


def parse_prune(filters: Iterable[str]) -> Callable[[Mapping[str, str], int], bool]:
    """Return a test, by labels and time of creation (ns), of whether something may go. All filters must fit.

    Keys: label, ``label!`` (does not have it), until (made before). Raises UsageError.
    """
    wanted = split(filters, PRUNE_KEYS)
    until_ns = [parse_until(text) for text in wanted.get("until", ())]

    def passes(labels: Mapping[str, str], created_unix_ns: int) -> bool:
        return (
            all(has_label(labels, label) for label in wanted.get("label", ()))
            and not any(has_label(labels, label) for label in wanted.get("label!", ()))
            and all(created_unix_ns < moment for moment in until_ns)
        )

    return passes

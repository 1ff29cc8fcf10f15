"""The words of user namespaces: ``--userns``, the setting ``userns_ids``, and the lines of subuid(5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bento.errors import UsageError
from bento.model.namespaces.mapping import ID_MAX, IdMapping

SIZE: Final = 65536
"""Ids of a namespace that asks for no number: all that an image may use, up to 65535."""
_AUTO: Final = "auto"

Span = tuple[int, int]
"""The first id, and how many."""


def parse_userns(text: str) -> int:
    """Return how many ids a user namespace of its own is to have; 0: it has none. Raises UsageError."""
    mode, _, options = text.partition(":")
    if text in ("", "host"):
        return 0
    if mode != _AUTO:
        raise UsageError(f"--userns {text} cannot be had", hint="use auto, auto:size=N, or host")
    if options == "" and text == _AUTO:
        return SIZE
    key, _, number = options.partition("=")
    if key != "size" or not (number.isascii() and number.isdigit()) or not 0 < int(number) <= ID_MAX:
        raise UsageError(f"bad option {options!r} of --userns auto", hint="it is size=N, a number of ids")
    return int(number)


def check(ids: IdMapping) -> None:
    """Raise UsageError for ids that no user namespace of Bento's can have."""
    for ranges in (ids.uids, ids.gids):
        if not any(one.inside == 0 for one in ranges):
            raise UsageError("the ids of a user namespace have to begin with 0, its root", hint="map it, too")
        for one in ranges:
            if one.size < 1 or one.outside < 1 or max(one.inside, one.outside) + one.size - 1 > ID_MAX:
                raise UsageError(
                    f"bad range of {one.size} ids at {one.outside}",
                    hint=f"0 is the machine's root, and {ID_MAX} the last id",
                )


def parse_span(text: str) -> Span | None:
    """Return the ids of FIRST:COUNT; None for another word, which is a name. Raises UsageError for bad numbers."""
    first, colon, count = text.partition(":")
    if not colon:
        return None
    if not all(word.isascii() and word.isdigit() for word in (first, count)):
        raise UsageError(f"bad userns_ids {text!r}", hint="use FIRST:COUNT, or a name of /etc/subuid")
    span = int(first), int(count)
    if span[0] < 1 or span[1] < 1 or sum(span) > ID_MAX:
        raise UsageError(f"bad userns_ids {text!r}", hint="0 is the machine's root, and 4294967294 the last id")
    return span


def spans_of(name: str, text: str) -> list[Span]:
    """Return what a file such as /etc/subuid gives to a name, in its order; lines that are none are passed over."""
    found = []
    for line in text.splitlines():
        owner, *numbers = line.strip().split(":")
        if owner == name and len(numbers) == 2 and all(one.isascii() and one.isdigit() for one in numbers):
            first, count = int(numbers[0]), int(numbers[1])
            if first > 0 and count > 0 and first + count <= ID_MAX:
                found.append((first, count))
    return found


def first_free(spans: Iterable[Span], taken: Sequence[Span], size: int) -> int | None:
    """Return where the first ``size`` ids lie, one after the other, that are given and not taken; None: nowhere."""
    for first, count in spans:
        at = first
        while at + size <= first + count:
            behind = [begin + length for begin, length in taken if begin < at + size and at < begin + length]
            if not behind:
                return at
            at = max(behind)
    return None

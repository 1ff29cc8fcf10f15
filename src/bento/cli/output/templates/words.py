"""The functions of templates, and how Go prints a value. Pure, and bounded: a template comes from anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from bento.cli.output.templates.parse import fail, quoted

MAX_TEXT: Final = 1 << 20
"""Characters of one value: a template that doubles a text again and again ends here."""
_MAX_WIDTH: Final = 1000
_VERB: Final = re.compile(r"%([-+# 0]*)(\d{0,4})(?:\.(\d{0,4}))?(.|$)", re.DOTALL)
_EXPONENT_FROM: Final = 6


class Map(dict[str, Any]):
    """A mapping whose keys are data, such as labels: what is not there is no mistake of the template."""


class NilList(list[Any]):
    """A list that is nil in Go: it prints as an empty one, and is null in JSON."""


class Element(dict[str, Any]):
    """A record in a list: fields that it lacks and others of its kind have are zero values, as in Go."""

    def __init__(self, fields: Mapping[str, Any], zeros: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.zeros = zeros


def elements(values: Sequence[Any], zeros: Mapping[str, Any]) -> Sequence[Any]:
    """Return a list whose records know which fields they have in common. ``zeros``: of those that none may have."""
    common = dict(zeros)
    for value in values:
        if isinstance(value, dict) and not isinstance(value, Map):
            common |= {name: _zero(field) for name, field in value.items() if name not in common}
    return [Element(value, common) if type(value) is dict else value for value in values]


def _zero(value: Any) -> Any:
    return type(value)() if isinstance(value, str | int | float) else None


def go_text(value: Any, *, is_inner: bool = False) -> str:
    """Return a value as Go's ``%v`` has it; nil as templates print it."""
    match value:
        case None:
            return "<nil>" if is_inner else "<no value>"
        case bool():
            return "true" if value else "false"
        case float():
            return _float_text(value)
        case Mapping():
            inside = (f"{key}:{go_text(each, is_inner=True)}" for key, each in sorted(shown(value).items()))
            return f"map[{' '.join(inside)}]"
        case list() | tuple():
            return f"[{' '.join(go_text(each, is_inner=True) for each in value)}]"
        case _:
            return str(value)


def shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record without its methods."""
    return {key: value for key, value in record.items() if not callable(value)}


def is_true(value: Any) -> bool:
    """Whether ``if`` takes a value for true: it is neither nil, false, zero nor empty."""
    return bool(value)


def call(name: str, words: list[Any]) -> Any:
    """Call a function other than ``and`` and ``or``, which do not evaluate all their words. Raises UsageError."""
    function, least, most = _FUNCTIONS[name]
    if not least <= len(words) <= most:
        fail(f"{name} with {len(words)} words; it takes {least}{' or more' if most > least else ''}")
    value = function(*words)
    if isinstance(value, str) and len(value) > MAX_TEXT:
        fail(f"{name} makes a text longer than {MAX_TEXT} characters")
    return value


def keep(*words: Any) -> Any:
    """What a function that changes texts makes of the header of a column: the header."""
    return next((word for word in words if isinstance(word, str)), "")


def _json(value: Any) -> str:
    if isinstance(value, NilList):
        return "null"
    try:
        return msgspec.json.encode(shown(value) if isinstance(value, Mapping) else value).decode()
    except (TypeError, ValueError):
        fail("json: this is no value")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            if not isinstance(key, str):
                fail(f"index: a map is asked by a text, not by {quoted(go_text(key))}")
            value = shown(value).get(key, _missing(value))
        elif isinstance(value, list | tuple | str):
            if type(key) is not int or not 0 <= key < len(value):
                fail(f"index: there is no {quoted(go_text(key))} in a list of {len(value)}")
            value = value[key] if not isinstance(value, str) else ord(value[key])
        else:
            fail(f"index: {quoted(go_text(value))} is no list and no map")
    return value


def _missing(value: Mapping[str, Any]) -> Any:
    """What a map of texts, or of lists, says of a key that it does not have: Go's zero of that type."""
    kinds = {type(each) for each in shown(value).values()}
    if kinds <= {str}:
        return ""
    return [] if kinds == {list} else None


def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | tuple | Mapping):
        return len(value)
    fail(f"len: {quoted(go_text(value))} has no length")


def _slice(value: Any, *ends: Any) -> Any:
    if not isinstance(value, list | tuple | str):
        fail(f"slice: {quoted(go_text(value))} is no list and no text")
    start = ends[0] if ends else 0
    end = ends[1] if len(ends) > 1 else len(value)
    if type(start) is not int or type(end) is not int or not 0 <= start <= end <= len(value):
        fail(f"slice: no {quoted(go_text(start))} to {quoted(go_text(end))} in {len(value)}")
    return value[start:end]


def _join(values: Any, separator: Any) -> str:
    if not isinstance(values, list | tuple):
        fail("join takes a list and a text")
    texts = list(map(go_text, values))
    between = _text("join", separator)
    if sum(map(len, texts)) + len(between) * len(texts) > MAX_TEXT:
        fail(f"join makes a text longer than {MAX_TEXT} characters")
    return between.join(texts)


def _split(text: Any, separator: Any) -> list[str]:
    whole, between = _text("split", text), _text("split", separator)
    return whole.split(between) if between else list(whole)


def _truncate(text: Any, length: Any) -> str:
    if type(length) is not int or length < 0:
        fail("truncate takes a text and a length")
    return _text("truncate", text)[:length]


def _title(text: Any) -> str:
    return re.sub(r"(?<![\w'])\w", lambda match: match[0].upper(), _text("title", text))


def _print(*values: Any) -> str:
    """Go puts a blank between two values of which neither is a text."""
    parts: list[str] = []
    for before, value in zip((None, *values), values, strict=False):
        if parts and not isinstance(before, str) and not isinstance(value, str):
            parts.append(" ")
        parts.append(go_text(value, is_inner=True))
    return "".join(parts)


def _println(*values: Any) -> str:
    return " ".join(go_text(value, is_inner=True) for value in values) + "\n"


def _printf(form: Any, *values: Any) -> str:
    left = list(values)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not left:
            fail(f"printf: no value for {match[0]!r}")
        if max(int(width or 0), int(precision or 0)) > _MAX_WIDTH:
            fail(f"printf: {match[0]!r} is wider than {_MAX_WIDTH}")
        return _formatted(verb, flags, int(width or 0), precision, left.pop(0))

    text = _VERB.sub(one, _text("printf", form))
    if left:
        fail(f"printf: {len(left)} values more than it has verbs")
    return text


def _formatted(verb: str, flags: str, width: int, precision: str | None, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in "vs":
        text = go_text(value, is_inner=True)
        text = text if precision is None else text[: int(precision or 0)]
    elif verb == "q":
        text = msgspec.json.encode(go_text(value, is_inner=True)).decode()
    elif verb == "t" and isinstance(value, bool):
        text = go_text(value)
    elif verb in "dxXo" and type(value) is int:
        text = format(value, ("+" if "+" in flags else "") + verb)
    elif verb in "eEfFgG" and is_number:
        digits = "" if precision is None else f".{precision or 0}"
        text = format(float(value), f"{'+' if '+' in flags else ''}{digits}{verb}")
    else:
        fail(f"printf: no {quoted('%' + verb)} of {quoted(go_text(value))}")
    if "-" in flags:
        return text.ljust(width)
    return text.zfill(width) if "0" in flags and is_number else text.rjust(width)


def _eq(first: Any, *others: Any) -> bool:
    return any(_is_equal(first, other) for other in others)


def _is_equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    _check_kinds(one, other)
    return bool(one == other)


def _less(one: Any, other: Any) -> bool:
    _check_kinds(one, other)
    if isinstance(one, bool):
        fail("booleans have no order")
    return bool(one < other)


def _check_kinds(one: Any, other: Any) -> None:
    """Go compares like with like alone; that a number is one, here, is enough."""
    for kind in (bool, str, (int, float)):
        if isinstance(one, kind) and isinstance(other, kind) and isinstance(one, bool) == isinstance(other, bool):
            return
    fail(f"{quoted(go_text(one))} and {quoted(go_text(other))} cannot be compared")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        fail(f"{name} takes a text, not {quoted(go_text(value))}")
    return value


def _float_text(value: float) -> str:
    """The shortest digits that are this number; with an exponent from a million on, as Go's %g has it."""
    if value != value or abs(value) == float("inf"):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    text = next(text for digits in range(18) if float(text := f"{value:.{digits}e}") == value)
    exponent = int(text.partition("e")[2])
    return text if value and not -4 <= exponent < _EXPONENT_FROM else repr(value).removesuffix(".0")


_MANY: Final = 1000
_FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], int, int]]] = {
    "eq": (_eq, 2, _MANY),
    "ge": (lambda one, other: not _less(one, other), 2, 2),
    "gt": (lambda one, other: _less(other, one), 2, 2),
    "index": (_index, 1, _MANY),
    "join": (_join, 2, 2),
    "json": (_json, 1, 1),
    "le": (lambda one, other: not _less(other, one), 2, 2),
    "len": (_len, 1, 1),
    "lower": (lambda text: _text("lower", text).lower(), 1, 1),
    "lt": (_less, 2, 2),
    "ne": (lambda one, other: not _is_equal(one, other), 2, 2),
    "not": (lambda value: not is_true(value), 1, 1),
    "print": (_print, 0, _MANY),
    "printf": (_printf, 1, _MANY),
    "println": (_println, 0, _MANY),
    "slice": (_slice, 1, 3),
    "split": (_split, 2, 2),
    "title": (_title, 1, 1),
    "truncate": (_truncate, 2, 2),
    "upper": (lambda text: _text("upper", text).upper(), 1, 1),
}
HEADER_FUNCTIONS: Final = ("json", "join", "lower", "split", "title", "truncate", "upper")

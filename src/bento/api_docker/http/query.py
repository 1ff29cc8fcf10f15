"""The parameters behind the question mark of a request."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from bento.errors import UsageError

_FALSE: Final = ("", "0", "no", "false", "none")
_NUMBER: Final = re.compile(r"-?\d{1,18}", re.ASCII)
_FIELDS_MAX: Final = 1000


class Query:
    """What was given, by name. Readers raise UsageError for what is malformed."""

    def __init__(self, text: str) -> None:
        """Raises UsageError when there are too many."""
        try:
            self._given = parse_qs(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="surrogateescape")
        except ValueError:
            raise UsageError(f"a request has {_FIELDS_MAX} parameters at most") from None

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def text(self, name: str, default: str = "") -> str:
        """Return the first value of a name."""
        return self._given.get(name, [default])[0]

    def texts(self, name: str) -> list[str]:
        """Return all values of a name, in order."""
        return self._given.get(name, [])

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a switch as Docker reads it: empty, 0, no, false and none are off, anything else is on."""
        return self.text(name).strip().lower() not in _FALSE if name in self._given else default

    def number(self, name: str) -> int | None:
        """Return a whole number; None: not given, or empty."""
        text = self.text(name)
        if not text:
            return None
        if not _NUMBER.fullmatch(text):
            raise UsageError(f"bad parameter {name}={text!r}", hint="give a whole number")
        return int(text)

    def document(self, name: str, kind: type[Any]) -> Any:
        """Return a value that is JSON; None: not given, or empty."""
        text = self.text(name)
        try:
            return msgspec.json.decode(text, type=kind) if text else None
        except msgspec.MsgspecError as error:
            raise UsageError(f"bad parameter {name}: {error}", hint="give JSON") from None

    def filters(self) -> tuple[str, ...]:
        """Return ``filters`` as the engine takes them: ``KEY=VALUE`` each.

        JSON: values by key, as an object whose keys are the values, or of old as a list.
        """
        given = self.document("filters", dict[str, dict[str, bool] | list[str]])
        if given is None:
            return ()
        # An object with false says that the value is not wanted; no client sends that.
        return tuple(f"{key}={value}" for key, values in given.items() for value in values)

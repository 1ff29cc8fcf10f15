"""What a container has changed, as Docker's API and its command line have it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bento.model.change import Change, Kind

_LETTERS: Final = {Kind.CHANGED: "C", Kind.ADDED: "A", Kind.DELETED: "D"}


def document(changes: Iterable[Change]) -> list[dict[str, object]]:
    """Return the answer to ``GET /containers/ID/changes``."""
    return [{"Kind": change.kind.value, "Path": change.path} for change in changes]


def line(change: Change) -> str:
    """Return the line that ``docker diff`` prints: A, C or D, and the path."""
    return f"{_LETTERS[change.kind]} {change.path}"

"""What was most likely meant by a word that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bento.lazy import LazyModule

if TYPE_CHECKING:
    import difflib
else:
    difflib = LazyModule("difflib")  # only a mistake pays for it


def meant(word: str, known: Iterable[str]) -> str:
    """Return "did you mean ...?" for a word that is close to a known one, else ""."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else ""

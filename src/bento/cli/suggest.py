"""What was most likely meant by a word that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from bento.lazy import LazyModule

if TYPE_CHECKING:
    import difflib
else:
    difflib = LazyModule("difflib")  # only a mistake pays for it


_ALIKE: Final = 0.66  # rnu and run are .67 alike


def meant(word: str, known: Iterable[str]) -> str:
    """Return "did you mean ...?" for a word that is close to a known one, else ""."""
    bare = {name.lstrip("-"): name for name in known}
    alike = [name for name in bare if name[:1] == word.lstrip("-")[:1]]  # a slip is seldom at the first letter
    found = difflib.get_close_matches(word.lstrip("-"), alike, n=1, cutoff=_ALIKE)
    return f"did you mean {bare[found[0]]}?" if found else ""

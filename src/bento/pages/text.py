"""Words for pages: escaped, and as wide as there is room. All that a container has named is a stranger's."""

from __future__ import annotations

import unicodedata
from html import escape
from typing import Final

NAME_MAX: Final = 200
"""Letters of a single name; a page is not made unreadable by one."""


def visible(text: str) -> str:
    """Return a text in which nothing is hidden: control characters, those that turn the direction of what follows,
    and bytes that are no UTF-8 stand as escapes.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that os.fsdecode could not decode
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def html(text: object, *, most: int = 0) -> str:
    """Return a text for the inside of an element or a quoted attribute. ``most``: letters, the rest is cut off."""
    whole = visible(str(text))
    return escape(f"{whole[: most - 1]}…" if 0 < most < len(whole) else whole)


def columns(text: str) -> int:
    """Return how many columns of a terminal, or letters of a font of fixed width, a text takes at the most."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WFA" else 1
        for letter in text
    )


def fitted(text: str, most: int) -> str:
    """Return a visible text in at most so many columns; an ellipsis stands for what was cut off."""
    whole = visible(text)
    if columns(whole) <= most:
        return whole
    found = ""
    for letter in whole:
        if columns(found + letter) > most - 2:  # an ellipsis may be as wide as two
            break
        found += letter
    return f"{found}…" if most > 1 else ""


def seconds(value: float) -> str:
    """Return a time for people: ``0.4 ms``, ``34 ms``, ``2.04 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if value < 0.0095:
        return f"{max(0.0, value) * 1000:.1f} ms"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 119.5:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def sentence(text: str) -> str:
    """Return a cause as a sentence: causes begin small and have no full stop. A name that begins one stays as it is."""
    begin = f"{text[0].upper()}{text[1:]}" if text.startswith(("it ", "its ", "the ", "the process ")) else text
    return begin if begin.endswith((".", "!", "?")) else f"{begin}."

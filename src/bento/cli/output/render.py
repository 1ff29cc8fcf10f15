"""Tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from bento import clock, log
from bento.docker.words import Now


def now() -> Now:
    """Return the moment that a listing shows: one for all of its lines."""
    return Now(wall_ns=clock.wall_ns(), boot_s=clock.boot_s())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return left-aligned columns, three blanks apart, as Docker prints them.

    What is in a cell may be an image's own words: it stays in its line, and gives a terminal no orders.
    """
    return aligned([header, *([log.printable(cell) for cell in row] for row in rows)])


def headless(text: str) -> str:
    """Return a table without its header."""
    return text.partition("\n")[2]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return the same of rows that need not be of the same length."""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)

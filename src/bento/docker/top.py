"""The processes of a container, as Docker's API and its command line have them."""

from __future__ import annotations

from typing import Final

from bento.model.stats import ProcessTable

_WIDTH_MIN: Final = 20
_GAP: Final = 3


def document(table: ProcessTable) -> dict[str, object]:
    """Return the answer to ``GET /containers/ID/top``."""
    return {"Titles": list(table.titles), "Processes": [list(row) for row in table.rows]}


def lines(table: ProcessTable) -> list[str]:
    """Return the lines that ``docker top`` prints: columns of 20 characters at least."""
    rows = (table.titles, *table.rows)
    widths = [max(_WIDTH_MIN, _GAP + max(map(len, column))) for column in zip(*rows, strict=True)][:-1]
    return ["".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)) for row in rows]

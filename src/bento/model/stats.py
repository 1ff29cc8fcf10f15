"""What runs in a container, and what it takes of the machine."""

from __future__ import annotations

from msgspec import Struct


class ProcessTable(Struct, frozen=True):
    """The processes of a container as ps(1) lists them. Each row has a cell for each title."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

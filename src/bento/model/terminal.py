"""What a caller says of the streams of a process that it attaches to."""

from __future__ import annotations

from msgspec import Struct


class WindowSize(Struct, frozen=True):
    """The size of a terminal's window, in characters."""

    rows: int
    columns: int


class AttachOptions(Struct, frozen=True, kw_only=True):
    """How a container's streams are attached to.

    ``has_input``: its input, too, where it was made with one. ``size``: of its terminal, where it has one; None leaves
    it as it is.
    """

    has_input: bool = False
    size: WindowSize | None = None

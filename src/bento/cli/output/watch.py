"""``stop --watch``: stops while they go on, with their processes, redrawn in place. Loaded for that alone.

No colours, and nothing that a container has named gives the terminal orders. What does not fit is left out, and a
line says so.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from bento import clock
from bento.cli.output.progress import Screen, line_of
from bento.engine.base.worker import Message
from bento.model.stop import StopView, ViewedProcess
from bento.pages.text import columns, fitted

_DRAWN_EVERY_S: Final = 0.1
_DEPTH_MAX: Final = 6
_WIDE: Final = 72
"""Columns from which on a line has all; below that what a process does is left out, and then what it was told."""
_LEFT_OUT_BELOW: Final = 48


class Watch(Screen):
    """A block for each container: its phase and the time left, for what it waits and why, and its processes."""

    def __init__(self, *, columns: int, rows: int) -> None:
        super().__init__(columns=columns, rows=rows)
        self._views: dict[str, StopView] = {}
        self._next_s = 0.0

    def take(self, message: Message) -> None:
        """See Screen."""
        if message.view is not None:
            self._views[message.name] = message.view
        elif message.kind == "notice":
            self.erase()
        super().take(message)

    def draw(self) -> None:
        """See Screen; but not more often than every ``_DRAWN_EVERY_S``, and in the size that the terminal has now."""
        now_s = clock.mono_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _DRAWN_EVERY_S
        with suppress(OSError):  # it has gone: what is written will say so
            self._columns, self._rows = os.get_terminal_size(2)
        super().draw()

    def _lines(self, most: int) -> list[str]:
        blocks = [self._block(message) for message in self._messages.values()]
        return [fitted(line, self._columns - 1) for line in shared(blocks, max(1, most))]

    def _block(self, message: Message) -> list[str]:
        view = self._views.get(message.name)
        return [line_of(message)] if view is None else block(message, view, self._columns)


def shared(blocks: list[list[str]], most: int) -> list[str]:
    """Return the lines of all blocks, at most so many: each block keeps its first ones longest."""
    rooms = [len(lines) for lines in blocks]
    while sum(rooms) > most and max(rooms) > 1:
        rooms[rooms.index(max(rooms))] -= 1
    found: list[str] = []
    for lines, room in zip(blocks, rooms, strict=True):
        is_cut = room < len(lines) and room > 1
        found += [*lines[: room - 1], f"  ... and {len(lines) - room + 1} more lines"] if is_cut else lines[:room]
    return found if len(found) <= most else [*found[: most - 1], f"... and {len(found) - most + 1} more"]


def block(message: Message, view: StopView, width: int) -> list[str]:
    """Return the lines of one container."""
    now_s = clock.mono_s()
    head = line_of(message) if width >= _WIDE else " ".join(line_of(message).split())
    if view.last_call_s is not None and view.last_call_s > now_s and message.phase == "grace":
        head += f", {view.last_call_s - now_s:.0f} s until the last call"
    lines = [head]
    if view.waits:
        lines.append(f"  waits {view.waits}")
    if view.processes:
        names = _names(view.processes)
        name_width = min(max(24, width // 3), max(columns(name) for name in names))
        lines.append(_row("process", view.signal, "told", "does", name_width, width))
        alive_first = sorted(zip(names, view.processes, strict=True), key=lambda one: one[1].has_ended)
        for name, process in alive_first:
            told = f"{process.told}, {now_s - process.told_s:.0f} s ago" if process.told else "-"
            lines.append(_row(name, process.receives, told, _does(process), name_width, width))
    if view.more:
        lines.append(f"  and {view.more} more")
    return lines


def _row(name: str, receives: str, told: str, does: str, name_width: int, width: int) -> str:
    name = fitted(name, name_width)
    row = f"  {name}{' ' * (name_width - columns(name))}  {receives:<10}"
    if width >= _LEFT_OUT_BELOW:
        row += f"  {told:<17}"
    if width >= _WIDE:
        row += f"  {does}"
    return row.rstrip()


def _does(process: ViewedProcess) -> str:
    if process.has_ended:
        return "has ended"
    if process.is_held:
        return "is held"
    return f"{process.does} (exec session)".strip() if process.is_session else process.does


def _names(processes: tuple[ViewedProcess, ...]) -> list[str]:
    """Return pids and names, indented below their parents; those stand before their children."""
    depths: dict[int, int] = {}
    for process in processes:
        depths[process.pid] = depths.get(process.ppid, -1) + 1
    return [f"{'  ' * min(depths[one.pid], _DEPTH_MAX)}{one.pid} {one.comm}" for one in processes]

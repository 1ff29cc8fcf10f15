"""Clients that are attached to a container before it is started, as Docker's ``run`` is: to miss no byte."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from bento.engine.lifecycle.start import Started
from bento.model.terminal import WindowSize
from bento.serving.attachments import close


class Pending:
    """One of them. ``started`` becomes what it is attached by, or None: the start came to nothing."""

    def __init__(self, *, has_input: bool) -> None:
        self.has_input = has_input
        self.started: asyncio.Future[Started | None] = asyncio.get_running_loop().create_future()
        self.is_taken = False

    def deliver(self, started: Started | None) -> None:
        """Give it what it is attached by; closed where it has left meanwhile."""
        if not self.started.done():
            self.started.set_result(started)
        elif started is not None:
            close(started)


class Attaching:
    """Those that wait, by container; and the sizes that terminals are to have at the start."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Pending]] = {}
        self.sizes: dict[str, WindowSize] = {}

    def add(self, container_id: str, *, has_input: bool) -> Pending:
        """Return a new one, which the caller removes."""
        pending = Pending(has_input=has_input)
        self._waiting.setdefault(container_id, []).append(pending)
        return pending

    def remove(self, container_id: str, pending: Pending) -> None:
        """Have it wait no more. Idempotent."""
        if not pending.started.done():
            pending.started.cancel()
        waiting = self._waiting.get(container_id, [])
        with suppress(ValueError):
            waiting.remove(pending)
        if not waiting:
            self._waiting.pop(container_id, None)

    def take(self, container_id: str) -> list[Pending]:
        """Return those that wait for a start that begins now, the first with an input first; they wait no more."""
        found = sorted(self._waiting.pop(container_id, []), key=lambda each: not each.has_input)
        for each in found:
            each.is_taken = True
        return found

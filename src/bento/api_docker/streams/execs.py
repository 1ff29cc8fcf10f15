"""Exec sessions as clients know them: made by one request, begun by another, asked about after their end.

They live as long as the server, and are forgotten with their container, or when there are very many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from bento.errors import NotFound
from bento.model.event import UNKNOWN_CODE
from bento.model.exec import ExecOptions
from bento.serving.hub import EventHub

if TYPE_CHECKING:
    from bento.engine.lifecycle.exec_ import Attached

_ENDED_MAX: Final = 2000


class Exec:
    """One of them.

    Attributes:
        running: it, while a client is attached to it.
        exit_code: once it has ended.
    """

    def __init__(self, container_id: str, options: ExecOptions, *, stdout: bool, stderr: bool, keys: bytes) -> None:
        self.container_id, self.options = container_id, options
        self.stdout, self.stderr, self.keys = stdout, stderr, keys
        self.is_begun = False
        self.pid = 0
        self.running: Attached | None = None
        self.exit_code: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was begun, and has not ended."""
        return self.is_begun and self.exit_code is None


class Execs:
    """All of them, by id."""

    def __init__(self, events: EventHub) -> None:
        self._execs: dict[str, Exec] = {}
        self._events = events
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to follow their ends."""
        self.in_background(self._follow())

    def add(self, found: Exec) -> None:
        """Keep a new one; forget the oldest that have ended where there are very many."""
        self._execs[found.options.id] = found
        ended = [key for key, each in self._execs.items() if each.exit_code is not None]
        for key in ended[: max(0, len(ended) - _ENDED_MAX)]:
            del self._execs[key]

    def find(self, ref: str) -> Exec:
        """Return one by its id, or the beginning of that. Raises NotFound."""
        found = [each for key, each in self._execs.items() if key == ref or (len(ref) >= 4 and key.startswith(ref))]
        if len(found) != 1:
            raise NotFound(f"No such exec instance: {ref}")
        return found[0]

    def forget(self, container_id: str) -> None:
        """Forget those of a container that is gone. Idempotent."""
        self._execs = {key: each for key, each in self._execs.items() if each.container_id != container_id}

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that goes on when its request is over."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        while True:
            with self._events.subscribe(lambda event: event.action in ("exec_die", "destroy")) as events:
                while (event := await events.next()) is not None:
                    if event.action == "destroy":
                        self.forget(event.actor)
                    elif (found := self._execs.get(event.attributes.get("execID", ""))) is not None:
                        code = int(event.attributes.get("exitCode", UNKNOWN_CODE))
                        if found.exit_code is None:
                            found.exit_code = code
            await asyncio.sleep(1.0)  # the events cannot be followed now

    def close(self) -> None:
        """Follow nothing any more. Idempotent."""
        for task in tuple(self._tasks):
            with suppress(RuntimeError):
                task.cancel()

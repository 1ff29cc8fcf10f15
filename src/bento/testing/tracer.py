"""A ``TracerDriver`` for unit tests: keeps what was asked, and reports what it is given to report."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from bento.drivers.tracer.base import Event, Held, Key, Watched
from bento.drivers.tracer.messages import Hold, Release, Request, Thaw, Watch


class FakeTracer:
    """``requests`` are those made so far, ``has_retired``: it was to end. Close it when ``fileno`` was used."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.pid = 0
        self.has_retired = False
        self._events: deque[Event] = deque()
        self._pipe: tuple[int, int] | None = None

    def inject(self, *events: Event) -> None:
        """Have ``events`` return these."""
        self._events.extend(events)
        if self._pipe is not None and events:
            os.write(self._pipe[1], b"x")

    def start(self) -> None:
        """It is always ready."""

    def watch(
        self, job: int, pid: int, start_ticks: int, *, hold_exit: bool, note_signal: int = 0,
        cgroups: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Keep the request."""
        self.requests.append(
            Watch(
                job=job, pid=pid, start_ticks=start_ticks, hold_exit=hold_exit, note_signal=note_signal,
                cgroups=cgroups or {},
            )
        )  # fmt: skip

    def hold(self, job: int, keys: Iterable[Key]) -> None:
        """Keep the request."""
        self.requests.append(Hold(job=job, keys=tuple(keys)))

    def thaw(self, job: int) -> None:
        """Keep the request."""
        self.requests.append(Thaw(job=job))

    def release(self, job: int, keys: Iterable[Key] | None = None) -> None:
        """Keep the request."""
        self.requests.append(Release(job=job, keys=None if keys is None else tuple(keys)))

    def fileno(self) -> int:
        """Return a descriptor that is readable when something was injected."""
        if self._pipe is None:
            self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            if self._events:
                os.write(self._pipe[1], b"x")
        return self._pipe[0]

    def events(self) -> list[Event]:
        """Return what was injected."""
        if self._pipe is not None:
            with suppress(BlockingIOError):
                os.read(self._pipe[0], 4096)
        found = list(self._events)
        self._events.clear()
        return found

    def retire(self) -> None:
        """Keep that."""
        self.has_retired = True

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        pipe, self._pipe = self._pipe, None
        for fd in pipe or ():
            os.close(fd)


class ReadyTracer(FakeTracer):
    """A tracer that holds and watches at once what it is asked to."""

    def watch(self, job: int, pid: int, start_ticks: int, **more: Any) -> None:
        """Keep the request, and answer it."""
        super().watch(job, pid, start_ticks, **more)
        self.inject(Watched(job=job, pid=pid))

    def hold(self, job: int, keys: Iterable[Key]) -> None:
        """Keep the request, and answer it."""
        held = tuple(keys)
        super().hold(job, held)
        self.inject(Held(job=job, held=held))

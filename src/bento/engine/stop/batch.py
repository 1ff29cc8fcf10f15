"""One call of stop: what all its containers have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bento.engine.base.background import Background
from bento.engine.base.fd_limits import check_room, has_room_above
from bento.engine.stop.deletions import Deletions
from bento.engine.stop.request import StopOptions
from bento.engine.stop.tracing import Tracing
from bento.model.container import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.drivers.storage.base import ReleaseWatch
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Loop
    from bento.engine.base.order import Schedule
    from bento.engine.base.outcome import StopObserver


_ROOM: Final = 7
"""Files that one stop opens at most from its decision on, where nothing is followed but PID 1 (measured)."""
_ROOM_OF_NEXT: Final = 4
"""The same of each that is under way beside it: its monitor's pidfd, and what the runtime's process says."""
_TRACER: Final = 3


class Releases:
    """Passes on which root filesystems no process holds any more (rule S22), as storage reports it. Close it.

    One descriptor, made when it is first needed.
    """

    def __init__(self, drivers: Drivers, loop: Loop) -> None:
        self._drivers, self._loop = drivers, loop
        self._watch: ReleaseWatch | None = None
        self._handlers: dict[int, Callable[[], None]] = {}

    def watch(self, pid: int, handler: Callable[[], None]) -> int | None:
        """Call ``handler`` once the root filesystem of this live process is released; return what to unwatch it by.

        None where no such word can be had: then storage must be asked.
        """
        if self._watch is None:
            self._watch = self._drivers.storage.watch_releases()
            if self._watch is None:
                return None
            self._loop.watch(self._watch.fileno(), self._read)
        token = self._watch.add(pid)
        if token is not None:
            self._handlers[token] = handler
        return token

    def unwatch(self, token: int) -> None:
        """Stop watching. Idempotent."""
        if self._handlers.pop(token, None) is not None and self._watch is not None:
            self._watch.remove(token)

    def _read(self) -> None:
        for token in self._watch.read() if self._watch is not None else ():
            handler = self._handlers.pop(token, None)
            if handler is not None:
                handler()

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        if self._watch is not None:
            self._loop.unwatch(self._watch.fileno())
            self._watch.close()
        self._watch = None


class StopBatch:
    """What all containers of one call have in common."""

    def __init__(
        self,
        drivers: Drivers,
        loop: Loop,
        observer: StopObserver,
    ) -> None:
        self.drivers, self.loop, self.observer = drivers, loop, observer
        self.options = StopOptions()
        self.only_if: Status | None = None  # those in another state are left alone
        self.schedule: Schedule | None = None  # shares the budget, where there is one
        self.releases = Releases(drivers, loop)
        self.deletions = Deletions(drivers, loop)
        self.background = Background(loop, drivers.start_thread)
        self.tracing = Tracing(drivers, loop, self._check_tracer)
        self.births = drivers.births()
        self.driven = 0  # stops under way here

    def check_room(self, name: str) -> None:
        """Raise KernelError where too few files can be opened for one stop more, and the clean-up of all."""
        check_room(_ROOM + _ROOM_OF_NEXT * self.driven, f"stop container {name}")

    def has_room_above(self, fd: int) -> bool:
        """Whether the clean-up of all that is under way is sure of its files, when this one, the last, stays open."""
        return has_room_above(fd, _ROOM + _ROOM_OF_NEXT * (self.driven - 1))

    def _check_tracer(self) -> None:
        check_room(_TRACER + _ROOM + _ROOM_OF_NEXT * (self.driven - 1), "trace")

    def close(self) -> None:
        """Let go of what the containers share. Idempotent."""
        self.background.close()
        self.tracing.close()
        self.births.close()
        self.releases.close()
        self.deletions.close()

"""Reports of root filesystems that no process holds any more, for all stops of one loop (rule S22)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bento.drivers.storage.base import ReleaseWatch
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Loop


class Releases:
    """Passes on what storage reports; one descriptor, made when it is first needed. Close it."""

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

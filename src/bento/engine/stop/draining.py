"""Closing a container to new connections as the first thing of a stop (rule S17a).

To close published ports is the work of a child process that the loop waits for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from bento.errors import BentoError
from bento.stop.inputs import Drained

if TYPE_CHECKING:
    from bento.command import Child
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Watcher
    from bento.model.container import Run


class Drainer:
    """Closes one run; ``done`` is called with the end of it."""

    def __init__(
        self,
        drivers: Drivers,
        container_id: str,
        run: Run,
        *,
        watcher: Watcher,
        done: Callable[[Drained], None],
    ) -> None:
        self._drivers, self._container_id, self._run = drivers, container_id, run
        self._watcher, self._done = watcher, done
        self._child: Child | None = None

    def begin(self) -> None:
        """Begin; nothing here waits."""
        try:
            child = self._begin()
        except (BentoError, OSError) as error:
            self._done(Drained(str(error)))
            return
        if child is None:
            self._done(Drained())
            return
        self._child = child
        self._watcher.watch(child.fileno(), lambda: self._ended(child))

    def _begin(self) -> Child | None:
        main_fd = self._drivers.processes.open(self._run.init) if self._run.init else None
        try:
            return self._drivers.network.begin_drain(self._container_id, self._run.connections, main_fd)
        finally:
            if main_fd is not None:
                os.close(main_fd)

    def _ended(self, child: Child) -> None:
        self._child = None
        self._watcher.unwatch(child.fileno())
        try:
            error = self._drivers.network.end(child)
        except BentoError as failure:
            error = str(failure)
        self._done(Drained(error))

    def close(self) -> None:
        """End what is under way. Idempotent."""
        child, self._child = self._child, None
        if child is not None:
            self._watcher.unwatch(child.fileno())
            child.kill()

"""Closing a container to new connections as the first thing of a stop (rule S17a).

To close published ports is the work of a child process that the loop waits for. Before that comes the word of the
proxy, where there is one, that what it has accepted has reached the container, which is about to refuse connections.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import log
from bento.errors import BentoError
from bento.lazy import LazyModule
from bento.stop.inputs import Drained

if TYPE_CHECKING:
    from bento.command import Child
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Watcher
    from bento.engine.resources import proxies
    from bento.model.container import Container, Run
else:  # few containers have one
    proxies = LazyModule("bento.engine.resources.proxies")


class Drainer:
    """Closes one run; ``done`` is called with the end of it."""

    def __init__(
        self,
        drivers: Drivers,
        container: Container,
        run: Run,
        *,
        watcher: Watcher,
        done: Callable[[Drained], None],
    ) -> None:
        self._drivers, self._container, self._run = drivers, container, run
        self._watcher, self._done = watcher, done
        self._child: Child | None = None
        self._proxy_fd: int | None = None  # readable when the proxy has drained

    def begin(self) -> None:
        """Begin; nothing here waits."""
        fd = self._begin_at_proxy()
        if fd is None:
            self._begin_at_container()
            return
        self._proxy_fd = fd
        self._watcher.watch(fd, self._proxy_drained)

    def _begin_at_proxy(self) -> int | None:
        """What goes wrong is no reason to leave the rest: the proxy finds the container's ports refusing."""
        one = proxies.proxied(replace(self._container, run=self._run)) if self._run.proxied_ports else None
        try:
            return self._drivers.proxy.begin_drain(one) if one is not None else None
        except (BentoError, OSError) as error:
            log.warning(str(error))
            return None

    def _proxy_drained(self) -> None:
        self._forget_proxy()
        self._begin_at_container()

    def _forget_proxy(self) -> None:
        fd, self._proxy_fd = self._proxy_fd, None
        if fd is not None:
            self._watcher.unwatch(fd)
            os.close(fd)

    def _begin_at_container(self) -> None:
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
            return self._drivers.network.begin_drain(self._container.id, self._run.connections, main_fd)
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
        self._forget_proxy()
        child, self._child = self._child, None
        if child is not None:
            self._watcher.unwatch(child.fileno())
            child.kill()

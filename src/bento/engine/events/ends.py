"""Looks after containers, and exec sessions, that end by themselves, for as long as the events are followed.

There is no daemon: the end of a container of which nothing is to follow is recorded by the next command that meets it.
What follows the events is told of the end by the kernel, and is that command. The monitor of an exec session wakes the
followers by itself.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from bento import clock, log
from bento.engine.base import exec_sessions
from bento.engine.base.exit_owner import is_followed
from bento.engine.base.happened import tell
from bento.engine.base.place import is_own_run_dir
from bento.engine.lifecycle import reconcile
from bento.errors import BentoError, NotFound
from bento.model.container import Container, Status
from bento.model.event import CONTAINER, of_container

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bento.engine.base.drivers import Drivers
    from bento.model.event import Event


class Ends:
    """Waits for the ends of all containers that run. Close it."""

    def __init__(self, drivers: Drivers) -> None:
        self._drivers = drivers
        self._epoll = select.epoll()
        self._ids: dict[int, str] = {}  # by pidfd
        self._sessions: dict[str, str] = {}  # the container of each exec session

    def fileno(self) -> int:
        """Return a descriptor, readable when a container has ended; only to be polled."""
        return self._epoll.fileno()

    def begin(self) -> None:
        """Look at every container once, as a listing does, and wait for the ends of those that run."""
        for container in refreshed(self._drivers):
            self._wait_for(container)
            self._sessions.update(dict.fromkeys(exec_sessions.not_ended(self._drivers, container.id), container.id))

    def follow(self, events: Iterable[Event]) -> None:
        """Wait also for those that were started since."""
        for event in events:
            if (event.type, event.action) == (CONTAINER, "start"):
                with suppress(BentoError):  # gone, or not to be read
                    self._wait_for(self._drivers.store.get(event.actor))
            elif event.action.startswith("exec_start"):
                self._sessions[event.attributes["execID"]] = event.actor
            elif event.action == "exec_die":
                self._sessions.pop(event.attributes["execID"], None)
            elif (event.type, event.action) == (CONTAINER, "die"):
                self._sessions = {key: actor for key, actor in self._sessions.items() if actor != event.actor}
        self._look_at_sessions()  # one may have ended before it was known

    def look(self) -> bool:
        """Record the ends of those that have ended, but of those that a helper of their monitor looks after.

        Return whether there were any.
        """
        found = self._epoll.poll(0)
        for fd, _ in found:
            container_id = self._ids.pop(fd)
            self._epoll.unregister(fd)
            os.close(fd)
            try:
                container = self._drivers.store.get(container_id)
                # Not left to what owns its exit now: that may be its start, which lets go of it in a moment.
                if container.status is Status.RUNNING and not is_followed(container):
                    reconcile.refresh(self._drivers, [container])
            except NotFound:
                continue
            except BentoError as error:
                log.warning(str(error))
        return self._look_at_sessions() or bool(found)

    def _look_at_sessions(self) -> bool:
        ended = {
            key: actor for key, actor in self._sessions.items() if exec_sessions.has_ended(self._drivers, actor, key)
        }
        for key in ended:
            del self._sessions[key]
        for container_id in set(ended.values()):
            with suppress(BentoError):  # gone meanwhile
                _log_sessions(self._drivers, self._drivers.store.get(container_id))
        return bool(ended)

    def _wait_for(self, container: Container) -> None:
        run = container.run
        if container.status not in (Status.RUNNING, Status.PAUSED) or run is None or run.init is None:
            return
        try:
            fd = self._drivers.processes.open(run.init)
        except (BentoError, OSError) as error:  # too many open files
            log.warning_once(f"the ends of some containers are logged late: {error}")
            return
        if fd is None:  # it has ended just now
            with suppress(BentoError):
                reconcile.refresh(self._drivers, [container])
            return
        self._ids[fd] = container.id
        self._epoll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        """Wait no more. Idempotent."""
        self._epoll.close()
        while self._ids:
            os.close(self._ids.popitem()[0])


def refreshed(drivers: Drivers) -> list[Container]:
    """Look at every container once, as a listing does; what cannot be looked at here is left as it is recorded."""
    records = drivers.store.list(on_unreadable=lambda _: None)
    found = reconcile.refresh(drivers, records, on_elsewhere=lambda _: None)
    for container in found:
        _log_sessions(drivers, container)
    return found


def _log_sessions(drivers: Drivers, container: Container) -> None:
    """Log the ends of exec sessions, which their monitors have left word of."""
    if not container.status.is_live or not is_own_run_dir(drivers, container.id):
        return
    if deeds := exec_sessions.take_ended(drivers, container.id):
        tell(drivers, *(of_container(container, deed, clock.wall_ns()) for deed in deeds))

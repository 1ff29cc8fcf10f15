"""A container's output for a program with a loop of its own: nothing here blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from bento import clock
from bento.engine.views.logs import LogLine, Waiting, check_kept, is_since, log_path, read_log, steps
from bento.errors import WrongState
from bento.model.container import Container

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

LINES_MAX: Final = 500
"""That ``read`` returns at once."""


class LogStream:
    """The output of one container, none missed and none twice. Close it; not for several threads at once.

    Call ``read`` until it returns nothing; then wait until one of ``filenos`` is readable, and call it again. Where
    there are none, and it is not over, nothing wakes: look again after a moment.
    """

    def __init__(
        self,
        drivers: Drivers,
        container: Container,
        *,
        is_followed: bool,
        tail: int | None,
        since: datetime | None,
        until: datetime | None,
    ) -> None:
        """Raises WrongState when the output is not kept, or kept in the journal: that is for ``logs`` to read."""
        check_kept(container)
        if container.spec.log.driver == "journald":
            raise WrongState(
                f"the output of container {container.name} is in the journal",
                hint=f"journalctl -f CONTAINER_ID_FULL={container.id}",
            )
        self._steps: Iterator[LogLine | Waiting] = (
            steps(drivers, container, tail=tail, since=since)
            if is_followed and not (until is not None and until <= clock.utc())
            else read_log(log_path(drivers, container), tail=tail, since=since)
        )
        self._after = None if until is None else until + timedelta.resolution
        self._waits: Waiting | None = None
        self.is_over = False

    @property
    def filenos(self) -> tuple[int, ...]:
        """What to poll when ``read`` has returned nothing; valid until it is called again."""
        waits = self._waits
        if waits is None:
            return ()
        own = waits.changes.fileno()
        return (waits.monitor_fd,) if own is None else (waits.monitor_fd, own)

    def clear(self, fd: int) -> None:
        """Say that a descriptor of ``filenos`` was readable."""
        if self._waits is not None and fd == self._waits.changes.fileno():
            self._waits.changes.clear()

    def read(self) -> list[LogLine]:
        """Return what there is, some hundreds of lines at the most; nothing: wait, or it is over."""
        self._waits = None
        found: list[LogLine] = []
        for step in self._steps:
            if isinstance(step, Waiting):
                self._waits = step if not found else None  # asked once more before anything is waited for
                return found
            if self._after is not None and is_since(step, self._after):
                self.close()
                return found
            found.append(step)
            if len(found) >= LINES_MAX:
                return found
        self.is_over = True
        return found

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self.is_over = True
        self._waits = None
        getattr(self._steps, "close", lambda: None)()
        self._steps = itertools.chain()

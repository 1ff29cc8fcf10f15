"""``wait`` for what is still to come: the next exit of a container, or its removal, by the events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.engine.events.stream import EventStream
from bento.engine.lifecycle import reconcile
from bento.engine.lifecycle.wait import as_logged, wait_for, wait_for_exit
from bento.errors import NotFound, UsageError
from bento.model.container import Container, Exit, Status
from bento.model.event import UNKNOWN_CODE, Event

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

NOT_RUNNING: Final = "not-running"
NEXT_EXIT: Final = "next-exit"
REMOVED: Final = "removed"
CONDITIONS: Final = (NOT_RUNNING, NEXT_EXIT, REMOVED)
"""Docker's."""


def wait(drivers: Drivers, ref: str, condition: str) -> Container:
    """Block until the condition holds; return the container as it was then. Raises NotFound, UsageError.

    next-exit: of one that runs its end, of another one that of its next run. A removed one is returned as it ended.
    """
    if condition not in CONDITIONS:
        raise UsageError(f"unknown condition {condition!r}", hint=f"use {', '.join(CONDITIONS)}")
    container = reconcile.find(drivers, ref)
    if condition == NOT_RUNNING or (condition == NEXT_EXIT and container.status.is_live):
        return wait_for(drivers, container)
    with EventStream(
        drivers, lambda event: event.actor == container.id, since_ns=None, until_ns=None, is_followed=True
    ) as events:
        try:
            now = drivers.store.get(container.id)
        except NotFound:
            return as_logged(drivers, container)  # removed before it could be followed
        if condition == NEXT_EXIT and now.run != container.run:  # it was started before it could be followed
            return wait_for_exit(drivers, container.id)
        return _follow(events, now, condition)


def _follow(events: EventStream, container: Container, condition: str) -> Container:
    for event in events:
        if event.action == "die":
            container = _ended(container, event)
        if event.action == ("die" if condition == NEXT_EXIT else "destroy"):
            break
    return container


def _ended(container: Container, event: Event) -> Container:
    code = int(event.attributes["exitCode"])
    ended = Exit(code=None if code == UNKNOWN_CODE else code, finished_unix_ns=event.unix_ns)
    return replace(container, status=Status.STOPPED, exit=ended, start_failure=None)

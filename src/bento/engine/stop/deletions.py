"""What the runtime deletes, for all stops of one loop: as many with one process as are there to be deleted.

To start a runtime costs more than what it does (fork, exec, dynamic linking). The first is deleted at once; those that
come while as many processes run as there is use for wait for one of them, and then go together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from bento import clock
from bento.errors import BentoError

if TYPE_CHECKING:
    from bento.command import Child
    from bento.drivers.runtime.base import RuntimeDriver
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Alarm, Loop

Answer = Callable[[str, bool], None]
"""Takes why a container could not be deleted, "" when it was, and whether it may be a little later."""

AT_ONCE: Final = 2  # processes of one runtime that run side by side without more ado
TOGETHER: Final = 32  # containers that one process deletes
PATIENCE_S: Final = 0.2  # after that another process is started: one that hangs keeps nothing else waiting


class Deletions:
    """Deletes containers that have stopped, without force. Close it: what is under way is ended."""

    def __init__(self, drivers: Drivers, loop: Loop) -> None:
        self._drivers, self._loop = drivers, loop
        self._queues: dict[str, _Queue] = {}

    def delete(self, runtime: str, container_id: str, answer: Answer) -> None:
        """Have this runtime delete a container; ``answer`` is called later. Raises what keeps it from being begun."""
        queue = self._queues.get(runtime)
        if queue is None:
            queue = self._queues[runtime] = _Queue(self._drivers.runtime(runtime), self._loop)
        queue.add(container_id, answer)

    def forget(self, container_id: str) -> None:
        """Call no answer for this container any more. Idempotent."""
        for queue in self._queues.values():
            queue.forget(container_id)

    def close(self) -> None:
        """End what is under way. Idempotent."""
        for queue in self._queues.values():
            queue.close()


class _Queue:
    """Of one runtime."""

    def __init__(self, runtime: RuntimeDriver, loop: Loop) -> None:
        self._runtime, self._loop = runtime, loop
        self._alarm: Alarm = loop.alarm(self._lose_patience)
        self._waiting: list[str] = []
        self._answers: dict[str, Answer] = {}
        self._children: list[Child] = []
        self._failed: set[str] = set()  # once

    def add(self, container_id: str, answer: Answer) -> None:
        self._answers[container_id] = answer
        if len(self._children) < AT_ONCE:
            self._begin([container_id])
            return
        if not self._waiting:
            self._alarm.set(clock.mono_s() + PATIENCE_S)
        self._waiting.append(container_id)

    def forget(self, container_id: str) -> None:
        self._answers.pop(container_id, None)
        if container_id in self._waiting:
            self._waiting.remove(container_id)

    def _lose_patience(self) -> None:
        self._go_on(len(self._children) + 1)

    def _go_on(self, limit: int = AT_ONCE) -> None:
        """Begin the next of those that wait."""
        while self._waiting and len(self._children) < limit:
            ids, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            try:
                self._begin(ids)
            except (BentoError, OSError) as error:
                for container_id in ids:
                    self._answer(container_id, str(error), False)
        self._alarm.set(clock.mono_s() + PATIENCE_S if self._waiting else None)

    def _begin(self, ids: list[str]) -> None:
        child = self._runtime.begin_delete_many(ids) if len(ids) > 1 else None
        if child is not None:
            self._follow(child, partial(self._many_deleted, child, ids))
            return
        for container_id in ids:
            child = self._runtime.begin_delete(container_id)
            self._follow(child, partial(self._deleted, child, container_id))

    def _follow(self, child: Child, ended: Callable[[], None]) -> None:
        self._children.append(child)
        self._loop.watch(child.fileno(), ended)

    def _unfollow(self, child: Child) -> None:
        self._loop.unwatch(child.fileno())
        self._children.remove(child)

    def _deleted(self, child: Child, container_id: str) -> None:
        self._unfollow(child)
        try:
            reason = self._runtime.end_delete(child)
            may_be_later = bool(reason) and self._runtime.is_still_running(reason)
            if not reason:
                self._runtime.clear(container_id)
            elif not may_be_later and container_id not in self._failed:  # it may have been killed
                self._failed.add(container_id)
                self._begin([container_id])
                return
            self._failed.discard(container_id)
            self._answer(container_id, reason, may_be_later)
        except (BentoError, OSError) as error:
            self._answer(container_id, str(error), False)
        self._go_on()

    def _many_deleted(self, child: Child, ids: list[str]) -> None:
        """Each that is still there is deleted by itself: that says why."""
        self._unfollow(child)
        try:
            left = self._runtime.end_delete_many(child, ids)
        except (BentoError, OSError):
            left = ids
        for container_id in ids:
            if container_id not in left:
                self._answer(container_id, "", False)
        for container_id in left:
            try:
                self._begin([container_id])
            except (BentoError, OSError) as error:
                self._answer(container_id, str(error), False)
        self._go_on()

    def _answer(self, container_id: str, reason: str, may_be_later: bool) -> None:
        answer = self._answers.pop(container_id, None)
        if answer is not None:
            answer(reason, may_be_later)

    def close(self) -> None:
        self._alarm.set(None)
        for child in self._children:
            self._loop.unwatch(child.fileno())
            child.kill()
        self._children, self._waiting = [], []
        self._answers.clear()

"""Signals on their way through a runtime, for containers whose processes the host does not see."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bento.command import Child


class Sending:
    """Waits in the loop for the children that send signals. ``end_signal`` is the runtime's."""

    def __init__(
        self,
        end_signal: Callable[[Child], str],
        *,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
    ) -> None:
        self.failures: list[str] = []  # each once, in order
        self._end_signal, self._watch, self._unwatch = end_signal, watch, unwatch
        self._children: list[Child] = []

    def follow(self, children: Iterable[Child]) -> None:
        """Take these over."""
        for child in children:
            self._children.append(child)
            self._watch(child.fileno(), lambda child=child: self._sent(child))  # type: ignore[misc]  # its own child

    def _sent(self, child: Child) -> None:
        """The signal was sent, or could not be. Whether it has helped is for others to see."""
        self._unwatch(child.fileno())
        self._children.remove(child)
        reason = self._end_signal(child)
        if reason and reason not in self.failures:
            self.failures.append(reason)

    def close(self) -> None:
        """End what is still on its way. Idempotent."""
        for child in self._children:
            self._unwatch(child.fileno())
            child.kill()
        self._children = []

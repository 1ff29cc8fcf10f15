"""Another container engine that exists only in memory: for tests of stops of what Bento has not made."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from bento import command
from bento.command import Child
from bento.drivers.engines.base import ForeignContainer
from bento.errors import ForeignEngineFailed, NotFound
from bento.testing.processes import FakeProcess
from bento.units import NO_LIMIT, SIGKILL


class FakeEngine:
    """Implements ``EngineDriver``. A test adds containers; a stop signals PID 1, as soon as it is begun.

    Attributes:
        found: what was looked for.
        stops: what was asked: name, grace in seconds, signal.
        error: what a stop fails with.
        is_silent: it does not answer.
        on_stop: what a stop does in place of the signal; a test may set it.
    """

    def __init__(self, name: str = "docker", *, kills: bool = True, takes_signal: bool = False) -> None:
        self.name, self.kills, self.takes_signal = name, kills, takes_signal
        self.found: list[str] = []
        self.stops: list[tuple[str, float, int | None]] = []
        self.error = ""
        self.is_silent = False
        self.on_stop: Callable[[FakeProcess, int], None] | None = None
        self._containers: dict[str, tuple[ForeignContainer, FakeProcess | None]] = {}

    def add(self, container: ForeignContainer, main: FakeProcess | None = None) -> ForeignContainer:
        """Have a container; ``main`` None: it does not run."""
        self._containers[container.id] = (container, main)
        return container

    def find(self, ref: str) -> ForeignContainer:
        """See EngineDriver."""
        self.found.append(ref)
        if self.is_silent:
            raise ForeignEngineFailed(f"{self.name} does not answer: it is silent")
        for container, main in self._containers.values():
            if ref in (container.id, container.name):
                return replace(container, pid=main.identity.pid if main and main.status is None else 0)
        raise NotFound(f"{self.name} knows no container {ref}")

    def begin_stop(self, container: ForeignContainer, grace_s: float, signal: int | None) -> Child:
        """See EngineDriver."""
        self.stops.append((container.name, grace_s, signal))
        main = self._containers[container.id][1]
        number = SIGKILL if grace_s == 0 else signal or container.signal
        if main is not None and main.status is None and not self.error:
            main.signals.append(number)
            (self.on_stop or (lambda one, got: one.on_signal(got)))(main, number)
        return command.spawn(["/bin/true"])

    def stop_words(self, container: ForeignContainer, grace_s: float, signal: int | None) -> list[str]:
        """See EngineDriver."""
        return [self.name, "stop", "-t", "never" if grace_s == NO_LIMIT else f"{grace_s:g}", container.name]

    def end_stop(self, child: Child) -> str:
        """See EngineDriver."""
        child.finish(5.0)
        return self.error

    def begin_look(self, container: ForeignContainer) -> Child:
        """See EngineDriver."""
        return command.spawn(["/bin/true"])

    def end_look(self, container: ForeignContainer, child: Child) -> ForeignContainer | None:
        """See EngineDriver."""
        child.finish(5.0)
        try:
            return self.find(container.id)
        except NotFound:
            return None

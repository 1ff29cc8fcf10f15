"""What a driver of a stop needs to know of what it stops: a container of Bento's own, or another engine's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bento.engine.stop.cleanup import Cleanup
from bento.engine.stop.recording import Recorder
from bento.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.engine.base.drivers import Drivers
    from bento.engine.base.outcome import StopOutcome
    from bento.engine.stop.batch import StopBatch
    from bento.engine.stop.container_processes import ContainerProcesses
    from bento.engine.stop.driver import StopDriver
    from bento.model.container import Container
    from bento.model.stop import StopIntent
    from bento.stop.inputs import StepDone
    from bento.stop.states import Step, StopState


class StopCleanup(Protocol):
    """Carries out the steps up to the record. Nothing waits: each is answered with StepDone."""

    def watch_release(self, pid: int, main_fd: int) -> None:
        """PID 1 lives, and is followed from now on."""

    def expect_end(self) -> None:
        """Something was signalled: the end may be near. Idempotent."""

    def begin(self, step: Step, tries: int) -> None:
        """Begin a step, or try it again."""

    def close(self) -> None:
        """Let go of what is under way. Idempotent."""


class StopRecorder(Protocol):
    """Writes down what a stop is about to do, and what became of it.

    Attributes:
        container: as it was last written.
        is_asked: False: no command asked for a stop, the container had ended by itself.
    """

    container: Container
    is_asked: bool

    def begin(self) -> None:
        """Note what must be known from before the stop."""

    def resume(self, intent: StopIntent, state: StopState) -> None:
        """Take over what an earlier driver had noted."""

    def persist(self, state: StopState) -> None:
        """Keep the state, before what follows is done."""

    def note_stuck(self) -> None:
        """Remember the processes that did not die."""

    def record(self, state: StopState) -> None:
        """Write the end. Raises Conflict where that may be possible a little later."""

    def outcome(self, state: StopState) -> StopOutcome:
        """Return what became of it, from the machine's final state."""


class StopTarget(Protocol):
    """Makes the parts of one driver.

    Attributes:
        drivers: by which its processes are looked at and signalled.
        container: with its run; of another engine's one only what is known of it.
    """

    @property
    def drivers(self) -> Drivers: ...

    @property
    def container(self) -> Container: ...

    def cleanup(self, batch: StopBatch, done: Callable[[StepDone], None]) -> StopCleanup:
        """Return what releases it."""

    def recorder(self, processes: ContainerProcesses, cleanup: StopCleanup) -> StopRecorder:
        """Return what keeps its record."""

    def ask_engine(self, driver: StopDriver) -> None:
        """Have the engine that runs it stop it. Nothing waits."""


class OwnContainer:
    """StopTarget of a container of Bento's own."""

    def __init__(self, drivers: Drivers, container: Container) -> None:
        self.drivers, self.container = drivers, container
        self._cleanup: Cleanup | None = None

    def cleanup(self, batch: StopBatch, done: Callable[[StepDone], None]) -> Cleanup:
        """See StopTarget."""
        run = self.container.run
        if run is None:
            raise InternalError(f"container {self.container.name} has no run to stop")
        self._cleanup = Cleanup(
            self.drivers,
            self.container,
            run,
            watcher=batch.loop,
            releases=batch.releases,
            deletions=batch.deletions,
            done=done,
        )
        return self._cleanup

    def recorder(self, processes: ContainerProcesses, cleanup: StopCleanup) -> Recorder:
        """See StopTarget."""
        run, own = self.container.run, self._cleanup
        if run is None or own is None:
            raise InternalError("a recorder was asked for before its clean-up")
        return Recorder(self.drivers, self.container, run, processes, own)

    def ask_engine(self, driver: StopDriver) -> None:
        """See StopTarget."""
        raise InternalError("no other engine runs this container")

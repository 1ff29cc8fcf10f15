"""What a driver of a stop works with, where Bento has not made what it stops: nothing is released, a report is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.engine.base.drivers import Drivers
from bento.engine.foreign.recording import ForeignRecorder
from bento.errors import BentoError, ForeignEngineFailed
from bento.stop.inputs import StepDone
from bento.stop.states import Step
from bento.units import SIGKILL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bento.command import Child
    from bento.drivers.engines.base import EngineDriver, ForeignContainer
    from bento.drivers.processes.base import BirthWatch, NamespaceDriver
    from bento.drivers.tracer.base import TracerDriver
    from bento.engine.base.loop import Watcher
    from bento.engine.foreign.find import Found
    from bento.engine.stop.batch import StopBatch
    from bento.engine.stop.container_processes import ContainerProcesses
    from bento.engine.stop.driver import StopDriver
    from bento.engine.stop.target import StopCleanup
    from bento.model.container import Container
    from bento.model.stop import StopRequest


class ForeignDrivers(Drivers):
    """The engine's drivers, for parts of a stop that look at processes: these are in a PID namespace of another's."""

    def __init__(self, drivers: Drivers, run_dir: Path) -> None:
        self._drivers, self._run_dir = drivers, run_dir
        self.root, self.run_root, self.settings = drivers.root, drivers.run_root, drivers.settings
        self.verb, self.version = drivers.verb, drivers.version
        self.processes = self.foreign_processes = drivers.foreign_processes
        self.monitor = drivers.monitor

    def processes_for(self, container: Container) -> NamespaceDriver:
        """See Drivers."""
        return self.foreign_processes

    def run_dir(self, container_id: str) -> Path:
        """Return the directory of this stop."""
        return self._run_dir

    def tracer(self) -> TracerDriver:
        """See Drivers."""
        return self._drivers.tracer()

    def births(self) -> BirthWatch:
        """See Drivers."""
        return self._drivers.births()

    def spawn(self, argv: list[str], env: dict[str, str]) -> Child:
        """See Drivers."""
        return self._drivers.spawn(argv, env)


class EngineStop:
    """The engine's own stop of one container, and a look at what it has recorded. Nothing here waits."""

    def __init__(self, engine: EngineDriver, container: ForeignContainer, *, watcher: Watcher) -> None:
        self.engine, self.container = engine, container
        self.is_begun = self.is_over = False
        self.words = ""  # the command, for the report
        self.error = ""  # what it said, where it failed
        self.after: ForeignContainer | None = None  # as it was described at the end; None: it is gone, or not known
        self._watcher = watcher
        self._child: Child | None = None
        self._on_end: Callable[[], None] | None = None

    def begin(self, grace_s: float, signal: int | None, on_failure: Callable[[str], None]) -> None:
        """Ask. ``on_failure`` is called where the engine could not do it."""
        self.is_begun = True
        number = SIGKILL if grace_s == 0 else signal
        self.words = " ".join(self.engine.stop_words(self.container, grace_s, number))
        child = self.engine.begin_stop(self.container, grace_s, number)
        self._follow(child, lambda: self._ended(child, on_failure))

    def _ended(self, child: Child, on_failure: Callable[[str], None]) -> None:
        self.error, self.is_over = self.engine.end_stop(child), True
        if self._on_end is not None:
            self._on_end()
        elif self.error:
            on_failure(self.error)

    def when_over(self, on_end: Callable[[], None]) -> None:
        """Call ``on_end`` when the engine's stop is over, at once where it is, or was never begun."""
        if self.is_over or not self.is_begun:
            on_end()
        else:
            self._on_end = on_end

    def look(self, on_end: Callable[[], None]) -> None:
        """Have the engine describe the container once more, and call ``on_end`` then."""
        child = self.engine.begin_look(self.container)
        self._follow(child, lambda: self._seen(child, on_end))

    def _seen(self, child: Child, on_end: Callable[[], None]) -> None:
        try:
            self.after = self.engine.end_look(self.container, child)
        except BentoError as error:
            self.error = self.error or error.message
        on_end()

    def _follow(self, child: Child, on_end: Callable[[], None]) -> None:
        self._child = child

        def ended() -> None:
            self._unfollow(child)
            on_end()

        self._watcher.watch(child.fileno(), ended)
        for fd in (child.stdout_fd, child.stderr_fd):
            if fd is not None:
                self._watcher.watch(fd, self._drainer(child, fd))

    def _drainer(self, child: Child, fd: int) -> Callable[[], None]:
        """What says more than a pipe holds must not wait for us."""

        def drain() -> None:
            if not child.drain(fd):
                self._watcher.unwatch(fd)

        return drain

    def _unfollow(self, child: Child) -> None:
        for fd in (child.fileno(), child.stdout_fd, child.stderr_fd):
            if fd is not None:
                self._watcher.unwatch(fd)
        self._child = None

    def close(self) -> None:
        """Follow it no more. It goes on: it is the engine's own stop. Idempotent."""
        if self._child is not None:
            self._unfollow(self._child)


class ForeignCleanup:
    """StopCleanup of what Bento has not made: its engine cleans up, and is waited for in the place of a monitor."""

    def __init__(self, ask: EngineStop | None, done: Callable[[StepDone], None]) -> None:
        self._ask, self._done = ask, done

    def watch_release(self, pid: int, main_fd: int) -> None:
        """See StopCleanup. The root filesystem is the engine's."""

    def expect_end(self) -> None:
        """See StopCleanup."""

    def begin(self, step: Step, tries: int) -> None:
        """See StopCleanup."""
        if step is not Step.MONITOR or self._ask is None:
            self._done(StepDone(step))
            return
        self._ask.when_over(self._look)

    def _look(self) -> None:
        if self._ask is None:
            return
        try:
            self._ask.look(lambda: self._done(StepDone(Step.MONITOR)))
        except BentoError as error:
            self._done(StepDone(Step.MONITOR, str(error)))

    def close(self) -> None:
        """See StopCleanup."""
        if self._ask is not None:
            self._ask.close()


class ForeignTarget:
    """StopTarget of what Bento has not made. ``asked``: the request as it was asked for, without a margin."""

    def __init__(self, drivers: Drivers, found: Found, asked: StopRequest, run_dir: Path, *, watcher: Watcher) -> None:
        self.drivers: Drivers = ForeignDrivers(drivers, run_dir)
        self.container = found.container
        self._real, self._found, self._asked = drivers, found, asked
        self._ask: EngineStop | None = None
        if found.engine is not None and found.described is not None:
            self._ask = EngineStop(found.engine, found.described, watcher=watcher)

    def cleanup(self, batch: StopBatch, done: Callable[[StepDone], None]) -> ForeignCleanup:
        """See StopTarget."""
        return ForeignCleanup(self._ask, done)

    def recorder(self, processes: ContainerProcesses, cleanup: StopCleanup) -> ForeignRecorder:
        """See StopTarget."""
        return ForeignRecorder(self._real, self._found, self._asked, processes, self._ask)

    def ask_engine(self, driver: StopDriver) -> None:
        """See StopTarget. What its engine refuses to stop is let go, and is what it was."""
        ask = self._ask
        if ask is None:
            return

        def failed(why: str) -> None:
            message = f"{ask.engine.name} could not stop container {self._found.name}: {why}"
            driver.fail(ForeignEngineFailed(message, hint="nothing was ended; to stop it without its engine: --pid"))

        signal = self._asked.signal if ask.engine.takes_signal else None
        ask.begin(self._asked.grace_s, signal, failed)

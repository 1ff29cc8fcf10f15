"""An engine of fakes: a real loop, real locks and sockets, and nothing else that is real."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bento import clock
from bento.command import Child
from bento.config import Settings
from bento.drivers.monitor.fake import FakeMonitor
from bento.drivers.network.fake import FakeNetwork
from bento.drivers.processes.fake import BOOT_ID, FakeProcess, FakeProcesses
from bento.drivers.runtime.fake import FakeRuntime
from bento.drivers.state.memory import MemoryStore
from bento.drivers.storage.memory import MemoryStorage
from bento.drivers.tracer.base import Held, Key, Watched
from bento.drivers.tracer.fake import FakeTracer
from bento.drivers.volume.local import LocalVolumes
from bento.engine.base.drivers import Drivers
from bento.errors import BentoError
from bento.locks import ContainerLocks
from bento.model.container import Container, ContainerSpec, ProcessIdentity, Run, Status
from bento.model.network import Connection
from bento.model.waits import Descriptor, Evidence, ThreadWait
from bento.stop.process import Disposition


class DoneChild:
    """A child process that has ended already: its descriptor is at end of file."""

    def __init__(self) -> None:
        self._fd, writer = os.pipe2(os.O_CLOEXEC)
        os.close(writer)

    def fileno(self) -> int:
        return self._fd

    def finish(self, timeout_s: float) -> None:
        self.kill()

    def kill(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class InstantRuntime(FakeRuntime):
    """A runtime whose deletes start no process.

    Attributes:
        begin_error, end_error: raised by the two halves of a delete when set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begin_error: BentoError | None = None
        self.end_error: BentoError | None = None

    def begin_delete(self, container_id: str) -> Child:
        self.calls.append(("delete", container_id))
        if self.begin_error is not None:
            raise self.begin_error
        done: Any = DoneChild()
        child: Child = done
        return child

    def end_delete(self, child: Child) -> str:
        child.finish(1.0)
        if self.end_error is not None:
            raise self.end_error
        return self.refusals.pop(0) if self.refusals else ""


class FakeBirths:
    """What was killed before a look could show it: ``unseen``, by PID 1."""

    def __init__(self) -> None:
        self.unseen: dict[int, list[int]] = {}
        self.followed: set[int] = set()

    def follow(self, root: int, pids: Iterable[int]) -> None:
        self.followed.update({root, *pids})

    def read(self) -> None:
        pass

    def killed(self, root: int) -> list[int]:
        return self.unseen.get(root, []) if root in self.followed else []

    def close(self) -> None:
        pass


class ReadyTracer(FakeTracer):
    """A tracer that holds and watches at once whatever it is asked to."""

    def watch(self, job: int, pid: int, start_ticks: int, **more: Any) -> None:
        super().watch(job, pid, start_ticks, **more)
        self.inject(Watched(job=job, pid=pid))

    def hold(self, job: int, keys: Iterable[Key]) -> None:
        held = tuple(keys)
        super().hold(job, held)
        self.inject(Held(job=job, held=held))


WAITS = Evidence(threads=(ThreadWait(tid=1, state="S", call="wait4", child=0),))
"""Of a process that waits for any child."""
SLEEPS = Evidence(threads=(ThreadWait(tid=1, state="S", call="clock_nanosleep", timeout_s=600.0),))


LISTENS = Evidence(threads=(ThreadWait(tid=1, state="S", call="accept4", fds=(Descriptor("listen"),)),), listening=1)


class FakeDrivers(Drivers):
    """Drivers of an engine that lives in one test."""

    store: MemoryStore
    storage: MemoryStorage
    monitor: FakeMonitor
    network: FakeNetwork
    processes: FakeProcesses

    def __init__(self, base: Path) -> None:
        self.root, self.run_root = base / "l", base / "r"
        for directory in (self.root, self.run_root):
            directory.mkdir(parents=True, exist_ok=True)
        self.store = MemoryStore()
        self.storage = MemoryStorage(self.root)
        self.monitor = FakeMonitor()
        self.network = FakeNetwork()
        self.processes = FakeProcesses()
        self.volumes = LocalVolumes(self.root)
        self.locks = ContainerLocks(self.run_root)
        self.settings = Settings(stop_timeout_s=10.0)
        self.helper_argv = ("/nonexistent",)
        self.fake_runtime = InstantRuntime()
        self.tracers: list[ReadyTracer] = []
        self.fake_births = FakeBirths()
        self.detached: list[tuple[str, ...]] = []
        self._numbers = iter(range(1, 100))

    def births(self) -> FakeBirths:
        return self.fake_births

    def tracer(self) -> ReadyTracer:
        self.tracers.append(ReadyTracer())
        return self.tracers[-1]

    def runtime(self, name: str) -> FakeRuntime:
        return self.fake_runtime

    def runtime_states(self) -> list[tuple[str, Path]]:
        return []

    def in_private_mounts(self, fn: Callable[[], Any]) -> Any:
        return fn()

    def spawn_detached(self, argv: tuple[str, ...]) -> None:
        self.detached.append(argv)

    # -- a test's hand

    def add(
        self,
        name: str,
        main: FakeProcess | None,
        *,
        monitor: FakeProcess | None = None,
        age_s: float = 100.0,
        status: Status = Status.RUNNING,
        connection: Connection | None = None,
        **spec: Any,
    ) -> Container:
        """Store a container as ``start`` leaves it. ``main`` None: its process has gone."""
        container_id = f"{next(self._numbers):064x}"
        self.run_dir(container_id).mkdir(parents=True)
        gone = ProcessIdentity(999, 9, BOOT_ID)
        run = Run(
            number=1,
            runtime="fake",
            init=main.identity if main else gone,
            monitor=monitor.identity if monitor else None,
            started_boot_s=clock.boot_s() - age_s,
            connection=connection,
        )
        container = Container(
            id=container_id,
            name=name,
            created_unix_ns=1,
            spec=ContainerSpec(image="host", image_id="", layers=(), **spec),
            status=status,
            run=run,
        )
        self.store.add(container)
        return container

    def server(self, name: str = "web", *, code: int = 0, **more: Any) -> tuple[Container, FakeProcess]:
        """A container whose program ends at once, and properly, when it is told."""
        main = self.processes.add("server")
        container = self.add(name, main, **more)

        def told(number: int) -> None:
            self.monitor.write_exit(self.run_dir(container.id), container.id, code)
            self.processes.end(main, code << 8)

        main.on_signal = told
        return container, main

    def stubborn(self, name: str = "web", **more: Any) -> tuple[Container, FakeProcess]:
        """A container whose program ignores the signal."""
        main = self.processes.add("stubborn", Disposition.IGNORED)
        return self.add(name, main, **more), main

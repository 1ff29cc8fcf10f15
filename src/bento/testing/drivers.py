"""The drivers of an engine that lives in one test: a real store, real locks and sockets; all else is pretended."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bento import clock
from bento.config import Settings
from bento.drivers.builder.buildah import BuildahBuilder
from bento.drivers.network.cni import Cni
from bento.drivers.state.sqlite import SqliteStore
from bento.drivers.volume.local import LocalVolumes
from bento.engine.base.drivers import Drivers
from bento.errors import UsageError
from bento.kernel.inotify import ArrivalWatch, GoneWatch
from bento.locks import ContainerLocks
from bento.model.container import Container, ContainerSpec, ProcessIdentity, Run, Status
from bento.model.network import Connection
from bento.stop.process import Disposition
from bento.testing.births import FakeBirths
from bento.testing.engines import FakeEngine
from bento.testing.images import FakeImages
from bento.testing.monitor import FakeMonitor
from bento.testing.network import FakeNetwork
from bento.testing.pods import FakePods
from bento.testing.processes import BOOT_ID, FakeProcess, FakeProcesses
from bento.testing.proxy import FakeProxy
from bento.testing.resolver import FakeResolver
from bento.testing.runtime import FakeRuntime
from bento.testing.state import MemoryDatabase
from bento.testing.storage import FakeIdMaps, FakeMounts, FakeStorage
from bento.testing.tracer import ReadyTracer
from bento.testing.transport import FakeTransport
from bento.testing.units import FakeUnits
from bento.testing.usage import FakeUsage


class FakeDrivers(Drivers):
    """Drivers with roots below ``base``. A context; close it when done. Needs no root.

    Attributes:
        fake_runtime: the runtime, whatever name is asked for.
        fake_births: what follows births.
        engines: other engines of this host, by name.
        tracers: those that were asked for, in order.
        detached: the arguments of processes that were to outlive this one; none is started.
    """

    storage: FakeStorage
    monitor: FakeMonitor
    network: FakeNetwork
    resolver: FakeResolver
    proxy: FakeProxy
    pods: FakePods
    processes: FakeProcesses
    foreign_processes: FakeProcesses
    usage: FakeUsage
    units: FakeUnits

    def __init__(self, base: Path) -> None:
        self.root, self.run_root = base / "l", base / "r"
        for directory in (self.root, self.run_root):
            directory.mkdir(parents=True, exist_ok=True)
        self.store = SqliteStore(self.root / "bento.db", kind=MemoryDatabase)
        self.storage, self.mounts, self.ids = FakeStorage(self.root), FakeMounts(), FakeIdMaps()
        self.monitor = FakeMonitor()
        self.network = FakeNetwork()
        self.resolver = FakeResolver()
        self.proxy = FakeProxy()
        self.pods = FakePods(self.run_root)
        self.images = FakeImages()
        self.transport = FakeTransport()
        self.builder = BuildahBuilder(self.root)
        self.processes = self.foreign_processes = FakeProcesses()
        self.volumes = LocalVolumes(self.root)
        self.cni = Cni(self.cni_cache, self.root / "cni-lists", (self.root / "cni-plugins",))
        self.usage = FakeUsage()
        self.units = FakeUnits()
        self.locks = ContainerLocks(self.run_root)
        self.settings = Settings(stop_timeout_s=10.0)
        self.helper_argv = ("/nonexistent",)
        self.version = "1"
        self.keeper_argv = ("/nonexistent", "keeper")
        self.fake_runtime = FakeRuntime()
        self.engines = {"docker": FakeEngine()}
        self.tracers: list[ReadyTracer] = []
        self.fake_births = FakeBirths()
        self.detached: list[tuple[str, ...]] = []
        self._numbers = iter(range(1, 100))

    def close(self) -> None:
        """End the processes, and close what is open. Idempotent."""
        self.processes.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def births(self) -> FakeBirths:
        """Return ``fake_births``."""
        return self.fake_births

    def tracer(self) -> ReadyTracer:
        """Return another one of ``tracers``."""
        self.tracers.append(ReadyTracer())
        return self.tracers[-1]

    def runtime(self, name: str) -> FakeRuntime:
        """Return ``fake_runtime``."""
        return self.fake_runtime

    def engine(self, name: str) -> FakeEngine:
        """Return the one of this name among ``engines``."""
        if name not in self.engines:
            raise UsageError(f"unknown engine {name!r}")
        return self.engines[name]

    def runtime_states(self) -> list[tuple[str, Path]]:
        """Return nothing: no runtime keeps anything."""
        return []

    def in_private_mounts(self, fn: Callable[[], Any]) -> Any:
        """Run it here: nothing is mounted."""
        return fn()

    def start_thread(self, main: Callable[[Any], None], argument: Any) -> None:
        """See Drivers."""
        _thread.start_new_thread(main, (argument,))

    def watch_gone(self, directory: Path) -> GoneWatch:
        """Return a watch of the real filesystem."""
        return GoneWatch(directory)

    def watch_arrivals(self, directory: Path) -> ArrivalWatch:
        """The same."""
        return ArrivalWatch(directory)

    def spawn_detached(self, argv: tuple[str, ...]) -> None:
        """Remember."""
        self.detached.append(argv)

    # What a test sets up

    def add(
        self,
        name: str,
        main: FakeProcess | None,
        *,
        monitor: FakeProcess | None = None,
        age_s: float = 100.0,
        status: Status = Status.RUNNING,
        connections: tuple[Connection, ...] = (),
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
            connections=connections,
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
        """A container whose program ends at once, and properly, when it is signalled."""
        main = self.processes.add("server")
        container = self.add(name, main, **more)

        def exit_at(number: int) -> None:
            self.monitor.write_exit(self.run_dir(container.id), container.id, code)
            self.processes.end(main, code << 8)

        main.on_signal = exit_at
        return container, main

    def stubborn(self, name: str = "web", **more: Any) -> tuple[Container, FakeProcess]:
        """A container whose program ignores the signal."""
        main = self.processes.add("stubborn", Disposition.IGNORED)
        return self.add(name, main, **more), main

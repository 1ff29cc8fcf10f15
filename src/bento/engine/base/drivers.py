"""What every verb works with: the drivers and the directories, put together by ``bento.wiring``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from bento.command import Child
    from bento.config import Settings
    from bento.drivers.builder.base import BuilderDriver
    from bento.drivers.engines.base import EngineDriver
    from bento.drivers.image.base import ImageDriver
    from bento.drivers.monitor.base import MonitorDriver
    from bento.drivers.network.base import CniDriver, NetworkDriver
    from bento.drivers.pod.base import PodDriver
    from bento.drivers.processes.base import (
        ArrivalWatch,
        BirthWatch,
        FileWatch,
        GoneWatch,
        NamespaceDriver,
        ProcessDriver,
    )
    from bento.drivers.proxy.base import ProxyDriver
    from bento.drivers.resolver.base import ResolverDriver
    from bento.drivers.runtime.base import RuntimeDriver
    from bento.drivers.state.base import StateStore
    from bento.drivers.storage.base import IdMaps, Mounts, StorageDriver
    from bento.drivers.tracer.base import TracerDriver
    from bento.drivers.transport.base import TransportDriver
    from bento.drivers.units.base import UnitDriver
    from bento.drivers.usage.base import UsageDriver
    from bento.drivers.volume.base import VolumeDriver
    from bento.locks import ContainerLocks
    from bento.model.container import Container

    T = TypeVar("T")

LOCK_TIMEOUT_S: Final = 30.0
"""How long a verb waits for another process that works on the same container."""


class Drivers:
    """The engine's drivers. A subclass says where they come from; each is made when it is first used."""

    root: Path
    run_root: Path
    store: StateStore
    storage: StorageDriver
    mounts: Mounts
    ids: IdMaps
    monitor: MonitorDriver
    network: NetworkDriver
    cni: CniDriver
    pods: PodDriver
    resolver: ResolverDriver
    proxy: ProxyDriver
    images: ImageDriver
    transport: TransportDriver
    builder: BuilderDriver
    volumes: VolumeDriver
    usage: UsageDriver
    units: UnitDriver
    processes: ProcessDriver
    foreign_processes: NamespaceDriver  # for what other engines have made
    locks: ContainerLocks
    settings: Settings
    helper_argv: tuple[str, ...]  # runs a verb of this engine in a process of its own
    keeper_argv: tuple[str, ...]  # runs the process that carries out this engine's health checks
    version: str  # of the package
    notify_socket: str = ""  # where a start tells systemd that the container is ready (sd_notify(3)); "": nowhere
    notify_mode: str = ""  # in the place of an ``sdnotify`` of "ignore"
    verb: str = (
        ""  # of Bento's own command line, which this process is and nothing else; "": a program that uses the library
    )

    @property
    def cni_cache(self) -> Path:
        """The directory below the root with what CNI plugins were told; it is there once one was."""
        return self.root / "cni"

    def has_cni(self) -> bool:
        """Whether a container may be on a CNI network, or may have been."""
        return self.cni_cache.exists()

    def runtime(self, name: str) -> RuntimeDriver:
        """Return the runtime of this name or path; "" is the default of this host. Raises MissingTool."""
        raise NotImplementedError

    def processes_for(self, container: Container) -> ProcessDriver:
        """Return the driver for what this container runs now: not every runtime shows its processes to the host.

        ``processes`` is for the host's own ones, such as its monitor.
        """
        return self.processes

    def tracer(self) -> TracerDriver:
        """Return a tracer for one call of stop; it starts its process when it is first used. The caller closes it."""
        raise NotImplementedError

    def births(self) -> BirthWatch:
        """Return what follows the births of processes in one call of stop; it asks for none before it is used."""
        raise NotImplementedError

    def in_private_mounts(self, fn: Callable[[], T]) -> T:
        """Run ``fn`` in a fresh mount namespace that only what it spawns keeps alive; return what it returns."""
        raise NotImplementedError

    def start_thread(self, main: Callable[[T], None], argument: T) -> None:
        """Run a function in a thread that nothing waits for. Raises KernelError where none can be started."""
        raise NotImplementedError

    def watch_file(self, path: Path) -> FileWatch:
        """Return a watch for writes to one file."""
        raise NotImplementedError

    def watch_arrivals(self, directory: Path) -> ArrivalWatch:
        """Return a watch for files that are renamed into a directory; the caller closes it."""
        raise NotImplementedError

    def watch_gone(self, directory: Path) -> GoneWatch:
        """Return a watch for the removal of a directory; the caller closes it."""
        raise NotImplementedError

    def spawn(self, argv: list[str], env: dict[str, str]) -> Child:
        """Start a program on the host, in a session of its own, with these variables on top of a clean environment."""
        raise NotImplementedError

    def spawn_detached(self, argv: tuple[str, ...]) -> None:
        """Start a process that outlives this one and is not waited for here."""
        raise NotImplementedError

    def engine(self, name: str) -> EngineDriver:
        """Return another engine of this host, one of ``bento.engine.foreign.names.ENGINES``. Raises UsageError."""
        raise NotImplementedError

    def runtime_states(self) -> list[tuple[str, Path]]:
        """Return what runtimes keep of containers, by the container's id, whether there is such a one or not."""
        raise NotImplementedError

    def run_dir(self, container_id: str) -> Path:
        """Return the container's directory below the run root: pid files, exit file, sockets."""
        return self.run_root / "containers" / container_id

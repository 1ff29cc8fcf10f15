"""The only place that names concrete drivers: from settings to an engine."""

from __future__ import annotations

import os
import signal
import stat
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bento import __version__
from bento.config import DEFAULT, DEFAULT_ROOT, Settings
from bento.engine.base.drivers import Drivers
from bento.engine.facade import EngineFacade
from bento.errors import NotPermitted, StorageUnusable, UsageError
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento import command, locks, own
    from bento.command import Child
    from bento.drivers.builder import buildah
    from bento.drivers.builder.base import BuilderDriver
    from bento.drivers.engines import containerd, docker, nerdctl, podman
    from bento.drivers.engines.base import EngineDriver
    from bento.drivers.image.base import ImageDriver
    from bento.drivers.image.store import image_store
    from bento.drivers.monitor import conmon
    from bento.drivers.monitor.base import MonitorDriver
    from bento.drivers.network import bridge, cni
    from bento.drivers.network.base import CniDriver, NetworkDriver
    from bento.drivers.pod import pins
    from bento.drivers.pod.base import PodDriver
    from bento.drivers.processes import foreign as foreign_processes
    from bento.drivers.processes import linux, virtual
    from bento.drivers.processes.base import BirthWatch, NamespaceDriver, ProcessDriver
    from bento.drivers.proxy import process as proxy_process
    from bento.drivers.proxy.base import ProxyDriver
    from bento.drivers.resolver import process as resolver_process
    from bento.drivers.resolver.base import ResolverDriver
    from bento.drivers.runtime import detect, states
    from bento.drivers.runtime.base import RuntimeDriver
    from bento.drivers.state import sqlite, standing
    from bento.drivers.state.base import StateStore
    from bento.drivers.storage import overlay, user_namespace
    from bento.drivers.storage.base import IdMaps, Mounts, StorageDriver
    from bento.drivers.tracer import process as tracer_process
    from bento.drivers.tracer.base import TracerDriver
    from bento.drivers.transport import skopeo
    from bento.drivers.transport.base import TransportDriver
    from bento.drivers.units import systemd
    from bento.drivers.units.base import UnitDriver
    from bento.drivers.usage import linux as usage_linux
    from bento.drivers.usage.base import UsageDriver
    from bento.drivers.volume import local
    from bento.drivers.volume.base import VolumeDriver
    from bento.engine.base import exec_sessions, store_holdup
    from bento.engine.base.drivers import T
    from bento.engine.foreign import names as foreign_names
    from bento.kernel import inotify, mount, namespace
    from bento.kernel.process import births
    from bento.model.container import Container
else:
    containerd, docker, nerdctl, podman = (
        LazyModule(f"bento.drivers.engines.{name}") for name in ("containerd", "docker", "nerdctl", "podman")
    )
    foreign_names = LazyModule("bento.engine.foreign.names")
    buildah = LazyModule("bento.drivers.builder.buildah")
    command, locks, own = LazyModule("bento.command"), LazyModule("bento.locks"), LazyModule("bento.own")
    image_store, conmon = (
        LazyModule("bento.drivers.image.store.image_store"),
        LazyModule("bento.drivers.monitor.conmon"),
    )
    bridge, linux = LazyModule("bento.drivers.network.bridge"), LazyModule("bento.drivers.processes.linux")
    cni, pins = LazyModule("bento.drivers.network.cni"), LazyModule("bento.drivers.pod.pins")
    virtual = LazyModule("bento.drivers.processes.virtual")
    proxy_process = LazyModule("bento.drivers.proxy.process")
    foreign_processes = LazyModule("bento.drivers.processes.foreign")
    resolver_process = LazyModule("bento.drivers.resolver.process")
    detect, states = LazyModule("bento.drivers.runtime.detect"), LazyModule("bento.drivers.runtime.states")
    sqlite, standing = LazyModule("bento.drivers.state.sqlite"), LazyModule("bento.drivers.state.standing")
    exec_sessions, store_holdup = (
        LazyModule("bento.engine.base.exec_sessions"),
        LazyModule("bento.engine.base.store_holdup"),
    )
    overlay, skopeo = LazyModule("bento.drivers.storage.overlay"), LazyModule("bento.drivers.transport.skopeo")
    user_namespace = LazyModule("bento.drivers.storage.user_namespace")
    tracer_process = LazyModule("bento.drivers.tracer.process")
    systemd = LazyModule("bento.drivers.units.systemd")
    local, usage_linux = LazyModule("bento.drivers.volume.local"), LazyModule("bento.drivers.usage.linux")
    births, inotify = LazyModule("bento.kernel.process.births"), LazyModule("bento.kernel.inotify")
    mount, namespace = LazyModule("bento.kernel.mount"), LazyModule("bento.kernel.namespace")


class Engine(EngineFacade):
    """An engine on this host. Two engines with different roots never touch each other.

    Raises NotPermitted when the caller is not root, UsageError when its process ignores SIGCHLD, StorageUnusable when a
    root cannot be made or is open to others.
    """

    def __init__(self, settings: Settings = DEFAULT) -> None:
        super().__init__(HostDrivers(settings))


def require_root() -> None:
    """Raise NotPermitted where this process is not root's."""
    if os.geteuid() != 0:
        raise NotPermitted("bento needs root: it makes namespaces, mounts and cgroups", hint="use sudo")


def standing_database(root: Path) -> standing.Standing:
    """Return what keeps the database of this root as it is between connections; it holds nothing yet."""
    return standing.Standing(root / "bento.db")


class HostDrivers(Drivers):
    """The drivers of this host. Makes the roots when they are not there; opens the database when it is first used."""

    def __init__(self, settings: Settings) -> None:
        require_root()
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # the kernel reaps at once (wait(2))
            raise UsageError(
                "this program ignores SIGCHLD: how what Bento starts for it has ended could not be known",
                hint="call signal.signal(signal.SIGCHLD, signal.SIG_DFL) before",
            )
        self.root, self.run_root = (Path(os.path.abspath(each)) for each in (settings.root, settings.run_root))
        for directory in (self.root, self.run_root):
            _make(directory, 0o711)
            _check_ours(directory)
        # A user that could enter the run directories could reach the sockets of monitors and stops in them.
        _make(self.run_root / "containers", 0o700)
        self.settings, self.version = settings, __version__
        self.helper_argv = self._make_helper_argv()
        self.keeper_argv = self._make_keeper_argv()
        self._runtimes: dict[str, RuntimeDriver] = {}

    def _make_helper_argv(self) -> tuple[str, ...]:
        """How this engine is run again. -P: the current directory is not searched for modules (python(1)).

        -I where this process is: nor is anything that the environment or a user's directory has.
        """
        where = ("--root", str(self.root), "--run-root", str(self.run_root))
        words = self.settings.runtime_args
        arguments = ("--runtime-args", " ".join(words)) if words else ()
        return (sys.executable, "-I" if sys.flags.isolated else "-P", "-m", "bento", *where, *arguments)

    def _make_keeper_argv(self) -> tuple[str, ...]:
        """How the process is started that carries out health checks: without what would stay, and is not needed there.

        That is the command line, and ``site``: modules are found where they are found here.
        """
        path = repr([entry for entry in sys.path if entry.startswith("/")])
        program = f"import gc, sys; gc.disable(); sys.path[:] = {path}; {_KEEPER}"
        return (
            sys.executable,
            "-I",
            "-S",
            "-c",
            program,
            str(self.root),
            str(self.run_root),
            *self.settings.runtime_args,
        )

    def __getattr__(self, name: str) -> Any:
        """Make a driver when it is first used."""
        make = getattr(type(self), f"_make_{name}", None)
        if make is None:
            raise AttributeError(name)
        if name in _BELOW_ROOT:
            _ = self.store  # one that a newer version has written is refused before anything below its root changes
        driver = make(self)
        setattr(self, name, driver)
        return driver

    def _make_store(self) -> StateStore:
        if self.verb:
            own.mark(self.run_root)  # before it can stand still with a lock
        return sqlite.SqliteStore(
            self.root / "bento.db",
            clear_way=lambda holders: self.store_holdup(holders),
            events_max=self.settings.events_max,
        )

    def _make_store_holdup(self) -> store_holdup.StoreHoldup:
        return store_holdup.StoreHoldup(self)

    def _make_storage(self) -> StorageDriver:
        return overlay.OverlayStorage(self.root)

    def _make_mounts(self) -> Mounts:
        return mount

    def _make_ids(self) -> IdMaps:
        return user_namespace.UserNamespaces()

    def _make_monitor(self) -> MonitorDriver:
        return conmon.ConmonMonitor(Path("conmon"))  # looked for on PATH when one is started

    def _make_network(self) -> NetworkDriver:
        return bridge.BridgeNetwork(
            self.root, is_default=self.root == DEFAULT_ROOT, has_names=self.settings.bridge_has_names
        )

    def _make_resolver(self) -> ResolverDriver:
        return resolver_process.ResolverProcess(self.run_root)

    def _make_proxy(self) -> ProxyDriver:
        return proxy_process.ProxyProcesses(self.run_dir)

    def _make_cni(self) -> CniDriver:
        programs = tuple(map(Path, self.settings.cni_plugins))
        return cni.Cni(self.cni_cache, Path(self.settings.cni_directory), programs)

    def _make_pods(self) -> PodDriver:
        return pins.PodPins(self.run_root)

    def _make_volumes(self) -> VolumeDriver:
        return local.LocalVolumes(self.root)

    def _make_images(self) -> ImageDriver:
        return image_store.ImageStore(self.root, takes_absolute_names=self.settings.takes_absolute_names)

    def _make_transport(self) -> TransportDriver:
        return skopeo.SkopeoTransport(self.settings.insecure_registries)

    def _make_builder(self) -> BuilderDriver:
        return buildah.BuildahBuilder(self.root)

    def _make_processes(self) -> ProcessDriver:
        return linux.LinuxProcesses()

    def _make_foreign_processes(self) -> NamespaceDriver:
        return foreign_processes.ForeignProcesses()

    def _make_usage(self) -> UsageDriver:
        return usage_linux.LinuxUsage()

    def _make_units(self) -> UnitDriver:
        return systemd.SystemdUnits()

    def _make_locks(self) -> locks.ContainerLocks:
        return locks.ContainerLocks(self.run_root, self.verb)

    def runtime(self, name: str) -> RuntimeDriver:
        """See Drivers."""
        name = name or self.settings.runtime
        if name not in self._runtimes:
            self._runtimes[name] = detect.choose(name, self.run_root, self.settings.runtime_args)
        return self._runtimes[name]

    def engine(self, name: str) -> EngineDriver:
        """See Drivers."""
        if name == "docker":
            return docker.DockerEngine()
        if name == "podman":
            return podman.PodmanEngine()
        if name == "containerd":
            return containerd.ContainerdEngine()
        if name == "nerdctl":
            return nerdctl.NerdctlEngine()
        raise UsageError(f"unknown engine {name!r}", hint=f"use one of {', '.join(foreign_names.ENGINES)}")

    def runtime_states(self) -> list[tuple[str, Path]]:
        """See Drivers."""
        return list(states.every(self.run_root / "runtime"))

    def processes_for(self, container: Container) -> ProcessDriver:
        """See Drivers."""
        if container.run is None or container.run.shows_processes:
            return super().processes_for(container)
        return virtual.VirtualProcesses(
            container,
            self.runtime(container.run.runtime).begin_signal,
            lambda: exec_sessions.live(self, container.id),
        )

    def tracer(self) -> TracerDriver:
        """See Drivers."""
        return tracer_process.ProcessTracer()

    def births(self) -> BirthWatch:
        """See Drivers."""
        return births.Births()

    def in_private_mounts(self, fn: Callable[[], T]) -> T:
        """See Drivers."""
        return namespace.in_private_mounts(fn, without=str(self.run_root / "pods"))

    def start_thread(self, main: Callable[[T], None], argument: T) -> None:
        """See Drivers."""
        namespace.start_thread(main, argument)

    def watch_file(self, path: Path) -> inotify.FileWatch:
        """See Drivers."""
        return inotify.FileWatch(path)

    def watch_arrivals(self, directory: Path) -> inotify.ArrivalWatch:
        """See Drivers."""
        return inotify.ArrivalWatch(directory)

    def watch_gone(self, directory: Path) -> inotify.GoneWatch:
        """See Drivers."""
        return inotify.GoneWatch(directory)

    def spawn(self, argv: list[str], env: dict[str, str]) -> Child:
        """See Drivers."""
        return command.spawn(argv, env=command.clean_environment() | env, new_session=True)

    def spawn_detached(self, argv: tuple[str, ...]) -> None:
        """See Drivers."""
        command.spawn_detached(argv)


_LEAN = "from bento.cli.lean import import_lean; import_lean('pathlib', 'msgspec')"  # it stays: no more than it needs
_KEEPER = f"{_LEAN}; from bento.cli.keeper import main; main()"


_OF_KEEPER = (
    "bento.locks",
    "bento.drivers.processes.linux",
    "bento.drivers.runtime.detect",
    "bento.drivers.state.sqlite",
)


def load_for_keeper() -> None:
    """Import what the process needs that carries out health checks: it stays, and the files may be replaced."""
    for name in _OF_KEEPER:
        import_module(name)


_LINKS_MAX = 40  # as the kernel's own (path_resolution(7))
_BELOW_ROOT = ("storage", "network", "cni", "volumes", "images")


def _make(directory: Path, mode: int) -> None:
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnusable(
            f"cannot make {directory}: {error.strerror}", hint="choose another --root or --run-root"
        ) from None


def _check_ours(directory: Path) -> None:
    """Refuse a directory in which others could put files in the place of ours: root follows what is written there.

    And one that others could put another in the place of: the directories and links that lead there are root's, and
    no other user may write to them, as sshd(8) has it of its own; but in a directory such as /tmp (the sticky bit,
    inode(7)) what is root's stays in its place.
    """
    _refuse_others(directory, directory.stat())
    path, names, links = "/", str(directory).split("/")[::-1], 0
    while names:
        name = names.pop()
        if name in ("", ".", ".."):
            path = os.path.dirname(path) if name == ".." else path
            continue
        above, entry = os.stat(path), os.lstat(os.path.join(path, name))
        if not (above.st_mode & stat.S_ISVTX and above.st_uid == entry.st_uid == os.geteuid()):
            _refuse_others(directory, above, path)
        links += stat.S_ISLNK(entry.st_mode)
        if stat.S_ISLNK(entry.st_mode) and links <= _LINKS_MAX:
            target = os.readlink(os.path.join(path, name))
            path = "/" if target.startswith("/") else path
            names += target.split("/")[::-1]
        else:
            path = os.path.join(path, name)


def _refuse_others(directory: Path, status: os.stat_result, above: str = "") -> None:
    """``status``: of a directory; ``above``: its path, when it is one on the way to the one that is meant."""
    what = f"{directory} is below {above}, which" if above else f"{directory}"
    if status.st_uid != os.geteuid():
        raise StorageUnusable(
            f"{what} belongs to user {status.st_uid}", hint="choose a directory of root's own, or chown it"
        )
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != 0):
        raise StorageUnusable(
            f"{what} may be written by others", hint="choose a directory of root's own, or use chmod go-w"
        )

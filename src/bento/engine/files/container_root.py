"""The files of a container, running or not, as a directory that is open.

Nothing here is resolved by a path of the host's: what is handed out is a descriptor of the container's root, below
which ``files.rootfs`` finds its way, with all that the container has mounted.
"""

from __future__ import annotations

import errno
import os
import posixpath
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.base.layers import HOST_LAYER
from bento.engine.lifecycle import reconcile
from bento.engine.resources import mounting
from bento.engine.stop.erase import refuse_if_held
from bento.errors import KernelError, UsageError, WrongState
from bento.files.rootfs import mkdir_in_root, open_in_root, touch_in_root
from bento.model.container import Container, Mount, Status
from bento.oci import etc

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_PIPE_BYTES = 4096  # what a pipe that polls writable takes without blocking (PIPE_BUF, pipe(7))


class ContainerRoot:
    """A container's root, open. While it is, the root filesystem is held: a container that ends meanwhile must get it
    back at once, so code that works here calls ``check`` now and then, and waits by the methods below alone.
    """

    def __init__(self, container: Container, root_fd: int, main_fd: int | None) -> None:
        self.container = container
        # While it runs, its root shows the ids of its user namespace as those of the machine; else as they are on disk.
        self.ids = container.spec.namespaces.ids if main_fd is not None else None
        self.root_fd = root_fd
        self._main_fd = main_fd

    def check(self) -> None:
        """Raise WrongState when the container has ended since its root was opened."""
        if self._main_fd is not None and select.select([self._main_fd], [], [], 0.0)[0]:
            raise WrongState(f"container {self.container.name} has ended meanwhile", hint="try again")

    def write(self, fd: int, data: bytes) -> None:
        """Write all of it, for as long as the container lives. Blocks."""
        view = memoryview(data)
        may_block = not stat.S_ISREG(os.fstat(fd).st_mode)
        while view:
            self._wait(fd, select.POLLOUT)
            view = view[os.write(fd, view[:_PIPE_BYTES] if may_block else view) :]

    def read(self, fd: int, size: int) -> bytes:
        """Read some, for as long as the container lives. Blocks."""
        self._wait(fd, select.POLLIN)
        return os.read(fd, size)

    def _wait(self, fd: int, event: int) -> None:
        if self._main_fd is None:
            return
        poller = select.poll()
        poller.register(fd, event)
        poller.register(self._main_fd, select.POLLIN)
        if any(ready == self._main_fd for ready, _ in poller.poll()):
            self.check()


@contextmanager
def opened(drivers: Drivers, ref: str, *, with_mounts: bool = True) -> Iterator[ContainerRoot]:
    """Give a container's root. A container that does not run is not started meanwhile; one that runs may be stopped.

    ``with_mounts``: with its volumes and all else that is mounted in it; else the root filesystem alone.
    Raises NotFound, WrongState, Conflict (another process works on it), StorageUnusable.
    """
    container = reconcile.find(drivers, ref)
    with ExitStack() as stack:
        lock = stack.enter_context(drivers.locks.hold(container.id, LOCK_TIMEOUT_S))
        container = drivers.store.get(container.id)
        main_fd = None
        if container.status.is_live:
            main_fd = _main_of(drivers, container)
            stack.callback(os.close, main_fd)
            root_fd = _live_root(drivers, container, with_mounts=with_mounts)
        else:
            refuse_if_held(drivers, container)
            root_fd = drivers.in_private_mounts(lambda: _assembled(drivers, container, with_mounts=with_mounts))
        stack.callback(os.close, root_fd)
        if container.status.is_live:
            lock.release()
        yield ContainerRoot(container, root_fd, main_fd)


def _main_of(drivers: Drivers, container: Container) -> int:
    run = container.run
    if container.status is Status.STARTING or run is None or run.init is None:
        raise WrongState(f"container {container.name} is {container.status.value}", hint="try again in a moment")
    if not run.shows_processes:
        raise WrongState(
            f"the files of container {container.name} cannot be reached while it runs: it is virtual",
            hint="stop it first",
        )
    fd = drivers.processes.open(run.init)
    if fd is None:
        raise WrongState(f"container {container.name} is about to end", hint="try again in a moment")
    return fd


def _live_root(drivers: Drivers, container: Container, *, with_mounts: bool) -> int:
    assert container.run is not None
    assert container.run.init is not None
    root_fd = drivers.processes.open_root(container.run.init, with_mounts=with_mounts)
    if root_fd is None:
        raise WrongState(f"container {container.name} has ended meanwhile", hint="try again")
    return root_fd


def _assembled(drivers: Drivers, container: Container, *, with_mounts: bool) -> int:
    """Mount what a start would, in the calling thread's private namespace; return a detached copy of it."""
    drivers.storage.prepare(container.id)
    rootfs = drivers.storage.mount(container.id, container.spec.layers)
    if with_mounts:
        if container.spec.layers == (HOST_LAYER,):
            for path in (drivers.root, drivers.run_root):
                _mount_at(rootfs, str(path), drivers.mounts.hide)
        spec = mounting.attach(drivers, container, rootfs).spec
        own = _etc_files(drivers, container)
        for asked in sorted((*own, *spec.files.mounts), key=lambda m: m.destination.rstrip("/").count("/")):
            if asked.kind == "bind":
                _bind(drivers, rootfs, asked)
        if spec.files.read_only:
            drivers.mounts.refuse_writes(str(rootfs))
    return drivers.mounts.open_tree(str(rootfs), recursive=with_mounts)


def _etc_files(drivers: Drivers, container: Container) -> list[Mount]:
    """Return the mounts of what the last start has written for the container's /etc; none before the first one."""
    bundle = drivers.storage.bundle(container.id)
    taken = {posixpath.normpath(mount.destination) for mount in container.spec.files.mounts}
    return [
        Mount(kind="bind", source=str(bundle / name), destination=f"/etc/{name}")
        for name in etc.ETC_FILES
        if (bundle / name).exists() and f"/etc/{name}" not in taken
    ]


def _bind(drivers: Drivers, rootfs: Path, asked: Mount) -> None:
    if not os.path.exists(asked.source):
        raise UsageError(f"cannot mount {asked.source}: no such file or directory", hint="make it first")
    (mkdir_in_root if os.path.isdir(asked.source) else touch_in_root)(rootfs, asked.destination)
    _mount_at(rootfs, asked.destination, lambda target: drivers.mounts.bind(asked.source, target))
    if asked.read_only:
        _mount_at(rootfs, asked.destination, drivers.mounts.refuse_writes)


def _mount_at(rootfs: Path, path: str, act: Callable[[str], None]) -> None:
    """Mount something at a path of the container's; what is not there (a file never bound yet) is left out."""
    try:
        fd = open_in_root(rootfs, path, os.O_PATH)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return
        raise
    try:
        act(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)

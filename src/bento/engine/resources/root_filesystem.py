"""The root filesystem of a container that is started, and what is mounted beside it, in the start's private namespace.

Of a container with a user namespace of its own all of it shows the ids of files as those of that namespace: the layers,
its own files, volumes, and what of the machine is bound, but for binds with the option ``noidmap``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bento.engine.resources import beside, mounting
from bento.errors import StorageUnusable, UsageError
from bento.model.container import Container, Mount, ProcessIdentity
from bento.model.namespaces.mapping import NOT_MAPPED

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.resources import cdi
    from bento.model.namespaces.mapping import IdMapping

Placing = Callable[[str, bool], str]
"""From the source of a bind mount, and whether it is recursive, to where the runtime finds it."""


class Ready(Struct, frozen=True):
    """What a runtime is to be given: the container with its mounts as binds, and where its root filesystem is.

    ``hooks``: see ``beside.placed``. ``place``: for each other source of a bind mount, where it is to be taken from;
    None: from where it is.
    """

    container: Container
    rootfs: Path
    hooks: cdi.Hooks = {}
    place: Placing | None = None


@contextmanager
def ready(drivers: Drivers, container: Container, *, shm_fd: int | None, peers: dict[str, int]) -> Iterator[Ready]:
    """Mount all of it in the calling thread's mount namespace; what is yielded is good within the context.

    ``shm_fd``: a detached mount for its /dev/shm; ``peers``: see ``beside.reaching_host``. Raises StorageUnusable,
    UsageError, NotFound, KernelError.
    """
    rootfs = drivers.storage.mount(container.id, container.spec.layers)
    if shm_fd is not None:
        drivers.storage.mount_beside(container.id, "shm", shm_fd)
    placed, hooks = beside.placed(drivers, container, peers)
    attached = mounting.attach(drivers, placed, rootfs)
    ids = container.spec.namespaces.ids
    if ids is None:
        yield Ready(attached, rootfs, hooks)
        return
    shm = "" if shm_fd is None else str(drivers.storage.bundle(container.id) / "shm")
    with _mapped(drivers, attached, ids, shm) as mapped:
        yield replace(mapped, hooks=hooks)


@contextmanager
def _mapped(drivers: Drivers, container: Container, ids: IdMapping, shm: str) -> Iterator[Ready]:
    """Mount it again by other ids. What is bound is copied first: the place of it all covers a directory.

    ``shm``: where the /dev/shm of a pod is, whose files have the owners of the machine that they are made by.
    """
    with ExitStack() as stack:
        namespace_fd = drivers.ids.namespace(ids)
        stack.callback(os.close, namespace_fd)
        trees = []
        for mount in container.spec.files.mounts:
            if mount.kind == "bind":
                trees.append(_open(drivers, mount, namespace_fd))
                stack.callback(os.close, trees[-1])
        drivers.storage.unmount(container.id)
        log_path = [Path(container.spec.node.log_path)] if container.spec.node.log_path else []
        at = drivers.storage.mount_mapped(
            container.id, container.spec.layers, namespace_fd, ids.root, (drivers.run_root, *log_path)
        )
        count = 0

        def put(tree_fd: int) -> str:
            nonlocal count
            count += 1
            return str(drivers.storage.mount_in_view(at.view, f"bind-{count}", tree_fd))

        def place(source: str, is_recursive: bool) -> str:
            if Path(source).is_relative_to(at.view):
                return source  # one of those above
            if source == shm:
                fd = drivers.mounts.open_tree(source, recursive=False)
            else:
                fd = drivers.ids.open_tree(source, namespace_fd, recursive=is_recursive)
            try:
                return put(fd)
            finally:
                os.close(fd)

        left = iter(trees)
        mounts = tuple(
            replace(mount, source=put(next(left))) if mount.kind == "bind" else mount
            for mount in container.spec.files.mounts
        )
        files = replace(container.spec.files, mounts=mounts)
        yield Ready(replace(container, spec=replace(container.spec, files=files)), at.rootfs, place=place)


def open_streams(drivers: Drivers, container: Container, init: ProcessIdentity) -> None:
    """Let the programs of a container with ids of its own open its standard streams by name, and end their input.

    Before they begin, and after what is to be attached is. Its input is a pipe also where it is to have none.
    """
    fd = None if container.spec.namespaces.ids is None else drivers.processes.open(init)
    if fd is not None:
        try:
            drivers.ids.open_streams(fd)
        finally:
            os.close(fd)
        if not (container.spec.streams.stdin_open or container.spec.streams.tty):
            drivers.monitor.end_input(drivers.run_dir(container.id))


def _open(drivers: Drivers, mount: Mount, namespace_fd: int) -> int:
    is_recursive = "bind" not in mount.options
    if not os.path.exists(mount.source):
        raise UsageError(f"cannot mount {mount.source}: no such file or directory", hint="make it first")
    if NOT_MAPPED in mount.options:
        return drivers.mounts.open_tree(mount.source, recursive=is_recursive)
    try:
        return drivers.ids.open_tree(mount.source, namespace_fd, recursive=is_recursive)
    except StorageUnusable as error:
        raise UsageError(
            f"cannot mount {mount.source} with --userns: {error.message}",
            hint=f"give it the option {NOT_MAPPED}: its files keep the owners of the machine then",
        ) from error

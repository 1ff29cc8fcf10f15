"""``cp``: between a container and this machine, both ways, by Docker's rules.

What is copied from and to is held by descriptors all the way (``open_tree``): however the container lays and changes
its links meanwhile, nothing of the host's is read or written for it. Where its own programs alone reach its files, a
tar among them does it (``tar_tree``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

from bento.engine.files import container_root
from bento.engine.files.copy_path import (
    CopyOptions,
    CopyPath,
    CopyState,
    archive_words,
    buffered,
    explained,
    map_io_errors,
    refuse_device,
    warn_of_left_out,
)
from bento.engine.files.open_tree import OpenContainer, machine
from bento.engine.files.tar_tree import TarContainer
from bento.engine.lifecycle import reconcile
from bento.files.tarin import read_tar
from bento.files.tarout import TarWriter
from bento.model.change import PathStat

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.files.copy_tree import ContainerTree, Tree

__all__ = ["CopyOptions", "archive_in", "archive_out", "copy_in", "copy_out", "stat_path"]


def copy_out(drivers: Drivers, ref: str, path: str, target: str, options: CopyOptions) -> None:
    """Copy a file or directory of a container to this machine. Blocks.

    Raises NotFound (also for paths), Conflict, WrongState, StorageUnusable, KernelError; of a virtual container that
    runs MissingTool and RuntimeFailed, too. What was copied by then stays.
    """
    state = CopyState(options, (os.geteuid(), os.getegid()))
    with explained(), _opened(drivers, ref) as there, machine(there.check) as here:
        _copy(there, there.path(path), here, here.path(target), state)


def copy_in(drivers: Drivers, ref: str, source: str, path: str, options: CopyOptions) -> None:
    """Copy a file or directory of this machine into a container; as ``copy_out``."""
    with explained(), _opened(drivers, ref) as there, machine(there.check) as here:
        _copy(here, here.path(source), there, there.path(path), CopyState(options, (0, 0)))


def archive_out(drivers: Drivers, ref: str, path: str, fd: int, options: CopyOptions) -> None:
    """Write a file or directory of a container to ``fd`` as a tar archive; as ``copy_out``."""
    with explained(), _opened(drivers, ref) as tree:
        source = tree.path(path)
        with tree.read(source, CopyState(options, (0, 0))) as entries:
            writer = TarWriter(lambda data: tree.write_to(fd, data))
            with map_io_errors(source.named, archive_words):
                writer.add_all(entries, "." if source.wants_content else source.name or ".")
                writer.close()


def archive_in(drivers: Drivers, ref: str, fd: int, path: str) -> None:
    """Unpack a tar archive, plain or compressed, from ``fd`` into a directory of a container. Owners are kept.

    As ``copy_out``; raises UsageError for what is no archive.
    """
    with explained(), _opened(drivers, ref) as tree:
        target = tree.path(path)
        with tree.unpack(target) as put, map_io_errors(archive_words, target.named):
            stream = buffered(lambda size: tree.read_from(fd, size))
            put(read_tar(stream, archive_words()))


def stat_path(drivers: Drivers, ref: str, path: str) -> PathStat:
    """Return what a path in a container is; as ``copy_out``."""
    with explained(), _opened(drivers, ref) as tree:
        source = tree.path(path)
        state = CopyState(CopyOptions(archive=True), (0, 0))
        with tree.read(source, state) as entries, map_io_errors(source.named, archive_words):
            first = next(entries)
    return PathStat(
        name=source.name or "/", size=first.size, mode=first.mode, mtime_ns=first.mtime_ns, target=first.target
    )


@contextmanager
def _opened(drivers: Drivers, ref: str) -> Iterator[ContainerTree]:
    """Give a container's files: by a tar where, now that it runs, its own programs alone see them."""
    container = reconcile.find(drivers, ref)
    if container.status.is_live and container.run is not None and not container.run.shows_processes:
        yield TarContainer(drivers, container)
        return
    with container_root.opened(drivers, ref) as root:
        yield OpenContainer(root, drivers.ids.making_files_as)


def _copy(source_tree: Tree, source: CopyPath, target_tree: Tree, target: CopyPath, state: CopyState) -> None:
    with source_tree.read(source, state) as entries:
        with map_io_errors(source.named, target.named):
            first = next(entries)
        refuse_device(source, first.mode, state.owner)
        writing = target_tree.write(target, source, state, is_directory=first.is_directory)
        with writing as put, map_io_errors(source.named, target.named):
            put(chain([first], entries))
    warn_of_left_out(state.left_out)

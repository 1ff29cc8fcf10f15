"""``cp``: between a container and this machine, both ways, by Docker's rules.

What is copied from and to is held by descriptors all the way (``files``): however the container lays and changes its
links meanwhile, nothing of the host's is read or written for it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from bento.engine.files import container_root
from bento.engine.files import copying_by_tar as by_tar
from bento.engine.files.copy_path import (
    CopyOptions,
    CopyPath,
    archive_words,
    buffered,
    explained,
    machine,
    map_io_errors,
    refuse_device,
    warn_of_left_out,
)
from bento.files.place import Placer
from bento.files.tarin import read_tar
from bento.files.tarout import TarWriter
from bento.files.walk import walk

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.files.container_root import ContainerRoot

__all__ = ["CopyOptions", "archive_in", "archive_out", "copy_in", "copy_out"]


def copy_out(drivers: Drivers, ref: str, path: str, target: str, options: CopyOptions) -> None:
    """Copy a file or directory of a container to this machine. Blocks.

    Raises NotFound (also for paths), Conflict, WrongState, StorageUnusable, KernelError; of a virtual container that
    runs MissingTool and RuntimeFailed, too. What was copied by then stays.
    """
    owner = None if options.archive else (os.geteuid(), os.getegid())
    if container := by_tar.out_of_reach(drivers, ref):
        with explained(), machine(target) as there:
            by_tar.copy_out(drivers, container, path, there, options, owner)
        return
    with explained(), container_root.opened(drivers, ref) as box, machine(target) as there:
        _copy(CopyPath(box.root_fd, path, _where(box)), there, box, options, owner)


def copy_in(drivers: Drivers, ref: str, source: str, path: str, options: CopyOptions) -> None:
    """Copy a file or directory of this machine into a container; as ``copy_out``."""
    owner = None if options.archive else (0, 0)
    if container := by_tar.out_of_reach(drivers, ref):
        with explained(), machine(source) as here:
            by_tar.copy_in(drivers, container, here, path, options, owner)
        return
    with explained(), container_root.opened(drivers, ref) as box, machine(source) as here:
        _copy(here, CopyPath(box.root_fd, path, _where(box)), box, options, owner)


def archive_out(drivers: Drivers, ref: str, path: str, fd: int, options: CopyOptions) -> None:
    """Write a file or directory of a container to ``fd`` as a tar archive; as ``copy_out``."""
    if container := by_tar.out_of_reach(drivers, ref):
        with explained():
            by_tar.archive_out(drivers, container, path, fd, options)
        return
    with explained(), container_root.opened(drivers, ref) as box:
        source = CopyPath(box.root_fd, path, _where(box))
        source_fd = source.open_source(follow=options.follow)
        try:
            writer = TarWriter(lambda data: box.write(fd, data))
            with map_io_errors(source.named, archive_words):
                writer.add_all(walk(source_fd, check=box.check), "." if source.wants_content else source.name or ".")
                writer.close()
        finally:
            os.close(source_fd)


def archive_in(drivers: Drivers, ref: str, fd: int, path: str) -> None:
    """Unpack a tar archive, plain or compressed, from ``fd`` into a directory of a container. Owners are kept.

    As ``copy_out``; raises UsageError for what is no archive.
    """
    if container := by_tar.out_of_reach(drivers, ref):
        with explained():
            by_tar.archive_in(drivers, container, fd, path)
        return
    with explained(), container_root.opened(drivers, ref) as box:
        target = CopyPath(box.root_fd, path, _where(box))
        target.wants_directory = True
        target_fd = target.open_source(follow=True)
        placer = Placer(target_fd)
        try:
            stream = buffered(lambda size: box.read(fd, size))
            with map_io_errors(archive_words, target.named):
                placer.put_all(read_tar(stream, archive_words()), makes_parents=True)
        finally:
            placer.close()
            os.close(target_fd)


def _copy(
    source: CopyPath, target: CopyPath, box: ContainerRoot, options: CopyOptions, owner: tuple[int, int] | None
) -> None:
    source_fd = source.open_source(follow=options.follow)
    try:
        mode = os.fstat(source_fd).st_mode
        refuse_device(source, mode, owner)
        target_fd, name = target.open_target(source, is_directory=stat.S_ISDIR(mode))
        try:
            placer = Placer(target_fd, owner=owner, keeps_modes=target.is_machine)
            try:
                with map_io_errors(source.named, target.named):
                    placer.put_all(walk(source_fd, left_out=placer.made, check=box.check), name)
            finally:
                placer.close()
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)
    warn_of_left_out(placer.left_out)


def _where(box: ContainerRoot) -> str:
    return f"in container {box.container.name}"

"""``cp``: between a container and this machine, both ways, by Docker's rules.

What is copied from and to is held by descriptors all the way (``files``): however the container lays and changes its
links meanwhile, nothing of the host's is read or written for it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from bento.engine import copying_by_tar as by_tar
from bento.engine import inside
from bento.engine.copy_ends import (
    CopyOptions,
    End,
    archive_words,
    buffered,
    explained,
    machine,
    refuse_device,
    told,
    warn_of_left_out,
)
from bento.files.place import Placer
from bento.files.tarin import read_tar
from bento.files.tarout import TarWriter
from bento.files.walk import walk

if TYPE_CHECKING:
    from bento.engine.inside import Inside
    from bento.engine.parts import Parts

__all__ = ["CopyOptions", "archive_in", "archive_out", "copy_in", "copy_out"]


def copy_out(parts: Parts, ref: str, path: str, target: str, options: CopyOptions) -> None:
    """Copy a file or directory of a container to this machine. Blocks.

    Raises NotFound (also for paths), Conflict, WrongState, StorageUnusable, KernelError; of a virtual container that
    runs MissingTool and RuntimeFailed, too. What was copied by then stays.
    """
    owner = None if options.archive else (os.geteuid(), os.getegid())
    if container := by_tar.out_of_reach(parts, ref):
        with explained(), machine(target) as there:
            by_tar.copy_out(parts, container, path, there, options, owner)
        return
    with explained(), inside.opened(parts, ref) as box, machine(target) as there:
        _copy(End(box.root_fd, path, _where(box)), there, box, options, owner)


def copy_in(parts: Parts, ref: str, source: str, path: str, options: CopyOptions) -> None:
    """Copy a file or directory of this machine into a container; as ``copy_out``."""
    owner = None if options.archive else (0, 0)
    if container := by_tar.out_of_reach(parts, ref):
        with explained(), machine(source) as here:
            by_tar.copy_in(parts, container, here, path, options, owner)
        return
    with explained(), inside.opened(parts, ref) as box, machine(source) as here:
        _copy(here, End(box.root_fd, path, _where(box)), box, options, owner)


def archive_out(parts: Parts, ref: str, path: str, fd: int, options: CopyOptions) -> None:
    """Write a file or directory of a container to ``fd`` as a tar archive; as ``copy_out``."""
    if container := by_tar.out_of_reach(parts, ref):
        with explained():
            by_tar.archive_out(parts, container, path, fd, options)
        return
    with explained(), inside.opened(parts, ref) as box:
        source = End(box.root_fd, path, _where(box))
        source_fd = source.open_source(follow=options.follow)
        try:
            writer = TarWriter(lambda data: box.write(fd, data))
            with told(source.named, archive_words):
                writer.add_all(walk(source_fd, check=box.check), "." if source.wants_content else source.name or ".")
                writer.close()
        finally:
            os.close(source_fd)


def archive_in(parts: Parts, ref: str, fd: int, path: str) -> None:
    """Unpack a tar archive, plain or compressed, from ``fd`` into a directory of a container. Owners are kept.

    As ``copy_out``; raises UsageError for what is no archive.
    """
    if container := by_tar.out_of_reach(parts, ref):
        with explained():
            by_tar.archive_in(parts, container, fd, path)
        return
    with explained(), inside.opened(parts, ref) as box:
        target = End(box.root_fd, path, _where(box))
        target.wants_directory = True
        target_fd = target.open_source(follow=True)
        placer = Placer(target_fd)
        try:
            stream = buffered(lambda size: box.read(fd, size))
            with told(archive_words, target.named):
                placer.put_all(read_tar(stream, archive_words()), makes_parents=True)
        finally:
            placer.close()
            os.close(target_fd)


def _copy(source: End, target: End, box: Inside, options: CopyOptions, owner: tuple[int, int] | None) -> None:
    source_fd = source.open_source(follow=options.follow)
    try:
        mode = os.fstat(source_fd).st_mode
        refuse_device(source, mode, owner)
        target_fd, name = target.open_target(source, is_directory=stat.S_ISDIR(mode))
        try:
            placer = Placer(target_fd, owner=owner, keeps_modes=target.is_machine)
            try:
                with told(source.named, target.named):
                    placer.put_all(walk(source_fd, left_out=placer.made, check=box.check), name)
            finally:
                placer.close()
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)
    warn_of_left_out(placer.left_out)


def _where(box: Inside) -> str:
    return f"in container {box.container.name}"

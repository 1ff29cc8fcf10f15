"""Where a root filesystem with other ids is mounted, and how.

Root of a user namespace is another user of the machine, which cannot go through the directories of the engine's root:
they are for root alone. So it is mounted on a directory of the machine's that each user may go through, in the private
mount namespace; and what else the runtime is to mount, in a small tmpfs on another one. On the disk nothing is made.
(runc 1.1 changes to the path of a root filesystem as it is outside, for each exec: it has to be there.)

The overlay has idmapped mounts of the layers, and of the directory that holds upper and work: ids on the disk are those
of the container, so layers are shared, and the files of a container are read and committed as any other's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from bento.drivers.storage.base import UPPER_IN_VIEW, VIEW_SOURCE, MappedRoot
from bento.errors import KernelError, StorageUnusable
from bento.kernel import covering, idmapped, libc
from bento.kernel.mount import detach, overlay

_NEEDED: Final = 2


def make_view(container_id: str, kept: Iterable[Path]) -> MappedRoot:
    """Choose the places for what is of one container, and make its view, in the calling thread's private namespace."""
    needed = (*map(str, kept), sys.prefix, sys.base_prefix, __file__)
    rootfs, place = covering.choose(_NEEDED, needed)
    libc.mount(VIEW_SOURCE, place, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=711,size=4m")
    view = Path(place) / container_id
    make_point(view)
    return MappedRoot(Path(rootfs), view)


def mount_overlay(
    chosen: MappedRoot, bundle: Path, layers: Sequence[str], namespace_fd: int, owner: tuple[int, int]
) -> None:
    """Mount the root filesystem of a bundle. Raises KernelError, StorageUnusable, OSError."""
    view, rootfs = chosen.view, chosen.rootfs
    points = [view / "top", *(view / f"layer-{number}" for number in range(len(layers)))]
    try:
        for point, source in zip(points, (str(bundle), *layers), strict=True):
            make_point(point)
            fd = idmapped.open_tree(source, namespace_fd, recursive=False)
            try:
                libc.move_mount(fd, str(point))
            finally:
                os.close(fd)
        # What overlayfs makes for itself belongs to the thread that mounts, and root has no id in these mounts.
        with idmapped.making_files_as(owner):
            lower = [str(point) for point in points[1:]]
            overlay(rootfs, lower=lower, upper=view / UPPER_IN_VIEW, work=view / "top" / "work")
    except KernelError as error:
        if error.call == "mount_setattr" or error.call.startswith("fsconfig"):
            raise cannot(error) from error
        raise
    for point in points:
        detach(point)  # the overlay has copies of its own
        point.rmdir()
    if os.statvfs(rootfs).f_flag & os.ST_RDONLY:  # what a kernel does that cannot make its working directory
        raise cannot(None)


def make_point(path: Path, *, is_directory: bool = True) -> None:
    """Make a place to mount on, which each user may go through."""
    if is_directory:
        path.mkdir(mode=0o711)
        path.chmod(0o711)
    else:
        path.touch(mode=0o600)


def cannot(error: KernelError | None) -> StorageUnusable:
    """Return what is said where it cannot be had."""
    reason = f": {error.message}" if error else ""
    return StorageUnusable(
        f"this kernel, or the filesystem of the root, has no overlay on idmapped mounts{reason}",
        hint="omit --userns; it needs Linux 5.19 or newer, and ext4, xfs or btrfs",
    )

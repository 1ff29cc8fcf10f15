"""Mounts: the overlay and its release. ``mountinfo`` reads the tables of what is mounted where."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bento.errors import KernelError
from bento.kernel import libc, mountinfo
from bento.kernel.libc import open_tree

__all__ = [
    "bind",
    "hide",
    "is_shared",
    "is_upper_in_use",
    "open_tree",
    "overlay",
    "refuse_devices",
    "refuse_writes",
    "unmount",
]

_VALUE_LIMIT: Final = 255
"""Bytes of one fsconfig(2) string (fs/fsopen.c copies at most 256 with the final zero)."""
_DATA_LIMIT: Final = 4095
"""Bytes of mount(2)'s option string: a page."""
_PLAIN: Final = ("redirect_dir", "metacopy")
"""With these, which some kernels have on, a file of the upper directory could be the half of one below: the layer that
``commit`` makes of that directory must stand for itself."""
_SPECIAL: Final = re.compile(r"[\\,:]")
"""What overlayfs or the option parser gives a meaning inside a path."""


def overlay(target: Path, *, lower: Sequence[str], upper: Path | None = None, work: Path | None = None) -> None:
    """Mount an overlay at ``target`` in the calling thread's mount namespace.

    ``lower`` is topmost first. All are existing directories; ``upper`` and ``work`` are on the same filesystem; without
    these two it is read-only, and ``lower`` has two at least. Nothing keeps a second mount from using the same
    ``upper``: the caller holds the container's lock. Raises KernelError.
    """
    try:
        _overlay_by_layer(target, lower=lower, upper=upper, work=work)
    except KernelError as error:
        if error.errno == errno.ENOSYS or (error.errno == errno.EINVAL and not _knows_lowerdir_add()):
            _overlay_by_string(target, lower=lower, upper=upper, work=work)
        else:
            raise


def is_upper_in_use(upper: Path) -> bool:
    """Whether an overlay that lives in any mount namespace of this machine writes to ``upper``.

    Asks the kernel for a superblock it must refuse: with ``index=on`` a busy upper directory is
    refused with EBUSY, and right after that check a work directory equal to the upper one is
    refused with EINVAL, before anything was written (fs/overlayfs/super.c, ovl_get_upper and
    ovl_get_workdir). About 1 ms; no side effects but a line in the kernel log. A mount of the
    same ``upper`` made in the very same moment would go unmarked: hold the container's lock.
    False when there is no such directory. Raises KernelError when it cannot be asked.
    """
    with ExitStack() as stack:
        try:
            path = _as_link(str(upper), stack)
        except (FileNotFoundError, NotADirectoryError):
            return False
        fs_fd = libc.fsopen("overlay")
        stack.callback(os.close, fs_fd)
        try:
            for key in ("lowerdir", "upperdir", "workdir"):
                libc.fsconfig_set(fs_fd, key, path)
            libc.fsconfig_set(fs_fd, "index", "on")
            libc.fsconfig_create(fs_fd)
        except KernelError as error:
            if error.errno not in (errno.EBUSY, errno.EINVAL):
                raise
            return error.errno == errno.EBUSY
    raise KernelError("fsconfig create", 0, "an overlay without a work directory was accepted", path=str(upper))


def unmount(target: Path) -> None:
    """Unmount what is on top at ``target``, now or not at all: a lazy unmount would hide what holds it."""
    libc.umount2(str(target), libc.UMOUNT_NOFOLLOW)


def detach(target: Path) -> None:
    """Take away what is on top at ``target``, now; it is gone when the last process lets go of it.

    For a mount of the caller's alone: a fork in another thread has a copy of its descriptor until it executes, and
    would keep ``unmount`` from it.
    """
    libc.umount2(str(target), libc.MNT_DETACH | libc.UMOUNT_NOFOLLOW)


def is_shared(path: str) -> bool:
    """Whether what is mounted below ``path`` reaches other namespaces (mount_namespaces(7)). Raises OSError."""
    return "shared:" in mountinfo.of_path(path).peers


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Mount a file or directory, with all that is mounted below it, in the calling thread's mount namespace."""
    libc.mount(source, target, "", libc.MS_BIND | libc.MS_REC)
    if read_only:
        refuse_writes(target)


def refuse_writes(target: str) -> None:
    """Make the mount at ``target`` read-only in the calling thread's mount namespace; not those below it."""
    libc.mount("", target, "", libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY)


def hide(target: str) -> None:
    """Mount something empty and read-only on a directory, in the calling thread's mount namespace."""
    libc.mount("tmpfs", target, "tmpfs", libc.MS_RDONLY, "size=4k,mode=700")


def refuse_devices(target: Path) -> None:
    """Make device nodes on the mount at ``target`` useless (nodev), in the calling thread's mount namespace."""
    libc.mount("", str(target), "", libc.MS_REMOUNT | libc.MS_BIND | libc.MS_NODEV)


def _overlay_by_layer(target: Path, *, lower: Sequence[str], upper: Path | None, work: Path | None) -> None:
    """The way of Linux 6.8 and newer: one option per layer, as many as the kernel allows (500)."""
    with ExitStack() as stack:
        fs_fd = libc.fsopen("overlay")
        stack.callback(os.close, fs_fd)
        libc.fsconfig_set(fs_fd, "source", "overlay")
        for layer in lower:
            libc.fsconfig_set(fs_fd, "lowerdir+", _as_option(layer, stack))
        for key, path in (("upperdir", upper), ("workdir", work)):
            if path is not None:
                libc.fsconfig_set(fs_fd, key, _as_option(str(path), stack))
        # The index is for hard links and NFS; it ties an upper directory to one lower filesystem for ever.
        for key in ("index", *_PLAIN):
            libc.fsconfig_set(fs_fd, key, "off")
        libc.fsconfig_create(fs_fd)
        mount_fd = libc.fsmount(fs_fd)
        stack.callback(os.close, mount_fd)
        libc.move_mount(mount_fd, str(target))


def _overlay_by_string(target: Path, *, lower: Sequence[str], upper: Path | None, work: Path | None) -> None:
    """The way of older kernels: all in one page of options."""
    with ExitStack() as stack:
        off = "".join(f",{key}=off" for key in ("index", *_PLAIN))
        writable = (("upperdir", upper), ("workdir", work))
        own = ",".join(f"{key}={_as_option(str(path), stack)}" for key, path in writable if path is not None) + off
        layers = ":".join(_as_option(layer, stack) for layer in lower)
        if len(os.fsencode(own + layers)) > _DATA_LIMIT - len(",lowerdir="):
            layers = ":".join(_as_link(layer, stack) for layer in lower)
        libc.mount("overlay", str(target), "overlay", 0, f"{own},lowerdir={layers}")


def _knows_lowerdir_add() -> bool:
    """Whether this kernel has ``lowerdir+``. Linux 6.5-6.7 refuse the name; older ones take any text at first."""
    fs_fd = libc.fsopen("overlay")
    try:
        libc.fsconfig_set(fs_fd, "lowerdir+", "/dev/null/not-a-directory")
    except KernelError as error:
        return error.errno == errno.ENOTDIR
    finally:
        os.close(fs_fd)
    return False


def _as_option(path: str, stack: ExitStack) -> str:
    """Return how to write a path in an option: as it is where possible, because mount tables show it."""
    if len(os.fsencode(path)) <= _VALUE_LIMIT and not _SPECIAL.search(path):
        return path
    return _as_link(path, stack)


def _as_link(path: str, stack: ExitStack) -> str:
    """Return a short path to the same directory, good until ``stack`` ends."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return f"/proc/self/fd/{fd}"

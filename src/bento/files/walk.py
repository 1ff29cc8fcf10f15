"""Reading a tree that somebody may be changing at the same time, to deceive us or not.

Every name is opened once, without following a link, and all else is asked of that descriptor; content is read through
it only once it is known to be a regular file's: to open a device can be to act on it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from typing import Final

from bento.errors import KernelError
from bento.files.entry import KEPT_XATTRS, Entry, FileBody, nothing
from bento.kernel.rootfs import open_without_links

_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What a name that was listed a moment ago says when the file was taken away, or another put in its place."""

Identity = tuple[int, int]  # device and inode


def walk(
    top_fd: int,
    *,
    left_out: Collection[Identity] = (),
    reads: bool = True,
    check: Callable[[], object] = nothing,
) -> Iterator[Entry]:
    """Yield what ``top_fd`` (O_PATH will do) is and, when it is a directory, all below it: parents first, by name.

    Crosses mounts, follows no symbolic link; sockets are left out, and what vanishes meanwhile. Files with several
    names come once, then as links to the first.

    Args:
        top_fd: stays the caller's, and open.
        left_out: directories that are not entered and not named.
        reads: open files for their content; else ``body`` is None.
        check: called before each file and each piece of content; what it raises ends the walk.

    Raises OSError, KernelError (ENAMETOOLONG for a path beyond 4096 bytes).
    """
    first: dict[Identity, str] = {}
    pending = [""]
    while pending:
        check()
        path = pending.pop()
        try:
            fd = open_without_links(top_fd, path, os.O_PATH | os.O_NOFOLLOW) if path else os.dup(top_fd)
        except KernelError as error:
            if error.errno in _GONE:
                continue
            raise
        try:
            status = os.fstat(fd)
            if stat.S_ISSOCK(status.st_mode) or (status.st_dev, status.st_ino) in left_out:
                continue
            yield from _one(fd, path, status, first, check if reads else None)
            if stat.S_ISDIR(status.st_mode):
                pending += [f"{path}/{name}" if path else name for name in _names(fd)]
        finally:
            os.close(fd)


def read_entry(fd: int, path: str, status: os.stat_result) -> Entry:
    """Return what a descriptor (O_PATH will do) holds, without its content. Raises OSError."""
    mode = status.st_mode
    return Entry(
        path=path,
        mode=mode,
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if stat.S_ISREG(mode) else 0,
        taken_bytes=status.st_blocks * 512,  # whatever the filesystem's blocks are: stat(2)
        device=status.st_rdev if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else 0,
        target=os.readlink("", dir_fd=fd) if stat.S_ISLNK(mode) else "",
        xattrs=_xattrs(fd),
    )


def _one(
    fd: int, path: str, status: os.stat_result, first: dict[Identity, str], check: Callable[[], object] | None
) -> Iterator[Entry]:
    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
        name = first.setdefault((status.st_dev, status.st_ino), path)
        if name != path:
            yield Entry(path=path, mode=status.st_mode, device=status.st_rdev, link=name)
            return
    entry = read_entry(fd, path, status)
    if check is None or not (stat.S_ISREG(status.st_mode)):
        yield entry
        return
    content = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)  # the very file that was looked at
    try:
        entry.body = FileBody(content, entry.size, check)
        yield entry
    finally:
        os.close(content)


def _names(fd: int) -> list[str]:
    """Return the names in a directory, the last one first."""
    try:
        listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    except FileNotFoundError:  # it was removed
        return []
    try:
        return sorted(os.listdir(listing), reverse=True)
    finally:
        os.close(listing)


def _xattrs(fd: int) -> dict[str, bytes]:
    path = f"/proc/self/fd/{fd}"  # the file itself, a symbolic link too: the jump ends there
    try:
        names = os.listxattr(path)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM, errno.EACCES):
            return {}
        raise
    kept = {}
    for name in names:
        if name.startswith(KEPT_XATTRS):
            try:
                kept[name] = os.getxattr(path, name)
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                    raise
    return kept

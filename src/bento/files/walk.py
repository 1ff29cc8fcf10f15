"""Reading a tree that other processes may be changing at the same time, to deceive us or not.

Every name is opened once, in the open directory that it was found in, without following a link, and all else is asked
of that descriptor; content is read through it only once it is known to be a regular file's: to open a device can be to
act on it.

What the kernel makes up as it is read (/proc, /sys and their kin) belongs to no tree of files: it is not walked into
from outside, and where it was named itself, it is read to its end, because the size that it says is none.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Final

from bento.errors import KernelError
from bento.files.entry import CHUNK_BYTES, KEPT_XATTRS, BytesBody, Entry, FileBody, nothing, unreadable
from bento.files.rootfs import open_without_links, reopen
from bento.files.way import Way, joined
from bento.kernel.made_up import is_made_up

_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What a name that was listed a moment ago says when the file was removed, or another put in its place."""
_VANISHED: Final = (FileNotFoundError, ProcessLookupError)
"""The same of a file that was opened: a process's in /proc that has ended."""

_MADE_UP_BYTES: Final = 64 << 20  # at most, of one file

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
    names come once, then as links to the first. Where something like /proc is mounted there is an empty directory.

    Args:
        top_fd: stays the caller's, and open.
        left_out: directories that are not entered and not named.
        reads: open files for their content; else ``body`` is None.
        check: called before each file and each piece of content; what it raises ends the walk.

    Any depth needs some twenty open descriptors. Raises KernelError by the path of the file (ENAMETOOLONG for one of
    more than PATH_MAX_BYTES).
    """
    first: dict[Identity, str] = {}
    filesystems = _Filesystems(top_fd)
    here = ""  # the directory that was listed last: all that is pending lies in it, or in one that it is in
    pending = [(0, "")]  # how much of that path leads to the directory of each name, and the name
    with Way(top_fd) as way:
        while pending:
            check()
            length, name = pending.pop()
            path = joined(here[:length], name)
            fd = _open(way, here[:length], name, path) if name else os.dup(top_fd)
            if fd is None:
                continue
            try:
                status = os.fstat(fd)
                if stat.S_ISSOCK(status.st_mode) or (status.st_dev, status.st_ino) in left_out:
                    continue
                is_made_up, is_entered = filesystems.look(fd, status.st_dev)
                if is_entered or stat.S_ISDIR(status.st_mode):
                    yield from _one(fd, path, status, first, check if reads else None, is_made_up=is_made_up)
                if is_entered and stat.S_ISDIR(status.st_mode):
                    here = path
                    pending += [(len(path), each) for each in _names(fd)]
            except OSError as error:
                if path and isinstance(error, _VANISHED):
                    continue
                raise unreadable(error, path) from error
            finally:
                os.close(fd)


def _open(way: Way, directory: str, name: str, path: str) -> int | None:
    """Return an O_PATH descriptor of a name that was listed; None when it is not there any more."""
    try:
        return open_without_links(way.enter(directory), name, os.O_PATH | os.O_NOFOLLOW)
    except KernelError as error:
        if error.errno in _GONE:
            return None
        raise unreadable(error, path) from None


class _Filesystems:
    """Those that a walk meets, each asked once what it is."""

    def __init__(self, top_fd: int) -> None:
        self._top = os.fstat(top_fd).st_dev
        self._known: dict[int, bool] = {}

    def look(self, fd: int, device: int) -> tuple[bool, bool]:
        """Return whether the kernel makes up what is on a filesystem, and whether it is walked into all the same."""
        if device not in self._known:
            self._known[device] = is_made_up(fd)
        return self._known[device], device == self._top or not self._known[device]


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
    fd: int,
    path: str,
    status: os.stat_result,
    first: dict[Identity, str],
    check: Callable[[], object] | None,
    *,
    is_made_up: bool,
) -> Iterator[Entry]:
    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
        name = first.setdefault((status.st_dev, status.st_ino), path)
        if name != path:
            # All is said of it again: some, such as Podman, give the file what the last of its entries says.
            entry = read_entry(fd, path, status)
            entry.link, entry.size, entry.taken_bytes = name, 0, 0
            yield entry
            return
    entry = read_entry(fd, path, status)
    if check is None or not (stat.S_ISREG(status.st_mode)):
        yield entry
        return
    content = reopen(fd, os.O_RDONLY | (os.O_NONBLOCK if is_made_up else 0))  # to read /proc/kmsg is to wait
    try:
        if is_made_up:
            data = _read_whole(content, path, check)
            entry.size, entry.body = len(data), BytesBody(data)
        else:
            entry.body = FileBody(content, entry.size, check, path)
        yield entry
    finally:
        os.close(content)


def _read_whole(fd: int, path: str, check: Callable[[], object]) -> bytes:
    content = bytearray()
    with suppress(BlockingIOError):
        while data := os.read(fd, CHUNK_BYTES):
            check()
            content += data
            if len(content) > _MADE_UP_BYTES:
                raise KernelError("read", errno.EFBIG, "it has no end that could be waited for", path=path)
    return bytes(content)


def _names(fd: int) -> list[str]:
    """Return the names in a directory, the last one first; none when it was removed."""
    try:
        listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    except _VANISHED:
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

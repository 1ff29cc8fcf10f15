"""Being woken when a file grows or a filesystem goes (inotify(7))."""

from __future__ import annotations

import os
import select
from pathlib import Path

from bento.kernel import libc

_IN_MODIFY = 0x2
_IN_ATTRIB = 0x4
_IN_CLOSE_WRITE = 0x8
_IN_DELETE_SELF = 0x400


def watch_unmount(path: str) -> int:
    """Return a descriptor that becomes readable when the filesystem of ``path`` has no mount left anywhere.

    The event is IN_UNMOUNT, sent with every watch when the superblock goes, and that goes with its last
    mount in the last mount namespace. A watch does not keep the filesystem busy. The caller closes it.
    """
    return _watch(path, _IN_DELETE_SELF)


def watch_let_go(path: str) -> int:
    """Return a descriptor that becomes readable when a writer closes the file, or the file is unlinked.

    Also a writer that is killed closes it. The caller closes the descriptor. Raises KernelError.
    """
    return _watch(path, _IN_CLOSE_WRITE | _IN_ATTRIB | _IN_DELETE_SELF)


def _watch(path: str, mask: int) -> int:
    fd = libc.inotify_init()
    try:
        libc.inotify_add_watch(fd, path, mask)
    except BaseException:
        os.close(fd)
        raise
    return fd


def watch_gone(path: str) -> int:
    """Return a descriptor that becomes readable when the file or directory is removed. The caller closes it."""
    return _watch(path, _IN_DELETE_SELF)


class FileWatch:
    """Waits for writes to one file. A context; not for several threads at once."""

    def __init__(self, path: Path) -> None:
        self._fd = _watch(str(path), _IN_MODIFY)

    def wait(self, other_fd: int) -> None:
        """Block until the file was written to since the last call, or ``other_fd`` is readable."""
        poller = select.poll()  # select(2) knows no descriptor above 1023
        for fd in (self._fd, other_fd):
            poller.register(fd, select.POLLIN)
        if any(fd == self._fd for fd, _ in poller.poll()):
            os.read(self._fd, 4096)

    def __enter__(self) -> FileWatch:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

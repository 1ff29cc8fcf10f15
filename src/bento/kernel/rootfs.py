"""Files inside a container's root filesystem, opened from outside as if that were ``/``.

Whatever symbolic links its owner has laid, ``/etc/passwd -> /../../host`` included, they end inside it:
openat2(2) with RESOLVE_IN_ROOT (Linux 5.6).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from bento.errors import KernelError
from bento.kernel import libc

_RESOLVE: Final = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS
_NO_LINKS: Final = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS | libc.RESOLVE_NO_MAGICLINKS
_BENEATH: Final = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_MAGICLINKS
_TRIES: Final = 64  # EAGAIN: a rename or mount elsewhere on the machine raced with a ".." of the path
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def open_in_root(root: Path, path: str, flags: int) -> int:
    """Open ``path`` inside ``root``; return a close-on-exec descriptor the caller closes.

    Does not create files. Raises KernelError with the kernel's errno: ENOENT, ENOTDIR, ELOOP ...
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _open(root_fd, path, flags)
    finally:
        os.close(root_fd)


def open_in(root_fd: int, path: str, flags: int) -> int:
    """As ``open_in_root``, for a root that is open already."""
    return _open(root_fd, path, flags)


def open_without_links(directory_fd: int, path: str, flags: int) -> int:
    """Open what lies below a directory, following no symbolic link at all; "" is the directory itself, anew.

    Return a close-on-exec descriptor the caller closes. Does not create files. Raises KernelError: ELOOP for a link
    on the way, EXDEV for a path that leaves the directory, ENOENT, ENOTDIR ...
    """
    return _open(directory_fd, path or ".", flags, _NO_LINKS)


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open ``path`` below the open ``directory``; return a close-on-exec descriptor the caller closes.

    Links that stay below it are followed. Raises KernelError: EXDEV for one that leads out, ENOENT, ENOTDIR, ELOOP ...
    """
    return _open(directory, path, flags, _BENEATH)


def read_in_root(root: Path, path: str, *, limit_bytes: int = 4 << 20) -> bytes | None:
    """Return what a regular file inside ``root`` holds, at most ``limit_bytes``; None when there is no such file."""
    try:
        # O_NONBLOCK: a FIFO in the file's place must not hang us.
        fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except KernelError as error:
        if error.errno in _ABSENT:
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        content = bytearray()
        while len(content) < limit_bytes and (chunk := os.read(fd, limit_bytes - len(content))):
            content += chunk
        return bytes(content)
    finally:
        os.close(fd)


def mkdir_in_root(root: Path, path: str, mode: int = 0o755) -> None:
    """Make a directory inside ``root``, with its parents. Idempotent. Symbolic links on the way are followed inside.

    Raises KernelError: ENOTDIR when a file is in the way, ENOENT when a dangling link is.
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    parent_fd = os.dup(root_fd)
    done = ""
    try:
        for name in (part for part in os.path.normpath(f"/{path}").split("/") if part):
            done = f"{done}/{name}"
            next_fd = _enter(root_fd, parent_fd, done, name, mode)
            os.close(parent_fd)
            parent_fd = next_fd
    finally:
        os.close(parent_fd)
        os.close(root_fd)


def _enter(root_fd: int, parent_fd: int, path: str, name: str, mode: int) -> int:
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return _open(root_fd, path, flags)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    try:
        with suppress(FileExistsError):  # somebody else made it meanwhile, or it is a dangling link: openat2 will say
            os.mkdir(name, mode, dir_fd=parent_fd)
    except OSError as error:
        raise KernelError("mkdir", error.errno or 0, error.strerror or "", path=path) from error
    return _open(root_fd, path, flags)


def _open(root_fd: int, path: str, flags: int, resolve: int = _RESOLVE) -> int:
    for attempt in range(_TRIES):
        try:
            return libc.openat2(root_fd, path, flags | os.O_CLOEXEC, resolve=resolve)
        except KernelError as error:
            if error.errno != errno.EAGAIN or attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")

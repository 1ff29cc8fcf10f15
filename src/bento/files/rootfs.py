"""Files inside a container's root filesystem, opened from outside as if that were ``/``.

Whatever symbolic links the container has made, ``/etc/passwd -> /../../host`` included, they end inside it:
openat2(2) with RESOLVE_IN_ROOT (Linux 5.6).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bento.errors import KernelError
from bento.kernel import libc
from bento.kernel.made_up import is_made_up

_RESOLVE: Final = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS
_NO_LINKS: Final = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS | libc.RESOLVE_NO_MAGICLINKS
_BENEATH: Final = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_MAGICLINKS
_TRIES: Final = 64  # EAGAIN: a rename or mount elsewhere on the machine raced with a ".." of the path
_LINKS_MAX: Final = 40  # as the kernel's own (path_resolution(7))
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def open_in_root(root: Path, path: str, flags: int) -> int:
    """Open ``path`` inside ``root``; return a close-on-exec descriptor the caller closes.

    Does not create files. Raises KernelError with the kernel's errno: ENOENT, ENOTDIR, ELOOP ...
    """
    with _opened(root) as root_fd:
        return _open(root_fd, path, flags)


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


def reopen(fd: int, flags: int) -> int:
    """Open the very file that an O_PATH descriptor stands for; return a close-on-exec descriptor the caller closes.

    For a caller that has looked at it first (fstat(2)): to open what a container has put somewhere can be to act on a
    device of the host, outside the container's device cgroup, or to wait for the other end of a FIFO. Raises OSError.
    """
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)


def read_in_root(root: Path, path: str, *, limit_bytes: int = 4 << 20) -> bytes | None:
    """Return what a regular file inside ``root`` holds, at most ``limit_bytes``; None when there is no such file.

    Any other kind is not opened; nor is what the kernel makes up: to read /proc/kmsg takes it from its reader.
    """
    try:
        fd = open_in_root(root, path, os.O_PATH)
    except KernelError as error:
        if error.errno in _ABSENT:
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or is_made_up(fd):
            return None
        with open(reopen(fd, os.O_RDONLY), "rb", buffering=0) as file:
            content = bytearray()
            while len(content) < limit_bytes and (chunk := file.read(limit_bytes - len(content))):
                content += chunk
            return bytes(content)
    finally:
        os.close(fd)


def mkdir_in_root(root: Path, path: str) -> None:
    """Make a directory inside ``root``, with its parents. Idempotent. Symbolic links on the way are followed inside;
    where one dangles, what it points to is made.

    Raises KernelError: ENOTDIR when a file is in the way, ELOOP.
    """
    with _opened(root) as root_fd:
        _make(root_fd, os.path.normpath(f"/{path}"), _DIRECTORY)


def touch_in_root(root: Path, path: str) -> None:
    """Make an empty file inside ``root`` when nothing is there; else as ``mkdir_in_root``."""
    with _opened(root) as root_fd:
        _make(root_fd, os.path.normpath(f"/{path}"), os.O_PATH)


def mend_in_root(root: Path, path: str, *, is_directory: bool = True) -> None:
    """Make what a dangling link on the way of ``path`` points to; nothing where only names are missing.

    ``is_directory``: what is to be there when it is the last name that dangles; else an empty file.
    Raises KernelError: ENOTDIR when a file is in the way, ELOOP.
    """
    with _opened(root) as root_fd:
        done = ""
        names = _names(os.path.normpath(f"/{path}"))
        for number, name in enumerate(names, start=1):
            parent, done = done, f"{done}/{name}"
            flags = os.O_PATH if number == len(names) and not is_directory else _DIRECTORY
            if _is_there(root_fd, done, flags):
                continue
            target = _read_link(root_fd, parent, name)
            if target is None:
                return
            _make(root_fd, target, flags)


def _make(root_fd: int, path: str, flags: int, links: int = _LINKS_MAX) -> None:
    """Make ``path``, a directory or a file as ``flags`` would open it, and the directories it is in.

    ".." is the kernel's to resolve, behind links, too.
    """
    done = ""
    names = _names(path)
    for number, name in enumerate(names, start=1):
        parent, done = done, f"{done}/{name}"
        kind = flags if number == len(names) else _DIRECTORY
        if _is_there(root_fd, done, kind):
            continue
        target = _read_link(root_fd, parent, name)
        if target is None:
            _make_name(root_fd, parent, name, kind)
        elif links:
            _make(root_fd, target, kind, links - 1)
        else:
            raise KernelError("openat2", errno.ELOOP, os.strerror(errno.ELOOP), path=done)


def _is_there(root_fd: int, path: str, flags: int) -> bool:
    """Whether something is at a path, links followed. Raises KernelError when it is not of the kind that is wanted."""
    try:
        os.close(_open(root_fd, path, flags))
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    return True


def _read_link(root_fd: int, parent: str, name: str) -> str | None:
    """Return where a link leads, as a path inside the root; None of what is no link."""
    parent_fd = _open(root_fd, parent or "/", _DIRECTORY)
    try:
        target = os.readlink(name, dir_fd=parent_fd)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise
        return None
    finally:
        os.close(parent_fd)
    return target if target.startswith("/") else f"{parent}/{target}"


def _make_name(root_fd: int, parent: str, name: str, flags: int) -> None:
    parent_fd = _open(root_fd, parent or "/", _DIRECTORY)
    try:
        with suppress(FileExistsError):  # another process made it meanwhile
            if flags == _DIRECTORY:
                os.mkdir(name, 0o755, dir_fd=parent_fd)
            else:
                os.mknod(name, stat.S_IFREG | 0o644, dir_fd=parent_fd)
    except OSError as error:
        raise KernelError("make", error.errno or 0, error.strerror or "", path=f"{parent}/{name}") from error
    finally:
        os.close(parent_fd)


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


@contextmanager
def _opened(root: Path) -> Iterator[int]:
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield root_fd
    finally:
        os.close(root_fd)


def _open(root_fd: int, path: str, flags: int, resolve: int = _RESOLVE) -> int:
    for attempt in range(_TRIES):
        try:
            return libc.openat2(root_fd, path, flags | os.O_CLOEXEC, resolve=resolve)
        except KernelError as error:
            if error.errno != errno.EAGAIN or attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")

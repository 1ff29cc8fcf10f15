"""The sockets on which the server listens: made here, or handed over by systemd (sd_listen_fds(3))."""

from __future__ import annotations

import fcntl
import grp
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from bento.errors import Conflict, StorageUnusable, UsageError

_FIRST_FD: Final = 3
_MODE: Final = 0o660
_PATH_MAX_BYTES: Final = 107  # sun_path with its null byte (unix(7))
BACKLOG: Final = 4096
"""A client that does not block is refused at once where the queue is full (connect(2), EAGAIN), as Go's are."""


def activated() -> list[socket.socket]:
    """Return the sockets that this process was handed at its start; the variables that say so are removed."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    fds = range(_FIRST_FD, _FIRST_FD + int(count))
    for fd in fds:
        os.set_inheritable(fd, False)
    return [socket.socket(fileno=fd) for fd in fds]


class Listener:
    """A unix socket that this server alone listens on. ``close`` removes it."""

    def __init__(self, path: Path, group: str = "") -> None:
        """Listen. What a server that has died has left there is replaced.

        Raises Conflict where another server listens, UsageError for a path or a group that cannot be had,
        StorageUnusable.
        """
        self.path = path
        if len(os.fsencode(path)) > _PATH_MAX_BYTES:
            raise UsageError(f"the path of the socket is too long: {path}", hint=f"{_PATH_MAX_BYTES} bytes at most")
        gid = _gid(group) if group else 0
        try:
            path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._lock_fd = self._lock()
            try:
                self._clear()
                self.socket = self._bind(gid)
            except BaseException:
                self._unlock()
                raise
        except OSError as error:
            raise StorageUnusable(f"cannot listen on {path}: {error.strerror or error}") from None
        self._made = os.lstat(path)

    def _lock(self) -> int:
        """Return a lock that goes with this process: of two that begin at once one alone gets it."""
        while True:
            fd = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                raise self._taken() from None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), os.lstat(f"{self.path}.lock")):
                    return fd
            os.close(fd)  # its holder has just ended, and removed it

    def _clear(self) -> None:
        """Remove a socket on which nothing listens."""
        try:
            is_socket = stat.S_ISSOCK(os.lstat(self.path).st_mode)
        except FileNotFoundError:
            return
        if not is_socket:
            raise UsageError(f"{self.path} is there, and is no socket", hint="name another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(os.fspath(self.path))
            except (ConnectionRefusedError, FileNotFoundError):
                with suppress(FileNotFoundError):
                    os.unlink(self.path)
                return
            except OSError:  # its queue is full
                raise self._taken() from None
        raise self._taken()

    def _taken(self) -> Conflict:
        return Conflict(f"another server listens on {self.path}", hint="end it, or name another path")

    def _bind(self, gid: int) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o777 & ~_MODE & 0o777)
        try:
            try:
                listener.bind(os.fspath(self.path))
            finally:
                os.umask(before)
            try:
                os.chown(self.path, 0, gid)
                listener.listen(BACKLOG)
            except BaseException:
                os.unlink(self.path)
                raise
        except BaseException:
            listener.close()
            raise
        return listener

    def _unlock(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(f"{self.path}.lock")
        os.close(self._lock_fd)

    def close(self) -> None:
        """Remove the socket, unless another is in its place. Idempotent."""
        if self._lock_fd < 0:
            return
        with suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(self.path), self._made):
                os.unlink(self.path)
        self.socket.close()
        self._unlock()
        self._lock_fd = -1


def _gid(group: str) -> int:
    try:
        return int(group) if group.isascii() and group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(f"there is no group {group!r}", hint="make it by groupadd(8), or name another one") from None

"""Sockets of another process that are shut down from outside (pidfd_getfd(2), shutdown(2))."""

from __future__ import annotations

import _socket  # the C half: the other one costs an import
import os
from collections.abc import Iterable
from contextlib import suppress

from bento.errors import KernelError
from bento.kernel import libc


def shut_down_own(pidfd: int, pid: int, others: Iterable[int]) -> int:
    """Shut down the sockets that a process has and none of ``others``; return how many. Does not block.

    Its peers see the end of the connection, and nothing new is accepted. An unnamed UNIX socket (socketpair(2)) is left
    alone: its peer is most likely a child, to which the end would mean that its parent has died.
    """
    mine = _sockets(pid)
    for other in others:
        for inode in _sockets(other):
            mine.pop(inode, None)
    return sum(_shut_down(pidfd, fd) for fd in mine.values())


def _sockets(pid: int) -> dict[str, int]:
    """Return the descriptors of a process that are sockets, by inode."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{name}")
                if target.startswith("socket:"):
                    found[target] = int(name)
    return found


def _shut_down(pidfd: int, number: int) -> bool:
    try:
        fd = libc.pidfd_getfd(pidfd, number)
    except KernelError:
        return False
    try:
        socket = _socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return False
    try:
        if socket.family == _socket.AF_UNIX and not socket.getsockname():
            return False
        socket.shutdown(_socket.SHUT_RDWR)
    except OSError:  # such as one without a peer
        return False
    finally:
        socket.close()
    return True

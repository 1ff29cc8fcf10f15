"""Sockets of another process that are shut down from outside (pidfd_getfd(2), shutdown(2))."""

from __future__ import annotations

import _socket  # the C half: the other one costs an import
import os
import struct
from collections.abc import Container, Iterable
from contextlib import suppress
from typing import Final

from bento.errors import KernelError
from bento.kernel import libc

_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid


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


def is_pair(pid: int, number: int, makers: Container[int]) -> bool:
    """Whether a descriptor of a process is one end of a socketpair(2) that one of ``makers`` has made.

    Neither end has a name, and the kernel keeps which process made them (SO_PEERCRED, unix(7)). A connection that was
    accepted has a name at one of its ends.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        socket = _socket.socket(fileno=libc.pidfd_getfd(pidfd, number))
    except (OSError, KernelError):
        return False
    finally:
        os.close(pidfd)
    try:
        if socket.family != _socket.AF_UNIX or socket.getsockname() or socket.getpeername():
            return False
        credentials = socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
        return _CREDENTIALS.unpack(credentials)[0] in makers
    except OSError:  # without a peer, or shut down
        return False
    finally:
        socket.close()


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

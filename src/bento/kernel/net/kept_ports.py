"""Sockets by which another process keeps ports of the host, found and copied (pidfd_getfd(2), Linux 5.6)."""

from __future__ import annotations

import _socket
import array
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from bento.errors import KernelError
from bento.kernel import libc

_SO_PEEK_OFF: Final = 42  # asm-generic/socket.h
_MOST_IN_MESSAGE: Final = 253  # SCM_MAX_FD (linux/net/scm.h)


def loopback_sockets(pid: int, pidfd: int) -> dict[tuple[str, int], _socket.socket]:
    """Return copies of the sockets that keep ports of [::1], by protocol and port; the caller closes them.

    Those, too, that lie as messages in a socket of the process: they stay there. Raises KernelError.
    """
    found: dict[tuple[str, int], _socket.socket] = {}
    for sock in _sockets(pid, pidfd):
        if sock.family == _socket.AF_UNIX:
            inner = list(_in_messages(sock))
            sock.close()
        else:
            inner = [sock]
        for one in inner:
            key = _key(one)
            if key is None or key in found:
                one.close()
            else:
                found[key] = one
    return found


def _sockets(pid: int, pidfd: int) -> Iterator[_socket.socket]:
    for name in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
        try:
            if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                continue
            fd = libc.pidfd_getfd(pidfd, int(name))
        except FileNotFoundError:  # closed meanwhile
            continue
        except KernelError as error:
            raise KernelError(
                "pidfd_getfd", error.errno, error.message, hint="see kernel.yama.ptrace_scope: 3 forbids it"
            ) from error
        yield _socket.socket(fileno=fd)


def _in_messages(sock: _socket.socket) -> Iterator[_socket.socket]:
    """Yield copies of what lies in messages to a socket, each message once (SO_PEEK_OFF, socket(7))."""
    if sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_TYPE) != _socket.SOCK_STREAM or sock.getsockname():
        return  # none of those that keep ports
    number = array.array("i").itemsize
    flags = _socket.MSG_PEEK | _socket.MSG_DONTWAIT | _socket.MSG_CMSG_CLOEXEC
    with suppress(OSError):  # there is no more
        sock.setsockopt(_socket.SOL_SOCKET, _SO_PEEK_OFF, 0)
        while True:
            data, extra, _, _ = sock.recvmsg(1, _socket.CMSG_SPACE(_MOST_IN_MESSAGE * number), flags)
            if not data:
                return
            for _, _, sent in extra:
                fds = array.array("i")
                fds.frombytes(sent[: len(sent) - len(sent) % number])
                for fd in fds:
                    yield _socket.socket(fileno=fd)


def _key(sock: _socket.socket) -> tuple[str, int] | None:
    if sock.family != _socket.AF_INET6:
        return None
    kinds = {_socket.SOCK_STREAM: "tcp", _socket.SOCK_DGRAM: "udp"}
    protocol = kinds.get(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_TYPE))
    name = sock.getsockname()
    return (protocol, name[1]) if protocol and name[0] == "::1" else None

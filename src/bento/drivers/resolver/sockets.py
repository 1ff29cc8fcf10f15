"""The sockets of a member's name server, made in the network namespace of that."""

from __future__ import annotations

import _socket
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bento.errors import KernelError, UsageError
from bento.kernel import namespace
from bento.kernel.net import links, redirect
from bento.kernel.process import pidfd
from bento.model.network import NAME_SERVER

_TRIES: Final = 16
_BACKLOG: Final = 16
_FLAGS: Final = _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK


def check(process_fd: int) -> None:
    """Refuse a process in the network namespace of the calling thread. Raises UsageError; KernelError: it has ended."""
    fd = pidfd.open_live(process_fd, "ns/net")
    try:
        is_here = os.path.samestat(os.fstat(fd), os.stat("/proc/thread-self/ns/net"))
    finally:
        os.close(fd)
    if is_here:
        raise UsageError("names are not resolved in the network of the host itself", hint="use another network")


@contextmanager
def opened(process_fd: int, port: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the descriptors of a socket for datagrams and of one that listens, and the port that they have.

    ``port``: the one to which port 53 is redirected already; 0: none is. To change it takes the kernel ten
    milliseconds. Raises KernelError.
    """
    fd = pidfd.open_live(process_fd, "ns/net")
    try:
        made = namespace.in_network(fd, lambda: _open(port))
    finally:
        os.close(fd)
    try:
        yield (made[0].fileno(), made[1].fileno()), made[0].getsockname()[1]
    finally:
        for each in made:
            each.close()


def _open(port: int) -> tuple[_socket.socket, _socket.socket]:
    """Take a port that is free for both, in the place of 53: a server of the container's may have that itself."""
    links.set_up(links.index_of("lo"))  # before: else the kernel would answer from another address
    for left in reversed(range(_TRIES)):
        datagrams = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _FLAGS)
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _FLAGS)
        try:
            datagrams.bind((NAME_SERVER, port))
            listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)  # connections may be left of one before
            listener.bind(datagrams.getsockname())
            listener.listen(_BACKLOG)
            if not port:
                redirect.redirect_names(NAME_SERVER, datagrams.getsockname()[1])
        except BaseException as error:
            datagrams.close()
            listener.close()
            if not isinstance(error, OSError):
                raise
            if not left or error.errno != errno.EADDRINUSE:
                raise KernelError("bind", error.errno or 0, error.strerror or str(error), path=NAME_SERVER) from error
            port = 0
            continue
        return datagrams, listener
    raise AssertionError  # the last try returns or raises

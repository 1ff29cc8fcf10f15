"""Connections to ports on the loopback interface of a pod, made in its network namespace.

A socket belongs to the namespace it was made in. It is made by a thread of its own, which ends: no thread of the server
is ever left in another namespace.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

from bento.errors import BentoError
from bento.kernel.namespace import in_network
from bento.streaming.host import Host
from bento.wiring import Engine

_CONNECT_LIMIT_S: Final = 10.0


async def connect(host: Host, sandbox_id: str, port: int) -> socket.socket:
    """Return a connection to a port, by IPv4 or else IPv6. It does not block.

    Raises BentoError, OSError, TimeoutError.
    """
    try:
        return await _connect(host, sandbox_id, socket.AF_INET, ("127.0.0.1", port))
    except OSError as error:
        try:
            return await _connect(host, sandbox_id, socket.AF_INET6, ("::1", port))
        except (OSError, BentoError):
            raise error from None


async def _connect(
    host: Host, sandbox_id: str, family: socket.AddressFamily, address: tuple[str, int]
) -> socket.socket:
    def make(engine: Engine) -> socket.socket:
        fd = host.open_network(engine, sandbox_id)
        if fd is None:
            return _socket(family)
        try:
            return in_network(fd, lambda: _socket(family))
        finally:
            os.close(fd)

    made = await host.engines.act(make, socket.socket.close)
    try:
        async with asyncio.timeout(_CONNECT_LIMIT_S):
            await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


def _socket(family: socket.AddressFamily) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

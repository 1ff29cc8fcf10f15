"""Ports of the host: holding one that is forwarded elsewhere, and finding the process that has it."""

from __future__ import annotations

import _socket
import errno
import os
from contextlib import suppress

from bento.kernel.process.proc import live_tid, read

_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}


def interfaces() -> list[str]:
    """Return the names of the links in the calling process's network namespace."""
    return [name for _, name in _socket.if_nameindex()]


def reserve(host_ip: str, port: int, protocol: str) -> tuple[int, int]:
    """Return a descriptor that keeps a port taken while any copy of it is open, and the port (0: a free one).

    The socket is bound and never listens, so no client can connect to it. Raises OSError: EADDRINUSE when the port is
    taken, EADDRNOTAVAIL when the address is not this host's.
    """
    address = (host_ip or "0.0.0.0", port)  # an IPv6 one is of IPv6 alone
    with suppress(OSError):
        return _bound(address, protocol, is_shared=False)
    # Connections that a server closed a moment ago keep its port for a minute, unless SO_REUSEADDR is set.
    return _bound(address, protocol, is_shared=protocol == "tcp")


def reserve_with_loopback(port: int, protocol: str) -> tuple[int, int]:
    """Return descriptors that keep a port of every IPv6 address, and that of ::1, on which the second one may listen.

    What is bound to a port of all addresses keeps all others from it, unless both allow that and neither listens; so
    the second one listens from now on (TCP), and the first one allows it no more. Raises as ``reserve``.
    """
    made: list[_socket.socket] = []
    try:
        for host_ip in ("::", "::1"):
            if protocol == "tcp" and not made:
                _check_unused((host_ip, port), protocol)
            made.append(_made((host_ip, port), protocol))
            made[-1].setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            made[-1].bind((host_ip, port))
        if protocol == "tcp":
            made[-1].listen()
        for sock in made if protocol == "udp" else made[:1]:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 0)
        return made[0].detach(), made[1].detach()
    finally:
        for sock in made:
            sock.close()


def _bound(address: tuple[str, int], protocol: str, *, is_shared: bool) -> tuple[int, int]:
    sock = _made(address, protocol)
    try:
        if is_shared:
            _check_unused(address, protocol)
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        sock.bind(address)
        port: int = sock.getsockname()[1]
        return sock.detach(), port
    finally:
        sock.close()


def _made(address: tuple[str, int], protocol: str) -> _socket.socket:
    family = _socket.AF_INET6 if ":" in address[0] else _socket.AF_INET
    sock = _socket.socket(family, _KINDS[protocol] | _socket.SOCK_CLOEXEC)
    if family == _socket.AF_INET6:
        sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
    return sock


def _check_unused(address: tuple[str, int], protocol: str) -> None:
    """Raise OSError when the port is taken: only then listening is refused, too."""
    sock = _made(address, protocol)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(0)
    finally:
        sock.close()


def is_taken(error: OSError) -> bool:
    """Whether a reservation failed because the port is taken."""
    return error.errno == errno.EADDRINUSE


def holder(port: int, protocol: str) -> str:
    """Return the process that has a port of this host open, as ``comm (pid)``; "" when that cannot be known. Slow."""
    inodes = {inode for family in ("", "6") for inode in _inodes(f"/proc/net/{protocol}{family}", port)}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for name in os.listdir("/proc") if wanted else ():
        if name.isdigit() and wanted & _open_files(live_tid(int(name))):
            found = read(int(name))
            if found is not None:
                return f"{found.comm} ({name})"
    return ""


def _inodes(path: str, port: int) -> list[str]:
    """Return the inodes of the sockets that have a port, but for those of connections (proc(5), /proc/net/tcp)."""
    try:
        with open(path, encoding="utf-8") as file:
            rows = [line.split() for line in file]
    except OSError:
        return []
    # Peer port 0: it listens, or waits for datagrams.
    return [
        row[9] for row in rows[1:] if row[1].endswith(f":{port:04X}") and row[2].endswith(":0000") and row[9] != "0"
    ]


def _open_files(tid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for fd in os.listdir(f"/proc/{tid}/fd"):
            with suppress(OSError):
                target = os.readlink(f"/proc/{tid}/fd/{fd}")
                if target.startswith("socket:"):
                    found.add(target)
    return found

"""SOCK_SEQPACKET sockets in directories (unix(7)): whole packets, and end of file when the other side dies.

On ``_socket``, the C half of the standard library's socket module, whose Python half takes longer to import
than all that is needed of it here. Packets are read and written with os.read and os.write.
"""

from __future__ import annotations

import _socket
import os
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

_KIND = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
_BACKLOG = 64
_UCRED = struct.Struct("iII")  # pid, uid, gid
_FD = struct.Struct("i")
_TIMEVAL = struct.Struct("ll")


def listen(directory: Path, name: str) -> int:
    """Return a non-blocking listening descriptor for ``directory/name``, in place of an old one. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(directory / name)

    def bind(sock: _socket.socket, address: str) -> None:
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)

    return _made(directory, name, bind)


def receive_at(directory: Path, name: str) -> int:
    """Return a non-blocking descriptor that gets the datagrams sent to ``directory/name``, in place of an old one.

    Raises OSError.
    """
    with suppress(FileNotFoundError):
        os.unlink(directory / name)

    def bind(sock: _socket.socket, address: str) -> None:
        sock.bind(address)
        sock.setblocking(False)

    return _made(directory, name, bind, kind=_socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)


def connect(directory: Path, name: str, *, wait: bool = True, limit_s: int = 0) -> int:
    """Return a descriptor connected to ``directory/name``. Raises OSError when no process listens there.

    ``wait``: for a place in the queue, when it is full; otherwise BlockingIOError, and the descriptor never waits.
    ``limit_s``: of each wait, this one and those for packets; then BlockingIOError. 0: none.
    """

    def attach(sock: _socket.socket, address: str) -> None:
        sock.setblocking(wait)
        _limit(sock, limit_s)
        sock.connect(address)

    return _made(directory, name, attach)


def pair(*, limit_s: int = 0) -> tuple[int, int]:
    """Return two connected descriptors. ``limit_s``: of the first one, as that of ``connect``."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _KIND, 0)
    _limit(ours, limit_s)
    return ours.detach(), theirs.detach()


def send(connection: int, packet: bytes, fds: Sequence[int] = ()) -> None:
    """Send a packet, with copies of descriptors (SCM_RIGHTS, unix(7)). Raises OSError."""
    sock = _socket.socket(fileno=connection)
    try:
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
        sock.sendmsg([packet], rights)
    finally:
        sock.detach()


def receive(connection: int, size: int, fds_max: int) -> tuple[bytes, list[int], bool]:
    """Return a packet, the descriptors that came with it, closed on exec, and whether it is whole. Raises OSError."""
    sock = _socket.socket(fileno=connection)
    try:
        room = _socket.CMSG_SPACE(fds_max * _FD.size)
        packet, extra, flags, _ = sock.recvmsg(size, room, _socket.MSG_CMSG_CLOEXEC)
    finally:
        sock.detach()
    rights = b"".join(each[: len(each) // _FD.size * _FD.size] for _, _, each in extra)
    fds = [fd for (fd,) in _FD.iter_unpack(rights)]
    return packet, fds, not flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC)


def end_writing(connection: int) -> None:
    """Let the other side read to the end of file. Idempotent; no error when it has gone."""
    sock = _socket.socket(fileno=connection)
    try:
        sock.shutdown(_socket.SHUT_WR)
    except OSError:
        pass
    finally:
        sock.detach()


def end_reading(connection: int) -> None:
    """Have the other side fail to send from now on; what it has sent can still be read. Idempotent."""
    sock = _socket.socket(fileno=connection)
    try:
        sock.shutdown(_socket.SHUT_RD)
    finally:
        sock.detach()


def peer_pid(connection: int) -> int:
    """Return the process that listened when this descriptor was connected; 0: in a PID namespace not seen here."""
    return peer(connection)[0]


def peer(connection: int) -> tuple[int, int]:
    """Return process and user of the other side: as ``peer_pid``, or, of what was accepted, those that connected."""
    sock = _socket.socket(fileno=connection)
    try:
        pid, uid, _ = _UCRED.unpack(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED.size))
    finally:
        sock.detach()
    return int(pid), int(uid)


def set_limit(connection: int, limit_s: int) -> None:
    """Have no wait for a packet take longer; then BlockingIOError."""
    sock = _socket.socket(fileno=connection)
    try:
        _limit(sock, limit_s)
    finally:
        sock.detach()


def accept(listener: int) -> int | None:
    """Return a descriptor for the next caller, or None when none waits."""
    sock = _socket.socket(_socket.AF_UNIX, _KIND, 0, listener)
    try:
        fd, _ = sock._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
    except (BlockingIOError, ConnectionError):
        return None
    finally:
        sock.detach()  # the descriptor is the caller's
    return int(fd)


def _limit(sock: _socket.socket, limit_s: int) -> None:
    for option in (_socket.SO_SNDTIMEO, _socket.SO_RCVTIMEO) if limit_s else ():
        sock.setsockopt(_socket.SOL_SOCKET, option, _TIMEVAL.pack(limit_s, 0))


def _made(directory: Path, name: str, act: Callable[[_socket.socket, str], None], *, kind: int = _KIND) -> int:
    # An address holds 108 bytes; a path through the descriptor of its directory always fits.
    at = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = _socket.socket(_socket.AF_UNIX, kind)
    try:
        act(sock, f"/proc/self/fd/{at}/{name}")
        return sock.detach()
    finally:
        sock.close()
        os.close(at)

"""What processes begin, and which of those SIGKILL ends, as the kernel reports it (linux/cn_proc.h).

The process events connector is a netlink multicast group. It reports for the whole machine, to the initial PID and
user namespace only (drivers/connector/cn_proc.c): elsewhere, and in a kernel without it, nothing is ever reported.
"""

from __future__ import annotations

import _socket  # the C half: the other one costs an import
import os
import signal
import struct
from collections.abc import Iterable
from typing import Final

_NETLINK_CONNECTOR: Final = 11
_GROUP: Final = 1  # CN_IDX_PROC
_VALUE: Final = 1  # CN_VAL_PROC
_NLMSG_DONE: Final = 3
_LISTEN: Final = 1  # PROC_CN_MCAST_LISTEN
_SO_RCVBUFFORCE: Final = 33
_BUFFER_BYTES: Final = 1 << 22
"""Some thousand events: what a busy machine begins and ends between two looks."""

_NETLINK: Final = struct.Struct("=IHHII")
_CONNECTOR: Final = struct.Struct("=IIIIHH")
_EVENT: Final = struct.Struct("=I4x8x4I")  # what, cpu, time; then the numbers of fork or exit
_EVENT_AT: Final = _NETLINK.size + _CONNECTOR.size
_FORK: Final = 0x1
_EXIT: Final = 0x80000000


class Births:
    """Follows what some processes begin from now on, their children's children too. Close it.

    Nothing blocks. What is lost on the way (more events than the buffer holds) is not made up for.
    """

    def __init__(self) -> None:
        self._has_asked = False  # a kernel that has refused once does so again
        self._socket: _socket.socket | None = None
        self._roots: dict[int, int] = {}  # of each process that is followed
        self._killed: dict[int, list[int]] = {}  # by root
        self._born: set[int] = set()

    def follow(self, root: int, pids: Iterable[int]) -> None:
        """Follow what these begin from now on; ``root`` is a name for all of them."""
        if not self._has_asked:
            self._has_asked = True
            self._socket = _listen()
        self.read()
        self._roots.update((pid, root) for pid in pids)

    def read(self) -> None:
        """Take what was reported so far, so that it does not pile up."""
        while self._socket is not None:
            try:
                packet = self._socket.recv(_EVENT_AT + 64)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: some were lost
                continue
            if len(packet) >= _EVENT_AT + _EVENT.size:
                self._take(*_EVENT.unpack_from(packet, _EVENT_AT))

    def killed(self, root: int) -> list[int]:
        """Return those that began since then, and that SIGKILL has ended."""
        self.read()
        return self._killed.get(root, [])

    def close(self) -> None:
        """Follow nothing any more. Idempotent."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _take(self, what: int, first: int, second: int, third: int, fourth: int) -> None:
        if what == _FORK:
            parent, pid, process = second, third, fourth
            if pid == process and (root := self._roots.get(parent)) is not None:  # else a thread
                self._roots[pid] = root
                self._born.add(pid)
        elif what == _EXIT and first == second and (root := self._roots.pop(first, 0)):
            if first in self._born and third & 0x7F == signal.SIGKILL:
                self._killed.setdefault(root, []).append(first)
            self._born.discard(first)


def _listen() -> _socket.socket | None:
    try:
        listening = _socket.socket(
            _socket.AF_NETLINK, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK, _NETLINK_CONNECTOR
        )
    except OSError:  # a kernel without it
        return None
    try:
        listening.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        listening.bind((0, _GROUP))
        request = struct.pack("=I", _LISTEN)
        body = _CONNECTOR.pack(_GROUP, _VALUE, 0, 0, len(request), 0) + request
        listening.send(_NETLINK.pack(_NETLINK.size + len(body), _NLMSG_DONE, 0, 0, os.getpid()) + body)
    except OSError:  # not allowed here
        listening.close()
        return None
    return listening

"""Ports of the host that are kept from all other programs."""

from __future__ import annotations

import _socket
import os
import struct
from collections.abc import Callable, Collection
from typing import Final

from msgspec.structs import replace

from bento.drivers.network.base import Reservation
from bento.errors import PortTaken, UsageError
from bento.kernel.net import ports as host_ports
from bento.model.network import LOOPBACK6, Port

_PAIR: Final = {"::": LOOPBACK6, LOOPBACK6: "::"}
_TRIES: Final = 10
_FEW: Final = 16
_MOST_IN_MESSAGE: Final = 253  # SCM_MAX_FD (linux/net/scm.h)


def reserve(ports: Collection[Port]) -> Reservation:
    """See ``NetworkDriver.reserve``. A free port of every IPv4 address is that of its twin of IPv6 behind it, too."""
    others = {_key(port): port for port in ports if port.host_ip in _PAIR and port.host_port}
    for left in reversed(range(_TRIES)):
        taken: list[Port] = []
        is_twin = False
        beside: dict[Port, int] = {}  # kept together with one before
        with _Kept(is_many=len(ports) > _FEW) as kept:
            try:
                for port in ports:
                    before = taken[-1] if taken else None
                    is_twin = before is not None and _is_twin(port, before)
                    asked = replace(port, host_port=before.host_port) if before and is_twin else port
                    fd, number = _of_two(asked, others, beside) or _reserve(asked)
                    if fd >= 0:
                        kept.add(fd)
                    taken.append(replace(port, host_port=number))
                return Reservation(tuple(taken), kept.detach())
            except PortTaken:
                if not (is_twin and left):
                    raise
            finally:
                for fd in beside.values():
                    os.close(fd)
    raise AssertionError


class _Kept:
    """Sockets that keep ports. Many of them lie in one, as messages under way (unix(7), SCM_RIGHTS): what inherits that
    one has no descriptor of each, of which it may have no more than 1024.
    """

    def __init__(self, *, is_many: bool) -> None:
        self._fds: list[int] = []
        self._ends = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM) if is_many else None

    def add(self, fd: int) -> None:
        """Take a socket over."""
        self._fds.append(fd)
        if self._ends is not None and len(self._fds) == _MOST_IN_MESSAGE:
            self._send(self._ends[0])

    def _send(self, end: _socket.socket) -> None:
        if self._fds:
            end.sendmsg(
                [b"."], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack(f"{len(self._fds)}i", *self._fds))]
            )
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def detach(self) -> tuple[int, ...]:
        """Return the descriptors that keep all of them, the caller's to close."""
        if self._ends is not None:
            self._send(self._ends[0])
            return (self._ends[1].detach(),)
        found, self._fds = tuple(self._fds), []
        return found

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)
        for end in self._ends or ():
            end.close()


def _is_twin(port: Port, before: Port) -> bool:
    return not port.host_port and (port.host_ip, before.host_ip, before.inside) == ("::", "", port.inside)


def _key(port: Port) -> tuple[str, int, str]:
    return port.host_ip, port.host_port, port.protocol


def _of_two(port: Port, others: dict[tuple[str, int, str], Port], beside: dict[Port, int]) -> tuple[int, int] | None:
    """Keep a port that is published on every IPv6 address and on [::1]; None: it is not one of those two."""
    if port in beside:
        return beside.pop(port), port.host_port
    other = others.get((_PAIR.get(port.host_ip, ""), port.host_port, port.protocol))
    if other is None or port.protocol == "sctp":
        return None
    wide, narrow = _named(port, lambda: host_ports.reserve_with_loopback(port.host_port, port.protocol))
    mine, beside[other] = (wide, narrow) if port.host_ip == "::" else (narrow, wide)
    return mine, port.host_port


def _reserve(port: Port) -> tuple[int, int]:
    """Return -1 for what is kept by the rules alone: few kernels have sockets of SCTP."""
    if port.protocol == "sctp":
        return -1, port.host_port
    return _named(port, lambda: host_ports.reserve(port.host_ip, port.host_port, port.protocol))


def _named(port: Port, reserve: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    try:
        return reserve()
    except OSError as error:
        where = f"{port.outside}/{port.protocol}"
        if host_ports.is_taken(error):
            holder = host_ports.holder(port.host_port, port.protocol)
            raise PortTaken(f"port {where} is taken{f' by {holder}' if holder else ''}", port=port) from error
        raise UsageError(
            f"cannot publish {where}: {error.strerror}", hint="is that an address of this host?"
        ) from error

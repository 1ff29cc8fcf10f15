"""Ports of the host that are kept from all other programs."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from bento.drivers.network.base import Reservation
from bento.errors import PortTaken, UsageError
from bento.kernel.net import ports as host_ports
from bento.model.network import Port

_TRIES: Final = 10


def reserve(ports: Collection[Port]) -> Reservation:
    """See ``NetworkDriver.reserve``. A free port of every IPv4 address is that of its twin of IPv6 behind it, too."""
    for left in reversed(range(_TRIES)):
        taken: list[Port] = []
        fds: list[int] = []
        is_twin = False
        try:
            for port in ports:
                before = taken[-1] if taken else None
                is_twin = before is not None and _is_twin(port, before)
                fd, number = _reserve(replace(port, host_port=before.host_port) if before and is_twin else port)
                fds += [fd] if fd >= 0 else []
                taken.append(replace(port, host_port=number))
            return Reservation(tuple(taken), tuple(fds))
        except BaseException as error:
            for fd in fds:
                os.close(fd)
            if not (isinstance(error, PortTaken) and is_twin and left):
                raise
    raise AssertionError


def _is_twin(port: Port, before: Port) -> bool:
    return not port.host_port and (port.host_ip, before.host_ip, before.inside) == ("::", "", port.inside)


def _reserve(port: Port) -> tuple[int, int]:
    """Return -1 for what is kept by the rules alone: few kernels have sockets of SCTP."""
    if port.protocol == "sctp":
        return -1, port.host_port
    try:
        return host_ports.reserve(port.host_ip, port.host_port, port.protocol)
    except OSError as error:
        where = f"{port.outside}/{port.protocol}"
        if host_ports.is_taken(error):
            holder = host_ports.holder(port.host_port, port.protocol)
            raise PortTaken(f"port {where} is taken{f' by {holder}' if holder else ''}", port=port) from error
        raise UsageError(
            f"cannot publish {where}: {error.strerror}", hint="is that an address of this host?"
        ) from error

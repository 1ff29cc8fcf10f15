"""Ports of the host that are kept from all other programs."""

from __future__ import annotations

import os
from collections.abc import Collection

from msgspec.structs import replace

from bento.drivers.network.base import Reservation
from bento.errors import PortTaken, UsageError
from bento.kernel.net import ports as host_ports
from bento.model.network import Port


def reserve(ports: Collection[Port]) -> Reservation:
    """See ``NetworkDriver.reserve``."""
    taken: list[Port] = []
    fds: list[int] = []
    try:
        for port in ports:
            fd, number = _reserve(port)
            fds.append(fd)
            taken.append(replace(port, host_port=number))
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return Reservation(tuple(taken), tuple(fds))


def _reserve(port: Port) -> tuple[int, int]:
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

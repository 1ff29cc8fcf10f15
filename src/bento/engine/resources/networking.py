"""A container's connection: recorded before it is made, so that any command that meets the record can remove it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.errors import Conflict, PortTaken, RuntimeFailed, StateCorrupt, UsageError
from bento.lazy import LazyModule
from bento.model.container import Container, Status
from bento.model.network import Connection, Port

if TYPE_CHECKING:
    from bento.drivers.network.base import Reservation
    from bento.engine.base.drivers import Drivers
    from bento.parse import ports as port_words
else:  # a stop asks for none
    port_words = LazyModule("bento.parse.ports")

_MAX_PORT = 65535
_RELEASE_LIMIT_S = 30.0
_CHILD_LIMIT_S = 20.0
_AGAIN_S = 0.02
_ADDRESS = re.compile(rb"\b\d{1,3}(?:\.\d{1,3}){3}\b")


def resolve(network: str, ports: tuple[Port, ...]) -> str:
    """Return the network that is meant: what publishes ports is on the bridge, any other on none."""
    return network or ("bridge" if ports else "none")


def with_exposed(ports: tuple[Port, ...], exposed: Iterable[str]) -> tuple[Port, ...]:
    """Return the ports, and on free ports of the host those exposed (``80``, ``80/tcp``) that are not among them.

    Raises UsageError for what is no port.
    """
    known = {port.inside for port in ports}
    found = list(ports)
    for text in exposed:
        number, _, protocol = text.partition("/")
        if not (number.isascii() and number.isdigit()):
            raise UsageError(f"cannot publish the exposed port {text!r}", hint="omit --publish-all, and use --publish")
        port = Port(container_port=int(number), protocol=protocol or "tcp")
        if port.inside not in known:
            known.add(port.inside)
            found.append(port)
    return tuple(found)


def check(drivers: Drivers, network: str, ports: tuple[Port, ...], *, drain: bool) -> None:
    """Refuse what cannot be had. Raises UsageError, MissingTool."""
    drivers.network.check(network, ports)
    for port in ports:
        numbers_fit = 0 <= port.host_port <= _MAX_PORT and 1 <= port.container_port <= _MAX_PORT
        if not numbers_fit or port.protocol not in ("tcp", "udp"):
            raise UsageError(f"bad port {port.outside}:{port.inside}", hint="ports are 1 to 65535, tcp or udp")
        if port.host_ip and not port_words.is_ipv4(port.host_ip):
            raise UsageError(f"cannot publish on {port.host_ip!r}", hint="give an IPv4 address of this host, or none")
    if drain and not ports:
        raise UsageError("--drain closes published ports, and none is published", hint="use --publish, too")
    given = [(port.host_ip, port.host_port, port.protocol) for port in ports if port.host_port]
    for one in given:
        if given.count(one) > 1:
            raise UsageError(f"host port {one[1]}/{one[2]} is published twice", hint="omit one of them")


@contextmanager
def reserved(drivers: Drivers, container: Container) -> Iterator[Reservation | None]:
    """Take the container's ports of the host, for as long as the context, or a process that inherits them, lasts.

    Raises PortTaken, which names the process that has it where that is known, UsageError.
    """
    if container.spec.network != "bridge":
        yield None
        return
    try:
        reservation = drivers.network.reserve(container.spec.ports.published)
    except PortTaken as error:
        name = _publisher(drivers, container, error.port) if isinstance(error.port, Port) else ""
        if not name or not isinstance(error.port, Port):
            raise
        where = f"{error.port.outside}/{error.port.protocol}"
        raise PortTaken(f"port {where} is taken by container {name}", port=error.port) from error
    try:
        yield reservation
    finally:
        for fd in reservation.fds:
            os.close(fd)


def _publisher(drivers: Drivers, container: Container, wanted: Port) -> str:
    for other in drivers.store.list():
        connection = other.run.connection if other.run and other.status.is_live and other.id != container.id else None
        for port in connection.ports if connection else ():
            if (port.host_port, port.protocol) == (wanted.host_port, wanted.protocol):
                return other.name
    return ""


def allot(drivers: Drivers, container: Container, ports: tuple[Port, ...]) -> tuple[Container, Connection]:
    """Choose the container's address and record it. Raises Conflict when there is none."""
    with drivers.network.locked():
        unknown: list[StateCorrupt] = []
        others = drivers.store.list(on_unreadable=unknown.append)
        taken = {
            other.run.connection.address
            for other in others
            if other.run and other.run.connection and other.id != container.id
        }
        # One whose record cannot be read may run all the same: what looks like its address is left to it.
        taken.update(word.decode() for error in unknown for word in _ADDRESS.findall(error.document))
        connection = drivers.network.choose(container.id, taken, ports)
        container = drivers.store.modify(container.id, lambda c: _with(c, connection))
    return container, connection


def _with(container: Container, connection: Connection | None) -> Container:
    return replace(container, run=replace(container.run, connection=connection)) if container.run else container


def connect(drivers: Drivers, container_id: str, connection: Connection, pid: int) -> None:
    """Make a connection that was allotted. Blocks. Raises RuntimeFailed."""
    drivers.network.connect(container_id, connection, pid, lambda: running(drivers))


def running(drivers: Drivers) -> dict[str, Connection]:
    """Return the connections of the containers that run and of which no stop is under way."""
    return {
        container.id: container.run.connection
        for container in drivers.store.list()
        if container.run and container.run.connection and container.status in (Status.RUNNING, Status.PAUSED)
    }


def release(drivers: Drivers, container: Container) -> None:
    """Take a connection down, and forget it. Blocks. Idempotent. Raises RuntimeFailed."""
    if container.run is None or container.run.connection is None:
        return
    release_left(drivers, container.id, container.run.connection.forwarded_to)
    drivers.store.modify(container.id, lambda c: _with(c, None))


def release_left(drivers: Drivers, container_id: str, address: str = "") -> None:
    """Remove what there is of a container's connection, whatever its record says. Blocks. Raises RuntimeFailed."""
    deadline_mono_s = time.monotonic() + _RELEASE_LIMIT_S
    while True:
        try:
            for child in drivers.network.release(container_id, address):
                child.finish(_CHILD_LIMIT_S)
            return
        except Conflict as error:
            if time.monotonic() > deadline_mono_s:
                raise RuntimeFailed(
                    f"cannot take down the network: {error.message}", hint="see bento doctor"
                ) from error
            time.sleep(_AGAIN_S)

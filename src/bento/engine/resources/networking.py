"""A container's connections: recorded before they are made, so that any command that meets them can remove them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bento.errors import BentoError, Conflict, NotFound, PortTaken, RuntimeFailed, StateCorrupt, UsageError
from bento.lazy import LazyModule
from bento.model.container import Container, Status, attached_to
from bento.model.network import BRIDGE, CNI, Attachment, Connection, Network, Port, is_opened

if TYPE_CHECKING:
    from bento.drivers.network.base import Part, Reservation
    from bento.engine.base.drivers import Drivers
    from bento.engine.resources import cni, proxies
    from bento.parse import ports as port_words
else:  # a stop asks for none
    cni, port_words = LazyModule("bento.engine.resources.cni"), LazyModule("bento.parse.ports")
    proxies = LazyModule("bento.engine.resources.proxies")

_MAX_PORT = 65535
_RELEASE_LIMIT_S = 30.0
_CHILD_LIMIT_S = 20.0
_AGAIN_S = 0.02
_ADDRESS = re.compile(rb"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}\b")


def resolve(network: str, ports: tuple[Port, ...], default: str) -> str:
    """Return the network that is meant: what publishes ports is on the bridge, any other on the default one."""
    return network or (BRIDGE if ports else default)


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


def find(drivers: Drivers, name: str) -> Network:
    """Return a network. Raises UsageError, which names those that need no making."""
    if name == BRIDGE:
        return drivers.network.default()
    try:
        return drivers.store.find_network(name)
    except NotFound as error:
        raise UsageError(
            f"unknown network {name!r}", hint="use bridge, host, none, or one that bento network create has made"
        ) from error


def check(
    drivers: Drivers, network: str, ports: tuple[Port, ...], *, drain: bool, attachments: Sequence[Attachment] = ()
) -> None:
    """Refuse what cannot be had. Raises UsageError, NotFound, MissingTool."""
    if network.startswith(CNI):
        cni.check(drivers, network, ports, drain=drain)
    else:
        drivers.network.check(network, ports)
    networks = [(find(drivers, one.network), one) for one in attachments or attached_to(network)]
    for known, asked in networks:
        drivers.network.check_attachment(known, asked)
    if ports and networks and all(known.internal for known, _ in networks):
        raise UsageError(
            f"no port can be published on network {networks[0][0].name}, which is internal", hint="omit --publish"
        )
    for port in ports:
        _check_port(port, [known for known, _ in networks])
    if drain and not networks:
        raise UsageError(
            "--drain refuses connections, and without a network there is none", hint="use --network bridge"
        )
    given: set[tuple[str, int, str]] = set()
    for port in ports:
        one = (port.host_ip, port.host_port, port.protocol)
        if port.host_port and one in given:
            raise UsageError(f"host port {one[1]}/{one[2]} is published twice", hint="omit one of them")
        given.add(one)


def _check_port(port: Port, networks: Sequence[Network]) -> None:
    numbers_fit = 0 <= port.host_port <= _MAX_PORT and 1 <= port.container_port <= _MAX_PORT
    if not numbers_fit or port.protocol not in port_words.PROTOCOLS:
        raise UsageError(f"bad port {port.outside}:{port.inside}", hint="ports are 1 to 65535, tcp, udp or sctp")
    if port.protocol == "sctp" and not port.host_port:
        raise UsageError(f"port {port.inside} has no port of the host", hint="name one: no free one is found for SCTP")
    if port.is_proxied:
        if port.protocol == "sctp":
            raise UsageError(
                f"cannot publish {port.outside}/sctp: what comes to [::1] is passed on by a process, as TCP or UDP",
                hint="publish it on 127.0.0.1, or on another address of this host",
            )
        return
    way = next((network for network in networks if not network.internal), None)
    version = 6 if ":" in port.host_ip else 4
    if way is not None and version in way.routed and port.host_ip not in ("", "0.0.0.0", "::"):
        raise UsageError(
            f"cannot publish on {port.outside}: network {way.name} is routed for IPv{version}, and its containers are "
            "reached at their own addresses",
            hint="omit the address, or use a network with NAT",
        )
    if port_words.is_ipv6(port.host_ip):
        if not has_ipv6(networks):
            raise UsageError(
                f"cannot publish on {port.outside}: the container has no IPv6",
                hint="put it on a network that bento network create --ipv6 has made",
            )
    elif port.host_ip and not port_words.is_ipv4(port.host_ip):
        raise UsageError(f"cannot publish on {port.host_ip!r}", hint="give an address of this host, or none")
    elif port.host_ip and not has_ipv4(networks):
        raise UsageError(
            f"cannot publish on {port.outside}: the container has no IPv4",
            hint="publish on [::1], or on [::] or another IPv6 address of this host",
        )


def has_ipv6(networks: Iterable[Network]) -> bool:
    """Whether a container on these is reached by IPv6: by the first that is not internal it has its ports."""
    way = next((network for network in networks if not network.internal), None)
    return way is not None and any(":" in one.subnet for one in way.subnets)


def has_ipv4(networks: Iterable[Network]) -> bool:
    """The same of IPv4. The default network has it, also before its subnet is chosen."""
    way = next((network for network in networks if not network.internal), None)
    return way is None or not way.subnets or any(":" not in one.subnet for one in way.subnets)


def _of_families(ports: Iterable[Port], networks: Sequence[Network]) -> tuple[Port, ...]:
    """Return the ports, those of every address in the families of the container: with a twin for IPv6 behind each."""
    found: list[Port] = []
    for port in ports:
        if port.host_ip or has_ipv4(networks):
            found.append(port)
        if not port.host_ip and has_ipv6(networks):
            found.append(replace(port, host_ip="::"))
    return tuple(found)


class Wanted(Struct, frozen=True):
    """What a container, or a pod, is to have of networks. ``network``: its first, or what takes the place of one."""

    id: str
    network: str
    networks: tuple[Attachment, ...]
    ports: tuple[Port, ...]


def _wanted_by(container: Container) -> Wanted:
    spec = container.spec
    return Wanted(container.id, spec.network, spec.networks, spec.ports.published)


def reserved(drivers: Drivers, container: Container) -> AbstractContextManager[Reservation | None]:
    """Take a container's ports of the host; see ``reserved_for``."""
    return reserved_for(drivers, _wanted_by(container))


@contextmanager
def reserved_for(drivers: Drivers, wanted: Wanted) -> Iterator[Reservation | None]:
    """Take the ports of the host, for as long as the context, or a process that inherits them, lasts.

    Raises PortTaken, which names the process that has it where that is known, UsageError.
    """
    if not wanted.networks and not wanted.network.startswith(CNI):
        yield None
        return
    ports = wanted.ports
    routed: tuple[int, ...] = ()
    if ports and wanted.networks:
        networks = [find(drivers, one.network) for one in wanted.networks]
        ports = _of_families(ports, networks)
        routed = next((one.routed for one in networks if not one.internal), ())
    try:
        reservation = drivers.network.reserve([port for port in ports if not is_opened(port, routed)])
    except PortTaken as error:
        name = _publisher(drivers, wanted.id, error.port) if isinstance(error.port, Port) else ""
        if not name or not isinstance(error.port, Port):
            raise
        where = f"{error.port.outside}/{error.port.protocol}"
        raise PortTaken(f"port {where} is taken by {name}", port=error.port) from error
    chosen = iter(reservation.ports)
    ports = tuple(replace(port, host_port=0) if is_opened(port, routed) else next(chosen) for port in ports)
    try:
        yield replace(reservation, ports=ports)
    finally:
        for fd in reservation.fds:
            os.close(fd)


def _publisher(drivers: Drivers, own_id: str, wanted: Port) -> str:
    """Return what publishes a port, in words; "" when nothing of this engine's does."""
    for other in drivers.store.list():
        ports = other.run.ports if other.run and other.status.is_live and other.id != own_id else ()
        if _has(ports, wanted):
            return f"container {other.name}"
    return _publishing_pod(drivers, own_id, wanted)


def _publishing_pod(drivers: Drivers, own_id: str, wanted: Port) -> str:
    for pod in drivers.store.list_pods(on_unreadable=lambda _: None):
        if pod.id != own_id and any(_has(one.ports, wanted) for one in pod.connections):
            return f"pod {pod.name}"
    return ""


def _has(ports: Iterable[Port], wanted: Port) -> bool:
    return any((port.host_port, port.protocol) == (wanted.host_port, wanted.protocol) for port in ports)


def allot_for(
    drivers: Drivers, wanted: Wanted, ports: tuple[Port, ...], record: Callable[[tuple[Connection, ...]], None]
) -> tuple[Connection, ...]:
    """Choose the addresses and have them recorded. Raises Conflict when there is none, PortTaken, UsageError."""
    if wanted.network.startswith(CNI):
        planned = (cni.planned(wanted.network, ports),)
        record(planned)
        return planned
    with drivers.network.locked():
        taken = addresses_of_others(drivers, wanted.id)
        for port in (one for one in ports if one.host_port):
            # Of SCTP no socket is kept, and a pod keeps none.
            is_kept = port.protocol != "sctp"
            name = (_publishing_pod if is_kept else _publisher)(drivers, wanted.id, port)
            if name:
                raise PortTaken(f"port {port.outside}/{port.protocol} is taken by {name}", port=port)
        connections: list[Connection] = []
        for number, asked in enumerate(wanted.networks):
            one = choose(drivers, wanted.id, taken, asked, f"eth{number}")
            connections.append(one)
            taken |= {one.address, one.address6}
        way = next((number for number, one in enumerate(connections) if not one.internal), None)
        if way is not None:
            connections[way] = replace(connections[way], ports=ports)
        record(tuple(connections))
    return tuple(connections)


def allot(drivers: Drivers, container: Container, ports: tuple[Port, ...]) -> tuple[Container, tuple[Connection, ...]]:
    """Do so for a container. Return its record, too."""

    def record(connections: tuple[Connection, ...]) -> None:
        nonlocal container
        container = drivers.store.modify(container.id, lambda c: _with(c, connections))

    connections = allot_for(drivers, _wanted_by(container), ports, record)
    return container, connections


def addresses_of_others(drivers: Drivers, own_id: str) -> set[str]:
    """Return the addresses that other containers, and pods, have."""
    unknown: list[StateCorrupt] = []
    others = drivers.store.list(on_unreadable=unknown.append)
    pods = drivers.store.list_pods(on_unreadable=unknown.append)
    held = [other.run.connections for other in others if other.run and other.id != own_id]
    held += [pod.connections for pod in pods if pod.id != own_id]
    found = {address for each in held for one in each for address in (one.address, one.address6)}
    # One whose record cannot be read may run all the same: what looks like its address is left to it.
    found.update(word.decode() for error in unknown for word in _ADDRESS.findall(error.document))
    return found


def choose(drivers: Drivers, container_id: str, taken: set[str], asked: Attachment, interface: str) -> Connection:
    """Choose a place on a network. Call it locked. Raises UsageError, Conflict."""
    claimed = drivers.store.list_networks(on_unreadable=lambda _: None)
    network = find(drivers, asked.network)
    return drivers.network.choose(network, container_id, taken, asked, interface=interface, claimed=claimed)


def _with(container: Container, connections: tuple[Connection, ...]) -> Container:
    return replace(container, run=replace(container.run, connections=connections)) if container.run else container


def connect(drivers: Drivers, container: Container, pid: int) -> None:
    """Make the connections that were allotted to a container. Blocks. Raises RuntimeFailed, Conflict."""
    connections = container.run.connections if container.run else ()
    if container.spec.network.startswith(CNI):
        cni.connect(drivers, container, pid)
    elif connections:
        drivers.network.connect(container.id, connections, f"/proc/{pid}/ns/net", lambda: running(drivers))


def announce(drivers: Drivers, container: Container) -> None:
    """Tell the neighbours of a container that runs where it is: see ``NetworkDriver.announce``. Never raises."""
    run = container.run
    if run is None or run.init is None or not run.connections or container.spec.network.startswith(CNI):
        return
    with suppress(BentoError, OSError):  # else they ask for it, later
        main_fd = drivers.processes.open(run.init)
        if main_fd is not None:
            try:
                drivers.network.announce(run.connections, main_fd)
            finally:
                os.close(main_fd)


def running(drivers: Drivers) -> dict[str, tuple[Connection, ...]]:
    """Return the connections that Bento has made of the containers that run and of which no stop is under way.

    And of the pods that are ready.
    """
    found = {
        container.id: container.run.connections
        for container in drivers.store.list()
        if container.run
        and container.run.connections
        and not container.spec.network.startswith(CNI)
        and container.status in (Status.RUNNING, Status.PAUSED)
    }
    for pod in drivers.store.list_pods(on_unreadable=lambda _: None):
        if pod.is_ready and pod.connections and not pod.settings.network.startswith(CNI):
            found[pod.id] = pod.connections
    return found


def release(drivers: Drivers, container: Container) -> None:
    """Take connections down, and forget them. Blocks. Idempotent. Raises RuntimeFailed."""
    if container.run is None or not container.run.connections:
        return
    addresses = [address for one in container.run.connections for address in one.forwarded_to]
    release_left(drivers, container.id, addresses)
    drivers.store.modify(container.id, lambda c: _with(c, ()))


def release_left(drivers: Drivers, container_id: str, addresses: Sequence[str] | None = None) -> None:
    """Remove what there is of a container's connections, whatever its record says. Blocks. Raises RuntimeFailed."""
    drivers.resolver.forget(container_id)
    proxies.end(drivers, container_id)
    finish(lambda: _releasing(drivers, container_id, addresses))


def _releasing(drivers: Drivers, container_id: str, addresses: Sequence[str] | None) -> Iterator[Part]:
    yield from drivers.network.release(container_id, addresses)
    if drivers.has_cni():
        yield from drivers.cni.remove(container_id)


def finish(begin: Callable[[], Iterator[Part]]) -> None:
    """Do what the driver does in steps; again, while another process changes networks. Blocks. Raises RuntimeFailed."""
    deadline_mono_s = time.monotonic() + _RELEASE_LIMIT_S
    while True:
        try:
            for part in begin():
                part.finish(_CHILD_LIMIT_S)
            return
        except Conflict as error:
            if time.monotonic() > deadline_mono_s:
                raise RuntimeFailed(
                    f"cannot take down the network: {error.message}", hint="see bento doctor"
                ) from error
            time.sleep(_AGAIN_S)

"""A network that takes anything: for tests of the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from msgspec.structs import replace

from bento import command
from bento.command import Child
from bento.drivers.network.base import Connections, Leftover, Reservation
from bento.errors import BentoError
from bento.model.network import BRIDGE, Attachment, Connection, Network, Port, Subnet, builtin_id


class FakeNetwork:
    """Implements ``NetworkDriver``.

    Attributes:
        calls: (verb, container id) in order.
        made: containers that are connected.
        interfaces: (container id, interface) of each connection that was made.
        drain_error: what ``end`` says of a drain.
        raise_errors, connect_errors: the same of bridges, and of connections.
        release_errors: raised by the next releases, first one first.
        gone: what others have removed.
        raised: bridges that are there.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.calls: list[tuple[str, str]] = []
        self.made: set[str] = set()
        self.interfaces: list[tuple[str, str]] = []
        self.raised: set[str] = set()
        self.drain_error = ""
        self.drain_command = ["/bin/true"]
        self.raise_errors: list[BentoError] = []
        self.connect_errors: list[BentoError | OSError] = []
        self.release_errors: list[BentoError] = []
        self.gone: list[str] = []

    def default(self) -> Network:
        """Return a network with one subnet."""
        subnets = (Subnet(subnet="10.0.0.0/24", gateway="10.0.0.1"),)
        return Network(
            id=builtin_id(BRIDGE), name=BRIDGE, created_unix_ns=0, bridge="fake0", subnets=subnets, names=False
        )

    def check(self, network: str, ports: Collection[Port]) -> None:
        """Take anything."""

    def namespaces(self, network: str) -> list[dict[str, str]]:
        """Return a namespace of its own, whatever the network."""
        self.asked.append(network)
        return [{"type": "network"}]

    def reserve(self, ports: Collection[Port]) -> Reservation:
        """Hold nothing."""
        return Reservation(tuple(ports), ())

    def locked(self, *, wait: bool = True) -> AbstractContextManager[None]:
        """Lock nothing."""
        return nullcontext()

    def plan(self, network: Network, others: Collection[Network], *, ipv4: bool = True, ipv6: bool = False) -> Network:
        """Return it with what was asked for, else with subnets that have its number among the others."""
        number = len(others) + 1
        chosen = (Subnet(subnet=f"10.0.{number}.0/24", gateway=f"10.0.{number}.1"),) if ipv4 else ()
        subnets = network.subnets or chosen
        if ipv6:
            subnets += (Subnet(subnet=f"fd00:{number}::/64", gateway=f"fd00:{number}::1"),)
        return replace(network, bridge=network.bridge or f"fake{number}", subnets=subnets)

    def raise_network(self, network: Network, others: Callable[[], Connections]) -> None:
        """Remember, unless a test wants an error."""
        self.raised.add(network.bridge)
        if self.raise_errors:
            raise self.raise_errors.pop(0)

    def lower_network(self, network: Network) -> Iterator[Child]:
        """Forget it."""
        return self.lower_bridge(network.bridge)

    def lower_bridge(self, bridge: str) -> Iterator[Child]:
        """Forget it."""
        self.calls.append(("lower", bridge))
        yield command.spawn(["/bin/true"])
        self.raised.discard(bridge)

    def check_attachment(self, network: Network, asked: Attachment) -> None:
        """Take anything."""

    def choose(
        self,
        network: Network,
        container_id: str,
        taken: Collection[str],
        asked: Attachment,
        *,
        interface: str = "eth0",
        claimed: Collection[Network] = (),
    ) -> Connection:
        """Return what is asked for, or the first address that is free."""
        four, six = (
            next((one for one in network.subnets if (":" in one.subnet) is is_six), None) for is_six in (False, True)
        )
        stem = f"{four.gateway.rpartition('.')[0]}." if four else six.gateway[:-1] if six else ""
        free = next(n for n in range(2, 255) if f"{stem}{n if four else format(n, 'x')}" not in taken)
        address = (asked.ipv4 or f"{stem}{free}") if four else ""
        number = int(address.rpartition(".")[2]) if address else free
        return Connection(
            network=network.name,
            network_id=network.id,
            bridge=network.bridge,
            interface=interface,
            address=address,
            prefix=24 if four else 0,
            gateway=four.gateway if four else "",
            names=network.names,
            mac=asked.mac or f"02:00:00:00:00:{number:02x}",
            address6=(asked.ipv6 or f"{six.gateway[:-1]}{number:x}") if six else "",
            prefix6=64 if six else 0,
            gateway6=six.gateway if six else "",
            aliases=asked.aliases,
            links=asked.links,
            internal=network.internal,
            mtu=network.mtu,
        )

    def connect(
        self,
        container_id: str,
        connections: Sequence[Connection],
        netns: str,
        others: Callable[[], Connections],
        *,
        only: str = "",
    ) -> None:
        """Remember; also what an error leaves."""
        self.calls.append(("connect", container_id))
        self.made.add(container_id)
        self.raised.update(one.bridge for one in connections)
        self.interfaces += [(container_id, one.interface) for one in connections if not only or one.interface == only]
        if self.connect_errors:
            raise self.connect_errors.pop(0)

    def announce(self, connections: Sequence[Connection], main_fd: int) -> None:
        """Remember."""
        self.calls.append(("announce", " ".join(one.address for one in connections)))

    def disconnect(
        self, container_id: str, connection: Connection, left: Sequence[Connection], pid: int
    ) -> Iterator[Child]:
        """Forget one."""
        self.calls.append(("disconnect", container_id))
        if self.release_errors:
            raise self.release_errors.pop(0)
        yield command.spawn(["/bin/true"])
        self.interfaces.remove((container_id, connection.interface))

    def begin_drain(self, container_id: str, connections: Sequence[Connection], main_fd: int | None) -> Child | None:
        """Start ``drain_command`` where ports are published."""
        self.calls.append(("drain", container_id))
        return command.spawn(self.drain_command) if any(one.ports for one in connections) else None

    def end(self, child: Child) -> str:
        """Return ``drain_error``."""
        child.finish(10.0)
        return self.drain_error

    def close_ports(self, container_id: str) -> None:
        """Remember."""
        self.calls.append(("close", container_id))

    def forget_connections(self, container_id: str, addresses: Sequence[str]) -> None:
        """Remember."""
        self.calls.append(("forget", container_id))

    def release(
        self, container_id: str, addresses: Sequence[str] | None = None, *, ended_mono_s: float | None = None
    ) -> Iterator[Child]:
        """Forget, unless a test wants an error."""
        self.calls.append(("release", container_id))
        if self.release_errors:
            raise self.release_errors.pop(0)
        yield command.spawn(["/bin/true"])
        self.made.discard(container_id)
        self.interfaces = [one for one in self.interfaces if one[0] != container_id]

    def leftovers(self, networks: Collection[Network]) -> list[Leftover]:
        """Return the containers that are connected, and bridges of no network."""
        bridges = self.raised - {one.bridge for one in networks}
        found = [Leftover(container_id, "connection") for container_id in sorted(self.made)]
        return found + [Leftover("", f"bridge {bridge}", bridge) for bridge in sorted(bridges)]

    def missing(self, connections: Connections) -> list[str]:
        """Return what a test has removed, if any container is connected."""
        return list(self.gone) if connections else []

    def mend(self, connections: Connections) -> None:
        """Forget that."""
        self.gone = []

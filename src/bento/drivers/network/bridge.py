"""Networks on bridges, and the namespaces ``none`` and ``host``, for which nothing is made.

A network has a bridge. An engine has one nftables table (and one for IPv6), in which its bridges and containers are
elements of sets. They stay while there are containers or networks on record. For each connection of a container there
are a pair of links, named after it, with a guard on it, and elements marked with its id. What changes links holds a
lock on the network namespace itself, so that engines with different roots do not take the same subnet, and none removes
the bridge under another.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.drivers.network import acts
from bento.drivers.network.acts import network_errors
from bento.drivers.network.ending import Ending
from bento.drivers.network.names import MOST, Names, keep_seed, number_of, seed_of
from bento.drivers.network.vanishing import Vanishing
from bento.errors import Conflict, KernelError, UsageError
from bento.lazy import LazyModule
from bento.model.network import BRIDGE, OF_OTHERS, Attachment, Connection, Network, Port, Subnet, builtin_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from bento import command
    from bento.command import Child
    from bento.drivers.network import (
        choosing,
        ends,
        forwarding,
        looking,
        places,
        raising,
        reserving,
        routes,
        rules,
        subnets,
        walls,
    )
    from bento.drivers.network.base import Connections, Leftover, Reservation
    from bento.drivers.network.walls import Walls
    from bento.kernel import namespace
    from bento.kernel.net import links
    from bento.kernel.net import ports as host_ports
else:  # a stop needs hardly any of it
    command, namespace = LazyModule("bento.command"), LazyModule("bento.kernel.namespace")
    choosing, ends = LazyModule("bento.drivers.network.choosing"), LazyModule("bento.drivers.network.ends")
    forwarding, looking = LazyModule("bento.drivers.network.forwarding"), LazyModule("bento.drivers.network.looking")
    places, raising = LazyModule("bento.drivers.network.places"), LazyModule("bento.drivers.network.raising")
    reserving, rules = LazyModule("bento.drivers.network.reserving"), LazyModule("bento.drivers.network.rules")
    routes, subnets = LazyModule("bento.drivers.network.routes"), LazyModule("bento.drivers.network.subnets")
    walls = LazyModule("bento.drivers.network.walls")
    links, host_ports = LazyModule("bento.kernel.net.links"), LazyModule("bento.kernel.net.ports")

_WITHOUT_PORTS: Final = {"host": "is the host's own: its ports are, too", "none": "has no way to its ports"}
_LONGEST_NAME: Final = 15
_LINKS_GONE_WITHIN_S: Final = 1.0


class BridgeNetwork:
    """Implements ``NetworkDriver`` for the engine whose root this is."""

    def __init__(self, root: Path, *, is_default: bool, has_names: bool = False) -> None:
        """``has_names``: containers on the default network find each other by name."""
        self._root, self.names = root, Names(seed_of(root, is_default=is_default))
        self._has_names = has_names
        self._ending = Ending(self.names)

    def default(self) -> Network:
        """See ``NetworkDriver.default``."""
        block = subnets.subnet_of(self.names.bridge, routes.of_host())
        found = (Subnet(subnet=str(block), gateway=block.address(1)),) if block else ()
        return Network(
            id=builtin_id(BRIDGE),
            name=BRIDGE,
            created_unix_ns=0,
            bridge=self.names.bridge,
            subnets=found,
            names=self._has_names,
        )

    def check(self, network: str, ports: Collection[Port]) -> None:
        """See ``NetworkDriver.check``."""
        if ports and network in _WITHOUT_PORTS:
            raise UsageError(
                f"--publish does not go with --network {network}, which {_WITHOUT_PORTS[network]}",
                hint="use --network bridge",
            )
        if network not in _WITHOUT_PORTS and not network.startswith(OF_OTHERS):
            acts.ip()
            acts.nft()

    def namespaces(self, network: str) -> list[dict[str, str]]:
        """See ``NetworkDriver.namespaces``. Runtimes bring a new namespace's loopback up themselves."""
        return [] if network == "host" or network.startswith(OF_OTHERS) else [{"type": "network"}]

    def reserve(self, ports: Collection[Port]) -> Reservation:
        """See ``NetworkDriver.reserve``."""
        return reserving.reserve(ports)

    def locked(self, *, wait: bool = True) -> AbstractContextManager[None]:
        """See ``NetworkDriver.locked``."""
        return acts.locked(wait=wait)

    # -- networks ----------------------------------------------------------------------------------

    def plan(self, network: Network, others: Collection[Network], *, ipv4: bool = True, ipv6: bool = False) -> Network:
        """See ``NetworkDriver.plan``."""
        bridge = network.bridge or self.names.bridge_of(network.id)
        if len(bridge) > _LONGEST_NAME or bridge in (".", "..") or any(one.isspace() or one in '/:"' for one in bridge):
            raise UsageError(f"bad name of a bridge: {bridge!r}", hint=f"use {_LONGEST_NAME} letters at most")
        if links.index_of(bridge) or any(one.bridge == bridge for one in others):
            raise Conflict(f"link {bridge} is there already", hint="give another name, or none")
        planned = choosing.plan(replace(network, bridge=bridge), others, routes.of_host(), ipv4=ipv4, ipv6=ipv6)
        if any(":" in one.subnet for one in planned.subnets) and not forwarding.kernel_has_ipv6():
            raise UsageError("this kernel has no IPv6", hint="make the network without")
        return planned

    def raise_network(self, network: Network, others: Callable[[], Connections]) -> None:
        """See ``NetworkDriver.raise_network``."""
        with network_errors(), self.locked(), self._open_walls() as walls:
            self._raise(walls, [places.place_of_network(network)], others, is_used=False)

    def lower_network(self, network: Network) -> Iterator[Child | Vanishing]:
        """See ``NetworkDriver.lower_network``."""
        return self.lower_bridge(network.bridge)

    def lower_bridge(self, bridge: str) -> Iterator[Child | Vanishing]:
        """See ``NetworkDriver.lower_bridge``. The firewall forgets a bridge first: its subnet may soon be another's."""
        with network_errors():
            yield from Vanishing(self._links_on(bridge), _LINKS_GONE_WITHIN_S).wait()
            opened = self._open_walls()
        with opened as walls, self.locked(wait=False):
            with network_errors():
                here = links.links()
            own = [link for link in here if self.names.is_link(link.name)]
            found = next((link for link in here if link.name == bridge and self.names.is_bridge(link)), None)
            if found is not None and any(link.master == found.index for link in own):
                return
            others = [link for link in here if self.names.is_bridge(link) and link is not found]
            heir = next(iter(others), None)
            yield from self._lower(walls, bridge, heir, has_link=found is not None, is_last=not own and heir is None)

    def _links_on(self, bridge: str) -> list[str]:
        number = links.index_of(bridge)
        return [one.name for one in links.links() if number and one.master == number and self.names.is_link(one.name)]

    def _lower(
        self, walls: Walls, bridge: str, heir: links.Link | None, *, has_link: bool, is_last: bool
    ) -> Iterator[Child]:
        families = walls.families()
        homes = [home for home in walls.homes() if home.bridge == bridge]
        text = rules.gone(self.names.table, families) if is_last else rules.unsettled(self.names.table, homes)
        found = walls.elements() if is_last else []
        if families and text:
            yield from acts.steps(acts.ruleset(text))
        with network_errors():
            forwarding.turn_back(bridge, heir)
            walls.forget_flows_to(found)
        if has_link:
            yield from acts.steps(command.spawn([str(acts.ip()), "link", "del", bridge]))

    def _raise(
        self, walls: Walls, wanted: Sequence[places.Place], others: Callable[[], Connections], *, is_used: bool
    ) -> tuple[dict[str, int], set[int]]:
        """Make what there is not yet of tables and bridges; return the numbers of the bridges, and for which families
        this host is a router by Bento alone.

        Where a table was removed by another program, the containers that run get their places in it again.
        """
        keep_seed(self._root, self.names.seed)
        name, there, settled = self.names.table, raising.bridges(self.names, wanted), walls.homes()
        routed, broken = raising.broken(walls, wanted, list(there.values()), settled, is_used=is_used)
        homes, connections = [home for place in wanted for home in place.homes], others() if broken else {}
        if broken:
            more = list(dict.fromkeys(places.place_of(one) for each in connections.values() for one in each))
            their_routed, lost = raising.broken(walls, more, list(there.values()), settled, is_used=True)
            routed, broken = routed | their_routed, broken | lost
            homes += [home for place in more for home in place.homes]
            homes += [home for home in settled if home not in raising.stale(wanted, settled)]
        text = rules.gone(name, [family for family in walls.families() if family in broken]) if broken else ""
        text += "".join(rules.table(name, family, is_router=family in routed) for family in sorted(broken))
        text += rules.settled(name, [one for one in dict.fromkeys(homes) if one.family in broken or one not in settled])
        if text:
            acts.do(acts.ruleset(text))
        if broken:
            walls.admit(rules.elements_of(connections))
        numbers = {place.bridge: raising.set_up(self.names, place, there.get(place.bridge), routed) for place in wanted}
        return numbers, routed

    # -- containers --------------------------------------------------------------------------------

    def check_attachment(self, network: Network, asked: Attachment) -> None:
        """See ``NetworkDriver.check_attachment``."""
        choosing.check(network, asked)

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
        """See ``NetworkDriver.choose``. A container gets the same address in each run, when it is free."""
        if number_of(interface) >= MOST:
            raise Conflict(f"a container is on {MOST} networks at most", hint="connect it to fewer")
        if not network.subnets:
            blocks = [route.block for route in routes.of_host()]
            blocks += [subnets.parse(one.subnet) for other in claimed for one in other.subnets]
            block = subnets.free_subnet(subnets.DEFAULT_POOL, subnets.DEFAULT_PREFIX, self.names.seed, blocks)
            if block is None:
                raise Conflict("no address is free for another container", hint="stop some containers first")
            network = replace(network, subnets=(Subnet(subnet=str(block), gateway=block.address(1)),))
        return choosing.connection(network, container_id, asked, interface, taken.__contains__)

    def connect(
        self,
        container_id: str,
        connections: Sequence[Connection],
        netns: str,
        others: Callable[[], Connections],
        *,
        only: str = "",
    ) -> None:
        """See ``NetworkDriver.connect``. The walls stand before there is a way."""
        made = [one for one in connections if not only or one.interface == only]
        namespace_fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with network_errors(), self.locked(), self._open_walls() as walls:
                numbers, routed = self._raise(walls, list(map(places.place_of, made)), others, is_used=True)
                for one in made:
                    self._make_pair(container_id, one, numbers[one.bridge], namespace_fd)
                interfaces = [one.interface for one in made]
                # Before the ports: a connection to an address that does not answer yet would hang for a second.
                namespace.in_network(namespace_fd, lambda: ends.set_up_inside(connections, interfaces))
                self._open_ports(walls, {container_id: made}, routed)
                for one in made:
                    walls.forget_flows(one)
        finally:
            os.close(namespace_fd)

    def _make_pair(self, container_id: str, connection: Connection, bridge: int, namespace_fd: int) -> None:
        link = self.names.link(container_id, connection.interface)
        number = links.add_veth(link, (connection.interface, connection.mac), namespace_fd, mtu=connection.mtu)
        ends.set_up_outside(link, number, connection, bridge)

    def _open_walls(self) -> Walls:
        return walls.Walls(self.names.table)

    def _open_ports(self, walls: Walls, connections: Connections, routed: Collection[int]) -> None:
        """Let containers out, and others in by their published ports."""
        walls.admit(rules.elements_of(connections))
        for bridge in rules.reached_by_loopback(connections):
            forwarding.route_loopback(bridge, is_wanted=True)
        bridge = next((one.bridge for each in connections.values() for one in each), "")
        for family in routed:
            forwarding.turn_on(family, bridge)

    def announce(self, connections: Sequence[Connection], main_fd: int) -> None:
        """See ``NetworkDriver.announce``."""
        ends.announce(connections, main_fd)

    def disconnect(
        self, container_id: str, connection: Connection, left: Sequence[Connection], pid: int
    ) -> Iterator[Child]:
        """See ``NetworkDriver.disconnect``."""
        addresses = [one for one in (connection.address, connection.address6) if one]
        link = self.names.link(container_id, connection.interface)
        yield from self._ending.remove(container_id, [link], addresses, connection.forwarded_to)
        try:
            namespace_fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it has ended
            return
        try:
            # What is left may have been renamed, or set down, in there: that is no reason to keep the network.
            with suppress(KernelError):
                namespace.in_network(namespace_fd, lambda: ends.lead_outside(left))
        finally:
            os.close(namespace_fd)

    def begin_drain(self, container_id: str, connections: Sequence[Connection], main_fd: int | None) -> Child | None:
        """See ``NetworkDriver.begin_drain``. Between containers on a bridge only they themselves can refuse."""
        if main_fd is not None:
            ends.refuse(main_fd)
        if not any(one.ports for one in connections):
            return None
        return acts.ruleset(rules.drained(self.names.table, rules.owner_of(container_id), connections))

    def end(self, child: Child) -> str:
        """See ``NetworkDriver.end``."""
        return acts.end(child)

    def close_ports(self, container_id: str) -> None:
        """See ``NetworkDriver.close_ports``."""
        self._ending.close_ports(container_id)

    def forget_connections(self, container_id: str, addresses: Sequence[str]) -> None:
        """See ``NetworkDriver.forget_connections``."""
        self._ending.forget_connections(container_id, addresses)

    def release(
        self, container_id: str, addresses: Sequence[str] | None = None, *, ended_mono_s: float | None = None
    ) -> Iterator[Child | Vanishing]:
        """See ``NetworkDriver.release``."""
        return self._ending.release(container_id, addresses, ended_mono_s)

    # -- looking after them ------------------------------------------------------------------------

    def leftovers(self, networks: Collection[Network]) -> list[Leftover]:
        """See ``NetworkDriver.leftovers``."""
        return looking.leftovers(self.names, {one.bridge for one in networks})

    def missing(self, connections: Connections) -> list[str]:
        """See ``NetworkDriver.missing``."""
        return looking.missing(self.names, connections)

    def mend(self, connections: Connections) -> None:
        """See ``NetworkDriver.mend``."""
        with network_errors(), self.locked(), self._open_walls() as walls:
            live = looking.live(self.names, connections, set(host_ports.interfaces()))
            if not live:
                return
            wanted = dict.fromkeys(places.place_of(one) for each in live.values() for one in each)
            numbers, routed = self._raise(walls, list(wanted), lambda: live, is_used=True)
            for name, each in live.items():
                for one in each:
                    link = self.names.link(name, one.interface)
                    ends.set_up_outside(link, links.index_of(link), one, numbers[one.bridge])
            self._open_ports(walls, live, routed)

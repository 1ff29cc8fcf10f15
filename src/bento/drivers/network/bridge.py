"""Networks on bridges, and the namespaces ``none`` and ``host``, for which nothing is made.

A network has a bridge. An engine has one nftables table (and one for IPv6), in which its bridges and containers are
elements of sets. They stay while there are containers or networks on record. For each connection of a container there
are a pair of links, named after it, with a guard on it, and elements marked with its id. What changes links holds a
lock on the network namespace itself, so that engines with different roots do not take the same subnet, and none removes
the bridge under another.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from bento import command
from bento.command import Child
from bento.drivers.network import choosing, ends, forwarding, keys, looking, places, raising, reserving, rules, subnets
from bento.drivers.network.acts import network_errors, spawn, together
from bento.drivers.network.base import Connections, Leftover, Reservation
from bento.drivers.network.places import Names
from bento.drivers.network.vanishing import Vanishing
from bento.drivers.network.walls import Walls
from bento.errors import Conflict, KernelError, RuntimeFailed, UsageError
from bento.kernel import namespace
from bento.kernel.net import links
from bento.kernel.net import ports as host_ports
from bento.model.network import BRIDGE, Attachment, Connection, Network, Port, Subnet, builtin_id

_CALL_TIMEOUT_S: Final = 20.0  # milliseconds, but on a machine that is busy with links of others
_NO_LINK: Final = ("Cannot find device", "No such device")  # one by its name, those of a group
_WITHOUT_PORTS: Final = {"host": "is the host's own: its ports are, too", "none": "has no way to its ports"}
_LONGEST_NAME: Final = 15


class BridgeNetwork:
    """Implements ``NetworkDriver`` for the engine whose root this is."""

    def __init__(self, root: Path, *, is_default: bool, has_names: bool = False) -> None:
        """``has_names``: containers on the default network find each other by name."""
        self._root, self.names = root, Names(keys.seed_of(root, is_default=is_default))
        self._has_names = has_names
        self._closing: dict[str, Walls] = {}  # of containers whose ports were closed

    def default(self) -> Network:
        """See ``NetworkDriver.default``."""
        block = subnets.subnet_of(self.names.bridge, looking.routes())
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
        if network not in _WITHOUT_PORTS and not network.startswith("container:"):
            self._ip()
            self._nft()

    def namespaces(self, network: str) -> list[dict[str, str]]:
        """See ``NetworkDriver.namespaces``. Runtimes bring a new namespace's loopback up themselves."""
        return [] if network == "host" or network.startswith("container:") else [{"type": "network"}]

    def reserve(self, ports: Collection[Port]) -> Reservation:
        """See ``NetworkDriver.reserve``."""
        return reserving.reserve(ports)

    @contextmanager
    def locked(self, *, wait: bool = True) -> Iterator[None]:
        """See ``NetworkDriver.locked``. The lock is on the namespace's own inode: it needs no file that would stay."""
        fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict("another process changes networks", hint="try again when it is done") from error
            yield
        finally:
            os.close(fd)

    # -- networks ----------------------------------------------------------------------------------

    def plan(self, network: Network, others: Collection[Network], *, ipv4: bool = True, ipv6: bool = False) -> Network:
        """See ``NetworkDriver.plan``."""
        bridge = network.bridge or self.names.bridge_of(network.id)
        if len(bridge) > _LONGEST_NAME or bridge in (".", "..") or any(one.isspace() or one in '/:"' for one in bridge):
            raise UsageError(f"bad name of a bridge: {bridge!r}", hint=f"use {_LONGEST_NAME} letters at most")
        if links.index_of(bridge) or any(one.bridge == bridge for one in others):
            raise Conflict(f"link {bridge} is there already", hint="give another name, or none")
        planned = choosing.plan(replace(network, bridge=bridge), others, looking.routes(), ipv4=ipv4, ipv6=ipv6)
        if any(":" in one.subnet for one in planned.subnets) and not forwarding.kernel_has_ipv6():
            raise UsageError("this kernel has no IPv6", hint="make the network without")
        return planned

    def raise_network(self, network: Network, others: Callable[[], Connections]) -> None:
        """See ``NetworkDriver.raise_network``."""
        with network_errors(), self.locked(), Walls(self.names.table) as walls:
            self._raise(walls, [places.place_of_network(network)], others, is_used=False)

    def lower_network(self, network: Network) -> Iterator[Child]:
        """See ``NetworkDriver.lower_network``."""
        return self.lower_bridge(network.bridge)

    def lower_bridge(self, bridge: str) -> Iterator[Child]:
        """See ``NetworkDriver.lower_bridge``. The firewall forgets a bridge first: its subnet may soon be another's."""
        with network_errors():
            opened = Walls(self.names.table)
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

    def _lower(
        self, walls: Walls, bridge: str, heir: links.Link | None, *, has_link: bool, is_last: bool
    ) -> Iterator[Child]:
        families = walls.families()
        homes = [home for home in walls.homes() if home.bridge == bridge]
        text = rules.gone(self.names.table, families) if is_last else rules.unsettled(self.names.table, homes)
        found = walls.elements() if is_last else []
        if families and text:
            yield from self._steps(self._ruleset(text))
        with network_errors():
            forwarding.turn_back(bridge, heir)
            walls.forget_flows_to(found)
        if has_link:
            yield from self._steps(command.spawn([str(self._ip()), "link", "del", bridge]))

    def _raise(
        self, walls: Walls, wanted: Sequence[places.Place], others: Callable[[], Connections], *, is_used: bool
    ) -> tuple[dict[str, int], set[int]]:
        """Make what there is not yet of tables and bridges; return the numbers of the bridges, and for which families
        this host is a router by Bento alone.

        Where a table was removed by another program, the containers that run get their places in it again.
        """
        keys.keep(self._root, self.names.seed)
        name, there, settled = self.names.table, raising.bridges(self.names, wanted), walls.homes()
        routed, broken = raising.broken(walls, wanted, list(there.values()), settled, is_used=is_used)
        homes, connections = [home for place in wanted for home in place.homes], others() if broken else {}
        if broken:
            more = list(dict.fromkeys(places.place_of(one) for each in connections.values() for one in each))
            their_routed, lost = raising.broken(walls, more, list(there.values()), settled, is_used=True)
            routed, broken = routed | their_routed, broken | lost
            homes += [home for place in more for home in place.homes]
            homes += [home for home in settled if home not in raising.stale(wanted, settled)]
        text = rules.gone(name, [family for family in walls.families() if family in broken])
        text += "".join(rules.table(name, family, is_router=family in routed) for family in sorted(broken))
        text += rules.settled(name, [one for one in dict.fromkeys(homes) if one.family in broken or one not in settled])
        if text:
            self._do(self._ruleset(text))
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
        if places.number_of(interface) >= places.MOST:
            raise Conflict(f"a container is on {places.MOST} networks at most", hint="connect it to fewer")
        if not network.subnets:
            blocks = [route.block for route in looking.routes()]
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
        pid: int,
        others: Callable[[], Connections],
        *,
        only: str = "",
    ) -> None:
        """See ``NetworkDriver.connect``. The walls stand before there is a way."""
        made = [one for one in connections if not only or one.interface == only]
        namespace_fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with network_errors(), self.locked(), Walls(self.names.table) as walls:
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

    def _open_ports(self, walls: Walls, connections: Connections, routed: Collection[int]) -> None:
        """Let containers out, and others in by their published ports."""
        walls.admit(rules.elements_of(connections))
        for bridge in rules.reached_by_loopback(connections):
            forwarding.route_loopback(bridge, is_wanted=True)
        bridge = next((one.bridge for each in connections.values() for one in each), "")
        for family in routed:
            forwarding.turn_on(family, bridge)

    def disconnect(
        self, container_id: str, connection: Connection, left: Sequence[Connection], pid: int
    ) -> Iterator[Child]:
        """See ``NetworkDriver.disconnect``."""
        addresses = [one for one in (connection.address, connection.address6) if one]
        link = self.names.link(container_id, connection.interface)
        yield from self._remove(container_id, [link], addresses, connection.forwarded_to)
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
        return self._ruleset(rules.drained(self.names.table, rules.owner_of(container_id), connections))

    def end(self, child: Child) -> str:
        """See ``NetworkDriver.end``."""
        done = child.finish(_CALL_TIMEOUT_S)
        if done.returncode == 0:
            return ""
        words = " ".join(done.stderr.split())[:300]
        return f"{os.path.basename(done.argv[0])}: {words or f'status {done.returncode}'}"

    def close_ports(self, container_id: str) -> None:
        """See ``NetworkDriver.close_ports``. The socket stays open until ``release``: see ``nftables.change``."""
        with network_errors():
            walls = self._closing.get(container_id) or Walls(self.names.table)
            self._closing[container_id] = walls
            walls.dismiss(rules.owner_of(container_id))

    def release(self, container_id: str, addresses: Sequence[str] | None = None) -> Iterator[Child | Vanishing]:
        """See ``NetworkDriver.release``. The kernel deletes links by itself when the last process inside has ended."""
        vanishing = Vanishing(self.names.links_of(container_id))
        try:
            while vanishing.left() and not vanishing.is_late:
                yield vanishing
            there = vanishing.left()
        finally:
            vanishing.kill()
        yield from self._remove(container_id, there, (), addresses)

    def _remove(
        self, container_id: str, own: Sequence[str], addresses: Sequence[str], forwarded: Sequence[str] | None
    ) -> Iterator[Child]:
        """Remove links of a container, and its elements: those of ``addresses``, or all."""
        starts: list[Callable[[], Child]] = []
        if own:
            starts.append(partial(command.spawn, [str(self._ip()), "link", "del", *together(own)]))
        walls = self._closing.pop(container_id, None)
        if forwarded is not None and not forwarded and walls is None:  # it has nothing there
            yield from self._meanwhile(starts, lambda: None)
            return
        with network_errors():
            walls = walls or Walls(self.names.table)
        with walls:  # to the end: to close it earlier would be to wait
            yield from self._meanwhile(starts, lambda: self._dismiss(walls, container_id, addresses, forwarded or ()))

    def _dismiss(self, walls: Walls, container_id: str, addresses: Sequence[str], forwarded: Sequence[str]) -> None:
        mine, left = walls.dismiss(rules.owner_of(container_id), addresses)
        walls.forget_flows_to(mine, forwarded)
        routed = looking.loopback_routed(walls, mine, forwarded)
        if routed and not routed <= looking.loopback_reached(walls, left):
            with self.locked(wait=False):  # has one been published meanwhile?
                for bridge in routed - looking.loopback_reached(walls, walls.elements()):
                    forwarding.route_loopback(bridge, is_wanted=False)

    # -- looking after them ------------------------------------------------------------------------

    def leftovers(self, networks: Collection[Network]) -> list[Leftover]:
        """See ``NetworkDriver.leftovers``."""
        return looking.leftovers(self.names, {one.bridge for one in networks})

    def missing(self, connections: Connections) -> list[str]:
        """See ``NetworkDriver.missing``."""
        return looking.missing(self.names, connections)

    def mend(self, connections: Connections) -> None:
        """See ``NetworkDriver.mend``."""
        with network_errors(), self.locked(), Walls(self.names.table) as walls:
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

    # -- tools -------------------------------------------------------------------------------------

    def _ip(self) -> Path:
        return command.find_program("ip", package="iproute2")

    def _nft(self) -> Path:
        return command.find_program("nft", package="nftables")

    def _ruleset(self, text: str) -> Child:
        return spawn([str(self._nft()), "-f", "-"], text)

    def _meanwhile(self, starts: Iterable[Callable[[], Child]], act: Callable[[], None]) -> Iterator[Child]:
        """Do the rest while the kernel removes links, which takes it tens of milliseconds."""
        children: list[Child] = []
        try:
            children.extend(start() for start in starts)
            with network_errors():
                act()
            for child in children:
                yield from self._step(child)
        finally:
            for child in children:
                child.kill()

    def _do(self, child: Child) -> None:
        for _ in self._steps(child):
            pass

    def _steps(self, child: Child) -> Iterator[Child]:
        try:
            yield from self._step(child)
        finally:
            child.kill()

    def _step(self, child: Child) -> Iterator[Child]:
        yield child
        reason = self.end(child)
        if reason and not any(words in reason for words in _NO_LINK):
            raise RuntimeFailed(f"the network failed: {reason}")

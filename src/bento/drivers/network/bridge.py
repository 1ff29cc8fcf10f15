"""The networks: ``none`` and ``host``, which the namespaces alone make, and ``bridge``.

An engine has one bridge and one nftables table, which are there while a container is on it. For a container there are
a pair of links, named after it, with a guard on it, and elements in sets of the table, marked with its id. What
changes links holds a lock on the network namespace itself, so that engines with different roots do not take the same
subnet, and none removes the bridge under another.
"""

from __future__ import annotations

import binascii
import fcntl
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bento import command
from bento.command import Child
from bento.drivers.network import ends, forwarding, guards, reserving, rules, subnets
from bento.drivers.network.base import Leftover, Reservation
from bento.drivers.network.walls import Walls
from bento.errors import Conflict, KernelError, RuntimeFailed, UsageError
from bento.kernel import namespace
from bento.kernel.net import links
from bento.kernel.net import ports as host_ports
from bento.kernel.net.nftables import Element
from bento.model.network import Connection, Port

_CALL_TIMEOUT_S: Final = 20.0  # milliseconds, but on a machine that is busy with links of others
_NO_LINK: Final = ("Cannot find device", "No such device")  # one by its name, those of a group
NETWORKS: Final = ("none", "bridge", "host")


class BridgeNetwork:
    """Implements ``NetworkDriver`` for the engine whose root this is."""

    def __init__(self, root: Path, *, is_default: bool) -> None:
        self._seed = 0 if is_default else binascii.crc32(os.fsencode(root))
        self._key = f"{self._seed:08x}"
        self.bridge = "bento0" if is_default else f"bento-{self._key}"

    def check(self, network: str, ports: Collection[Port]) -> None:
        """See ``NetworkDriver.check``."""
        self.namespaces(network)
        if ports and network != "bridge":
            why = {"host": "is the host's own: its ports are, too", "none": "has no way to its ports"}[network]
            raise UsageError(
                f"--publish does not go with --network {network}, which {why}", hint="use --network bridge"
            )
        if network == "bridge":
            self._ip()
            self._nft()

    def namespaces(self, network: str) -> list[dict[str, str]]:
        """See ``NetworkDriver.namespaces``. Runtimes bring a new namespace's loopback up themselves."""
        if network not in NETWORKS:
            raise UsageError(f"unknown network {network!r}", hint=f"use {', '.join(NETWORKS[:-1])} or {NETWORKS[-1]}")
        return [] if network == "host" else [{"type": "network"}]

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

    def choose(self, container_id: str, taken: Collection[str], ports: tuple[Port, ...]) -> Connection:
        """See ``NetworkDriver.choose``. A container gets the same address in each run, when it is free."""
        routes = _routes()
        network = subnets.subnet_of(self.bridge, routes)
        if network is None:
            network = subnets.free_subnet(self._seed, routes)
        address = None if network is None else subnets.free_address(network, int(container_id[:8], 16), taken)
        if network is None or address is None:
            raise Conflict("no address is free for another container", hint="stop some containers first")
        return Connection(
            bridge=self.bridge,
            address=address,
            prefix=subnets.PREFIX,
            gateway=subnets.dotted(network + 1),
            mac=rules.mac_of(address),
            ports=ports,
        )

    def connect(
        self, container_id: str, connection: Connection, pid: int, others: Callable[[], Mapping[str, Connection]]
    ) -> None:
        """See ``NetworkDriver.connect``. The walls stand before there is a way."""
        namespace_fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with _network_errors(), self.locked(), Walls(self._table) as walls:
                bridge, is_router = self._raise(walls, connection, others)
                self._make_pair(container_id, connection, bridge, namespace_fd)
                self._open_ports(walls, {container_id: connection}, is_router=is_router)
                walls.forget_flows(connection)
            with _network_errors():
                namespace.in_network(namespace_fd, lambda: ends.set_up_inside(connection))
        finally:
            os.close(namespace_fd)

    def _raise(
        self, walls: Walls, connection: Connection, others: Callable[[], Mapping[str, Connection]]
    ) -> tuple[int, bool]:
        """Make what there is not yet of table and bridge; return the bridge's number, and whether we made a router.

        Where the table was removed by another program, the containers that run get their places in it again.
        """
        there = links.find(self.bridge)
        is_router = forwarding.is_ours(there)
        if there is None or not walls.stand(is_router=is_router):
            old = rules.gone(self._table) if walls.are_there() else ""
            self._do(self._ruleset(old + rules.table(self._table, connection, is_router=is_router)))
            walls.admit(_elements(others()))
        number = there.index if there else links.add_bridge(self.bridge, rules.mac_of(connection.gateway))
        if is_router and not (there and there.alias == forwarding.TURNED_ON):
            links.set_alias(number, forwarding.TURNED_ON)
        forwarding.forgo_ipv6(self.bridge)
        ends.guard(number, links.EGRESS, guards.of_bridge())
        links.add_address(number, connection.gateway, connection.prefix)
        links.set_up(number)
        return number, is_router

    def _make_pair(self, container_id: str, connection: Connection, bridge: int, namespace_fd: int) -> None:
        link = self._link(container_id)
        number = links.add_veth(link, ("eth0", connection.mac), namespace_fd)
        ends.set_up_outside(link, number, connection, bridge)

    def _open_ports(self, walls: Walls, connections: Mapping[str, Connection], *, is_router: bool) -> None:
        """Let containers out, and others in by their published ports."""
        wanted = _elements(connections)
        walls.admit(wanted)
        if rules.reaches_loopback(wanted):
            forwarding.route_loopback(self.bridge, is_wanted=True)
        if is_router:
            forwarding.turn_on()

    def begin_drain(self, container_id: str, connection: Connection) -> Child:
        """See ``NetworkDriver.begin_drain``."""
        return self._ruleset(rules.drained(self._table, _owner(container_id), connection))

    def end(self, child: Child) -> str:
        """See ``NetworkDriver.end``."""
        done = child.finish(_CALL_TIMEOUT_S)
        if done.returncode == 0:
            return ""
        words = " ".join(done.stderr.split())[:300]
        return f"{os.path.basename(done.argv[0])}: {words or f'status {done.returncode}'}"

    def release(self, container_id: str, address: str = "") -> Iterator[Child]:
        """See ``NetworkDriver.release``."""
        link = self._link(container_id)
        with _network_errors():
            opened = Walls(self._table)
        with opened as walls:  # to the end: to close it earlier would be to wait
            if self._is_idle(walls, but_for=link):
                with self.locked(wait=False):
                    if self._is_idle(walls, but_for=link):
                        yield from self._take_down(walls, link, address)
                        return
            deletion = [str(self._ip()), "link", "del", link]
            starts = [partial(command.spawn, deletion)] if link in host_ports.interfaces() else []
            yield from self._meanwhile(starts, lambda: self._dismiss(walls, container_id, address))

    def _take_down(self, walls: Walls, link: str, address: str) -> Iterator[Child]:
        """Remove table and bridge, and with it the last link: all links at once take the kernel as long as one."""
        with _network_errors():
            forwarding.turn_back(self.bridge)
            for name in (link, self.bridge):
                links.set_group(name, self._group)
        found = walls.elements()
        starts = [partial(command.spawn, [str(self._ip()), "link", "del", "group", str(self._group)])]
        if walls.are_there():
            starts.append(partial(self._ruleset, rules.gone(self._table)))
        yield from self._meanwhile(starts, lambda: walls.forget_flows_to(found, address))

    def _dismiss(self, walls: Walls, container_id: str, address: str) -> None:
        mine, left = walls.dismiss(_owner(container_id))
        walls.forget_flows_to(mine, address)
        if not rules.reaches_loopback(left) and forwarding.routes_loopback(self.bridge):
            with self.locked(wait=False):
                if not rules.reaches_loopback(walls.elements()):  # nor has one been published meanwhile
                    forwarding.route_loopback(self.bridge, is_wanted=False)

    def _meanwhile(self, starts: Iterable[Callable[[], Child]], act: Callable[[], None]) -> Iterator[Child]:
        """Do the rest while the kernel removes links, which takes it tens of milliseconds."""
        children: list[Child] = []
        try:
            children.extend(start() for start in starts)
            with _network_errors():
                act()
            for child in children:
                yield from self._step(child)
        finally:
            for child in children:
                child.kill()

    def _is_idle(self, walls: Walls, but_for: str = "") -> bool:
        """Whether bridge or table are there and no container, but for one, is on it."""
        names = host_ports.interfaces()
        if any(name.startswith(self._links) and name != but_for for name in names):
            return False
        return self.bridge in names or walls.are_there()

    def leftovers(self) -> list[Leftover]:
        """See ``NetworkDriver.leftovers``."""
        names = host_ports.interfaces()
        found = [
            Leftover(name.removeprefix(self._links), f"link {name}") for name in names if name.startswith(self._links)
        ]
        try:
            with Walls(self._table) as walls:
                owners, is_idle = {one.comment for one in walls.elements()}, self._is_idle(walls)
        except KernelError:  # a kernel without firewall: nothing of a bridge was ever made
            return found
        found += [Leftover(owner, f"rules in nftables table {self._table}") for owner in sorted(owners)]
        if is_idle:
            there = f"bridge {self.bridge}" if self.bridge in names else f"nftables table {self._table}"
            found.append(Leftover("", there))
        return found

    def missing(self, connections: Mapping[str, Connection]) -> list[str]:
        """See ``NetworkDriver.missing``."""
        here = {link.name: link for link in links.links()}
        live = {name: one for name, one in connections.items() if self._link(name) in here}
        if not live:
            return []
        bridge = here.get(self.bridge)
        found = [] if bridge else [f"bridge {self.bridge}"]
        if bridge and not links.has_guard(bridge.index, links.EGRESS, guards.of_bridge()):
            found.append(f"guard of bridge {self.bridge}")
        found += _altered(bridge) if bridge else []
        for name, one in live.items():
            link, program = here[self._link(name)], guards.of_container(one.address, one.mac)
            if not links.has_guard(link.index, links.INGRESS, program) or (bridge and link.master != bridge.index):
                found.append(f"guard of link {link.name}")
        wanted = _elements(live)
        with Walls(self._table) as walls:
            do_stand, there = walls.stand(is_router=forwarding.is_ours(bridge)), walls.elements()
        if not do_stand:
            found.append(f"rules in nftables table {self._table}")
        elif not {(one.set_name, one.key) for one in wanted} <= _with_closed(there):
            found.append(f"containers in nftables table {self._table}")
        if not forwarding.is_on():
            found.append("net.ipv4.ip_forward")
        if bridge and rules.reaches_loopback(wanted) and not forwarding.routes_loopback(self.bridge):
            found.append(f"net.ipv4.conf.{self.bridge}.route_localnet")
        return found

    def mend(self, connections: Mapping[str, Connection]) -> None:
        """See ``NetworkDriver.mend``."""
        with _network_errors(), self.locked(), Walls(self._table) as walls:
            names = set(host_ports.interfaces())
            live = {name: one for name, one in connections.items() if self._link(name) in names}
            if not live:
                return
            bridge, is_router = self._raise(walls, next(iter(live.values())), lambda: live)
            for name, one in live.items():
                ends.set_up_outside(self._link(name), links.index_of(self._link(name)), one, bridge)
            self._open_ports(walls, live, is_router=is_router)

    # -- names and tools ---------------------------------------------------------------------------

    @property
    def _table(self) -> str:
        return f"bento-{self._key}"

    @property
    def _links(self) -> str:
        return f"b{self._key[:6]}"

    @property
    def _group(self) -> int:
        """What links of this engine that are to go have in common: never 0, which all links have at first."""
        return 1 << 30 | self._seed & (1 << 30) - 1

    def _link(self, container_id: str) -> str:
        """15 letters at most are a link's name."""
        return f"{self._links}{container_id[:8]}"

    def _ip(self) -> Path:
        return command.find_program("ip", package="iproute2")

    def _nft(self) -> Path:
        return command.find_program("nft", package="nftables")

    def _ruleset(self, text: str) -> Child:
        return _spawn([str(self._nft()), "-f", "-"], text)

    def _do(self, child: Child) -> None:
        try:
            for _ in self._step(child):
                pass
        finally:
            child.kill()

    def _step(self, child: Child) -> Iterator[Child]:
        yield child
        reason = self.end(child)
        if reason and not any(words in reason for words in _NO_LINK):
            raise RuntimeFailed(f"the network failed: {reason}")


@contextmanager
def _network_errors() -> Iterator[None]:
    """Say that it was the network, where the kernel has refused something."""
    try:
        yield
    except KernelError as error:
        raise RuntimeFailed(f"the network failed: {error.message}", hint=error.hint) from error


def _elements(connections: Mapping[str, Connection]) -> list[Element]:
    return [one for name, connection in connections.items() for one in rules.elements(_owner(name), connection)]


def _altered(bridge: links.Link) -> list[str]:
    """Return what others have done to the bridge itself."""
    found = [] if bridge.is_up else [f"bridge {bridge.name} is down"]
    return found if forwarding.forgoes_ipv6(bridge.name) else [*found, f"IPv6 is on at bridge {bridge.name}"]


def _with_closed(found: list[Element]) -> set[tuple[str, bytes]]:
    """Return keys of elements. A port that a stop has closed counts as published: it is not missing."""
    return {(one.set_name.replace("closed", "published"), one.key) for one in found}


def _owner(container_id: str) -> str:
    """How the elements of a container are marked."""
    return container_id[:12]


def _routes() -> list[subnets.Route]:
    return subnets.parse_routes(Path("/proc/thread-self/net/route").read_text(encoding="ascii"))


def _spawn(argv: list[str], text: str) -> Child:
    """Start a program that reads ``text`` from its standard input."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        os.write(fd, text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        return command.spawn(argv, stdin_fd=fd)
    finally:
        os.close(fd)

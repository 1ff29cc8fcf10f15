"""The networks: ``none`` and ``host``, which the namespaces alone make, and ``bridge``, made by ip(8) and nft(8).

An engine has one bridge, which is there while a container is on it. For a container there are a pair of links and an
nftables table, named after it. Whoever changes links holds a lock on the network namespace itself, so that engines
with different roots do not take the same subnet, and nobody removes the bridge under somebody else.
"""

from __future__ import annotations

import binascii
import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from bento import command
from bento.command import Child
from bento.drivers.network import rules, subnets
from bento.drivers.network.base import Leftover, Reservation
from bento.errors import Conflict, MissingTool, PortTaken, RuntimeFailed, UsageError
from bento.kernel import namespace
from bento.kernel import ports as host_ports
from bento.model.network import Connection, Port

_CALL_TIMEOUT_S: Final = 20.0  # milliseconds, but on a machine that is busy with links of others
_NO_LINK: Final = "Cannot find device"
_FORWARD: Final = Path("/proc/sys/net/ipv4/ip_forward")
_LOCAL: Final = "/proc/sys/net/ipv4/conf/{}/route_localnet"
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
        taken: list[Port] = []
        fds: list[int] = []
        try:
            for port in ports:
                fd, number = self._reserve(port)
                fds.append(fd)
                taken.append(replace(port, host_port=number))
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return Reservation(tuple(taken), tuple(fds))

    def _reserve(self, port: Port) -> tuple[int, int]:
        try:
            return host_ports.reserve(port.host_ip, port.host_port, port.protocol)
        except OSError as error:
            where = f"{port.outside}/{port.protocol}"
            if host_ports.is_taken(error):
                who = host_ports.holder(port.host_port, port.protocol)
                raise PortTaken(f"port {where} is taken{f' by {who}' if who else ''}", port=port) from error
            raise UsageError(
                f"cannot publish {where}: {error.strerror}", hint="is that an address of this host?"
            ) from error

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

    def connect(self, container_id: str, connection: Connection, pid: int) -> None:
        """See ``NetworkDriver.connect``."""
        namespace_fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with self.locked():
                self._make_bridge(connection)
                self._do(self._batch(rules.link_up(connection, self._link(container_id), pid)))
            self._do(namespace.in_network(namespace_fd, lambda: self._batch(rules.inside_up(connection))))
        finally:
            os.close(namespace_fd)
        self._do(self._ruleset(rules.table(self._table(container_id), connection, subnets.around(connection.gateway))))

    def _make_bridge(self, connection: Connection) -> None:
        if connection.bridge not in host_ports.interfaces():
            self._do(self._batch(rules.bridge_up(connection)))
        for path in (_FORWARD, Path(_LOCAL.format(connection.bridge))):
            try:
                if path.read_text().strip() != "1":
                    path.write_text("1")
            except OSError as error:
                raise RuntimeFailed(f"cannot set {path} to 1: {error.strerror}", hint="a bridge needs it") from error

    def begin_drain(self, container_id: str, connection: Connection) -> Child:
        """See ``NetworkDriver.begin_drain``."""
        return self._ruleset(rules.drained(self._table(container_id), connection))

    def end(self, child: Child) -> str:
        """See ``NetworkDriver.end``."""
        done = child.finish(_CALL_TIMEOUT_S)
        if done.returncode == 0:
            return ""
        words = " ".join(done.stderr.split())[:300]
        return f"{os.path.basename(done.argv[0])}: {words or f'status {done.returncode}'}"

    def release(self, container_id: str) -> Iterator[Child]:
        """See ``NetworkDriver.release``."""
        yield from self._step(self._ruleset(rules.gone(self._table(container_id))))
        if (link := self._link(container_id)) in host_ports.interfaces():
            yield from self._step(self._delete_link(link))
        if self._is_idle():
            with self.locked(wait=False):
                if self._is_idle():
                    yield from self._step(self._delete_link(self.bridge))

    def _is_idle(self) -> bool:
        """Whether the bridge is there and no container is on it."""
        links = host_ports.interfaces()
        return self.bridge in links and not any(link.startswith(self._links) for link in links)

    def leftovers(self) -> list[Leftover]:
        """See ``NetworkDriver.leftovers``."""
        links = host_ports.interfaces()
        found = [
            Leftover(link.removeprefix(self._links), f"link {link}") for link in links if link.startswith(self._links)
        ]
        if self._is_idle():
            found.append(Leftover("", f"bridge {self.bridge}"))
        try:
            nft = str(self._nft())
        except MissingTool:  # then there are no tables of ours either
            return found
        listed = command.run([nft, "list", "tables", "ip"], timeout_s=_CALL_TIMEOUT_S)
        for line in listed.stdout.splitlines():
            name = line.split()[-1]
            if name.startswith(self._tables):
                found.append(Leftover(name.removeprefix(self._tables), f"nftables table {name}"))
        return found

    # -- names and tools ---------------------------------------------------------------------------

    @property
    def _tables(self) -> str:
        return f"bento-{self._key}-"

    @property
    def _links(self) -> str:
        return f"b{self._key[:6]}"

    def _table(self, container_id: str) -> str:
        return f"{self._tables}{container_id[:12]}"

    def _link(self, container_id: str) -> str:
        """15 letters at most are a link's name."""
        return f"{self._links}{container_id[:8]}"

    def _ip(self) -> Path:
        return command.find_program("ip", package="iproute2")

    def _nft(self) -> Path:
        return command.find_program("nft", package="nftables")

    def _batch(self, text: str) -> Child:
        return _spawn([str(self._ip()), "-batch", "-"], text)

    def _ruleset(self, text: str) -> Child:
        return _spawn([str(self._nft()), "-f", "-"], text)

    def _delete_link(self, link: str) -> Child:
        return command.spawn([str(self._ip()), "link", "del", link])

    def _do(self, child: Child) -> None:
        for _ in self._step(child):
            pass

    def _step(self, child: Child) -> Iterator[Child]:
        yield child
        reason = self.end(child)
        if reason and _NO_LINK not in reason:
            raise RuntimeFailed(f"the network failed: {reason}")


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

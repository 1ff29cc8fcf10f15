"""What an engine's links, tables and bridges are called, and what a bridge is to be. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from bento.drivers.network.rules import Home, family_of
from bento.drivers.network.subnets import around, parse
from bento.kernel.net.links import Link
from bento.model.network import BRIDGE, Connection, Network

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
MOST: Final = len(_DIGITS)
"""So many networks a container can be on."""


class Names:
    """What is this engine's, by name; engines with other roots have others. 15 letters at most are a link's name."""

    def __init__(self, seed: int) -> None:
        """``seed``: the number of the engine (``keys``)."""
        self.seed = seed
        key = f"{self.seed:08x}"
        self.bridge = f"bento-{key}" if seed else "bento0"
        self.table = f"bento-{key}"
        self.links = f"b{key[:5]}"
        self.group = 1 << 30 | self.seed & (1 << 30) - 1  # of the bridges; 0 is that of all links at first

    def bridge_of(self, network_id: str) -> str:
        """Return what the bridge of a network is called, unless it was given a name."""
        return f"{self.links}-{network_id[:8]}"

    def link(self, container_id: str, interface: str = "eth0") -> str:
        """Return what the host's end of a container's pair of links is called."""
        return f"{self.links_of(container_id)}{_DIGITS[number_of(interface)]}"

    def links_of(self, container_id: str) -> str:
        """Return what the names of a container's links begin with."""
        return f"{self.links}{container_id[:8]}"

    def is_link(self, name: str) -> bool:
        """Whether a link is a container's."""
        return name.startswith(self.links) and "-" not in name

    def is_bridge(self, link: Link) -> bool:
        """Whether a link is a bridge of this engine."""
        return link.kind == BRIDGE and (link.name == self.bridge or link.group == self.group)


def number_of(interface: str) -> int:
    """Return the number of ``eth3``."""
    return int(interface.removeprefix("eth"))


class Place(Struct, frozen=True):
    """A bridge as it is to be. ``gateways``: its own addresses with the length of their subnets' prefixes."""

    bridge: str
    gateways: tuple[tuple[str, int], ...]
    mtu: int = 0
    internal: bool = False
    routed: tuple[int, ...] = ()  # versions of IP

    @property
    def homes(self) -> list[Home]:
        """What the tables say of it."""
        found = []
        for address, prefix in self.gateways:
            is_routed = (6 if ":" in address else 4) in self.routed
            leads_out = not self.internal and not is_routed
            found.append(Home(self.bridge, str(around(address, prefix)), leads_out, is_routed))
        return found

    @property
    def has_ipv6(self) -> bool:
        """Whether it has IPv6."""
        return any(":" in address for address, _ in self.gateways)

    @property
    def families(self) -> set[int]:
        """Those of its subnets."""
        return {family_of(address) for address, _ in self.gateways}


def place_of(connection: Connection) -> Place:
    """Return the bridge that a connection is to."""
    gateways = ((connection.gateway, connection.prefix), (connection.gateway6, connection.prefix6))
    return Place(
        connection.bridge,
        tuple(one for one in gateways if one[0]),
        connection.mtu,
        connection.internal,
        connection.routed,
    )


def place_of_network(network: Network) -> Place:
    """Return the bridge of a network."""
    gateways = tuple((one.gateway, parse(one.subnet).prefix) for one in network.subnets)
    return Place(network.bridge, gateways, network.mtu, network.internal, network.routed)

"""What a bridge is to be. Pure."""

from __future__ import annotations

from msgspec import Struct

from bento.drivers.network.rules import Home, family_of
from bento.drivers.network.subnets import around, parse
from bento.model.network import Connection, Network


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

"""Which addresses are free: a subnet for an engine's bridge, an address in it for a container. Pure.

Addresses are numbers here. Each engine has a /20 of its own out of 10.176.0.0/12, none that this host has a route to.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from typing import Final

from msgspec import Struct

PREFIX: Final = 20
_POOL: Final = 10 << 24 | 176 << 16
_POOL_PREFIX: Final = 12
_SUBNETS: Final = 1 << (PREFIX - _POOL_PREFIX)
_SIZE: Final = 1 << (32 - PREFIX)


class Route(Struct, frozen=True):
    """A destination that packets have a way to."""

    link: str
    network: int
    mask: int


def parse_routes(text: str) -> list[Route]:
    """Read /proc/net/route (proc(5)); the default route is left out."""
    routes = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and int(fields[7], 16):
            routes.append(Route(fields[0], _native(fields[1]), _native(fields[7])))
    return routes


def _native(field: str) -> int:
    """The kernel prints the bytes of an address as a number of this machine's."""
    return int.from_bytes(int(field, 16).to_bytes(4, sys.byteorder), "big")


def subnet_of(link: str, routes: Iterable[Route]) -> int | None:
    """Return the subnet that a bridge of ours has, or None."""
    return next((route.network for route in routes if route.link == link), None)


def free_subnet(seed: int, routes: Collection[Route]) -> int | None:
    """Return a subnet that no route overlaps, the first from ``seed`` on; None when all are taken."""
    for step in range(_SUBNETS):
        network = _POOL | ((seed + step) % _SUBNETS) << (32 - PREFIX)
        if not is_taken(network, routes):
            return network
    return None


def is_taken(network: int, routes: Iterable[Route]) -> bool:
    """Whether a route overlaps a subnet of ours."""
    ours = -1 << (32 - PREFIX)
    return any((route.network & route.mask & ours) == (network & route.mask & ours) for route in routes)


def free_address(network: int, seed: int, taken: Collection[str]) -> str | None:
    """Return an address of the subnet, the first free one from ``seed`` on; None when all are taken.

    Not the first two and the last: the network's own, the bridge's, and the broadcast address.
    """
    usable = _SIZE - 3
    for step in range(usable):
        address = dotted(network + 2 + (seed + step) % usable)
        if address not in taken:
            return address
    return None


def dotted(number: int) -> str:
    """Return an address as people write it."""
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def around(gateway: str) -> str:
    """Return the subnet whose bridge has this address, as ``10.176.0.0/20``."""
    number = int.from_bytes(bytes(map(int, gateway.split("."))), "big")
    return f"{dotted(number & -1 << (32 - PREFIX))}/{PREFIX}"

"""What a network that is to be made must keep clear of: this host's routes and links, and whether it has IPv6."""

from __future__ import annotations

import _socket
from typing import Final

from bento.drivers.network.base import Surroundings
from bento.drivers.network.subnets import dotted, parse_routes
from bento.kernel.net.ports import interfaces

_ROUTES: Final = "/proc/thread-self/net/route"
_ROUTES6: Final = "/proc/thread-self/net/ipv6_route"
_RTF_REJECT: Final = 0x200  # linux/route.h
_OF_EVERY_LINK: Final = ("fe80:", "ff00:")


def look() -> Surroundings:
    """Look around in the network namespace of this thread. Raises OSError."""
    with open(_ROUTES, encoding="ascii") as file:
        routes = [
            (route.link, f"{dotted(route.network)}/{route.mask.bit_count()}") for route in parse_routes(file.read())
        ]
    try:
        with open(_ROUTES6, encoding="ascii") as file:
            routes += parse_routes6(file.read())
        has_ipv6 = True
    except FileNotFoundError:  # the kernel has none, or was started with ipv6.disable=1
        has_ipv6 = False
    return Surroundings(routes=tuple(routes), links=tuple(interfaces()), has_ipv6=has_ipv6)


def parse_routes6(text: str) -> list[tuple[str, str]]:
    """Return (link, destination) of each route of /proc/net/ipv6_route, but those that every host has."""
    found = []
    for line in text.splitlines():
        destination, prefix, *_, flags, link = line.split()
        if int(prefix, 16) == 0 or int(flags, 16) & _RTF_REJECT or link == "lo":
            continue
        subnet = f"{_socket.inet_ntop(_socket.AF_INET6, bytes.fromhex(destination))}/{int(prefix, 16)}"
        if not subnet.startswith(_OF_EVERY_LINK):
            found.append((link, subnet))
    return found

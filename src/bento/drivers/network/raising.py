"""Bridges as they are made: what is there of them and of the rules, and what is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bento.drivers.network import ends, forwarding, guards, routes, subnets
from bento.drivers.network.names import Names
from bento.drivers.network.places import Place
from bento.drivers.network.rules import Home, mac_of
from bento.drivers.network.walls import Walls
from bento.errors import Conflict
from bento.kernel.net import links
from bento.kernel.net.links import Link
from bento.model.network import BRIDGE


def bridges(names: Names, wanted: Iterable[Place]) -> dict[str, Link]:
    """Return those bridges that are there, by name. Raises Conflict for what others have taken."""
    found = {}
    for place in wanted:
        link = links.find(place.bridge)
        if link is None:
            _check_free(place)
        elif not names.is_bridge(link):
            raise Conflict(f"link {link.name} is there, and is none of this engine's", hint="rename or delete it")
        else:
            found[place.bridge] = link
    return found


def _check_free(place: Place) -> None:
    ours = [subnets.around(*gateway) for gateway in place.gateways]
    for route in routes.of_host():
        taken = next((block for block in ours if block.overlaps(route.block)), None)
        if taken is not None and route.link != place.bridge:
            raise Conflict(
                f"subnet {taken} is taken by link {route.link}", hint="make the network anew, or delete that"
            )


def broken(
    walls: Walls, wanted: Sequence[Place], there: Sequence[Link], settled: Sequence[Home], *, is_used: bool
) -> tuple[set[int], set[int]]:
    """Return the families for which this host is a router by Bento alone, and those whose tables have to be made anew.

    ``is_used``: a container is about to be on one of the bridges, for which the host has to forward.
    """
    families = {family for place in wanted for family in place.families}
    routed = {
        family for family in families if (is_used or forwarding.is_on(family)) and forwarding.is_ours(there, family)
    }
    lost = {family for family in families if not walls.stand(family, is_router=family in routed)}
    return routed, lost | {home.family for home in stale(wanted, settled)}


def stale(wanted: Iterable[Place], settled: Iterable[Home]) -> set[Home]:
    """Return what the tables say of bridges with these names that had other subnets."""
    right = {home for place in wanted for home in place.homes}
    names = {place.bridge for place in wanted}
    return {home for home in settled if home.bridge in names and home not in right}


def set_up(names: Names, place: Place, link: Link | None, routed: Iterable[int]) -> int:
    """Make a bridge, or what is missing of it; return its number."""
    if link is None:
        number = links.add_bridge(place.bridge, mac_of(place.gateways[0][0]), group=names.group, mtu=place.mtu)
        link = Link(number, place.bridge, BRIDGE, "", 0, is_up=False, group=names.group)
    forwarding.mark(link, routed)
    (forwarding.have_ipv6 if place.has_ipv6 else forwarding.forgo_ipv6)(place.bridge)
    ends.guard(link.index, links.EGRESS, guards.of_bridge())
    for address, prefix in place.gateways:
        links.add_address(link.index, address, prefix)
    links.set_up(link.index)
    return link.index

"""What there is of an engine's networks in the kernel: left over, missing, or altered by others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from bento.drivers.network import forwarding, guards, places, rules, subnets
from bento.drivers.network.base import Connections, Leftover
from bento.drivers.network.names import Names
from bento.drivers.network.walls import Walls
from bento.errors import KernelError
from bento.kernel.net import links
from bento.kernel.net.nftables import INET, IPV6, Element
from bento.model.network import Connection


def loopback_routed(walls: Walls, gone: Sequence[Element], addresses: Iterable[str]) -> set[str]:
    """Return the bridges of what has these elements and addresses over which connections from 127.0.0.0/8 may go."""
    found = loopback_reached(walls, gone) | _bridges(walls, addresses)
    return {bridge for bridge in found if forwarding.routes_loopback(bridge)}


def loopback_reached(walls: Walls, found: Sequence[Element]) -> set[str]:
    """Return the bridges of containers of which a port is published on an address of 127.0.0.0/8.

    A port that was closed says nothing of its container's address: it may be on any.
    """
    reaching = [one for one in found if rules.reaches_loopback([one])]
    if all(one.data for one in reaching):
        return _bridges(walls, {subnets.text_of(int.from_bytes(one.data[:4], "big"), 32) for one in reaching})
    return {home.bridge for home in walls.homes()}


def _bridges(walls: Walls, addresses: Iterable[str]) -> set[str]:
    wanted = list(addresses)
    homes = walls.homes() if wanted else []
    return {home.bridge for home in homes if any(map(subnets.parse(home.subnet).has, wanted))}


def leftovers(names: Names, bridges: Collection[str]) -> list[Leftover]:
    """See ``NetworkDriver.leftovers``. ``bridges``: those that are to be there."""
    here = links.links()
    own = [link for link in here if names.is_link(link.name)]
    found = [Leftover(link.name[len(names.links) :][:8], f"link {link.name}") for link in own]
    try:
        with Walls(names.table) as walls:
            owners = {one.comment for one in walls.elements()}
            homes, families = {home.bridge for home in walls.homes()}, walls.families()
    except KernelError:  # a kernel without firewall: nothing of a bridge was ever made
        return found
    found += [Leftover(owner, f"rules in nftables table {names.table}") for owner in sorted(owners)]
    there = {link.name: link for link in here if names.is_bridge(link)}
    used = {link.master for link in own}
    idle = {name for name, link in there.items() if link.index not in used} - set(bridges)
    found += [Leftover("", f"bridge {name}", name) for name in sorted(idle)]
    gone = homes - set(there) - set(bridges)
    found += [Leftover("", f"subnet of {name} in nftables table {names.table}", name) for name in sorted(gone)]
    if families and not (there or gone or own or bridges):
        found.append(Leftover("", f"nftables table {names.table}"))
    return found


def live(names: Names, connections: Connections, here: Collection[str]) -> dict[str, list[Connection]]:
    """Return those connections whose links are there: without one a container is about to end."""
    found = {
        name: [one for one in each if names.link(name, one.interface) in here] for name, each in connections.items()
    }
    return {name: each for name, each in found.items() if each}


def missing(names: Names, connections: Connections) -> list[str]:
    """See ``NetworkDriver.missing``."""
    here = {link.name: link for link in links.links()}
    there = live(names, connections, here)
    every = [(names.link(name, one.interface), one) for name, each in there.items() for one in each]
    wanted = list(dict.fromkeys(places.place_of(one) for _, one in every))
    found = [word for place in wanted for word in _of_bridge(place, here.get(place.bridge))]
    for name, one in every:
        link, bridge = here[name], here.get(one.bridge)
        is_guarded = links.has_guard(link.index, links.INGRESS, guards.of_container(one))
        if not is_guarded or (bridge and link.master != bridge.index):
            found.append(f"guard of link {name}")
    if every:
        found += _of_walls(names, there, wanted, here)
    found += [
        f"net.ipv4.conf.{bridge}.route_localnet"
        for bridge in sorted(rules.reached_by_loopback(there))
        if bridge in here and not forwarding.routes_loopback(bridge)
    ]
    return found


def _of_bridge(place: places.Place, bridge: links.Link | None) -> list[str]:
    """Return what others have done to a bridge itself."""
    if bridge is None:
        return [f"bridge {place.bridge}"]
    is_guarded = links.has_guard(bridge.index, links.EGRESS, guards.of_bridge())
    found = [] if is_guarded else [f"guard of bridge {bridge.name}"]
    if not bridge.is_up:
        found.append(f"bridge {bridge.name} is down")
    if place.has_ipv6 and not forwarding.has_ipv6(bridge.name):
        found.append(f"IPv6 is off at bridge {bridge.name}")
    if not place.has_ipv6 and not forwarding.forgoes_ipv6(bridge.name):
        found.append(f"IPv6 is on at bridge {bridge.name}")
    return found


def _of_walls(
    names: Names, there: Connections, wanted: Sequence[places.Place], here: Mapping[str, links.Link]
) -> list[str]:
    found, bridges = [], [here[place.bridge] for place in wanted if place.bridge in here]
    elements, families = rules.elements_of(there), {family for place in wanted for family in place.families}
    with Walls(names.table) as walls:
        homes, has = walls.homes(), _with_closed(walls.elements())
        stand = all(walls.stand(one, is_router=forwarding.is_ours(bridges, one)) for one in families)
    if not stand or not {home for place in wanted for home in place.homes} <= set(homes):
        found.append(f"rules in nftables table {names.table}")
    elif not {(one.family, one.set_name, one.key) for one in elements} <= has:
        found.append(f"containers in nftables table {names.table}")
    words = {INET: "net.ipv4.ip_forward", IPV6: "net.ipv6.conf.all.forwarding"}
    return found + [words[one] for one in sorted(families) if not forwarding.is_on(one)]


def _with_closed(found: Iterable[Element]) -> set[tuple[int, str, bytes]]:
    """Return keys of elements. A port that a stop has closed counts as published: it is not missing."""
    return {(one.family, one.set_name.replace("closed", "published"), one.key) for one in found}

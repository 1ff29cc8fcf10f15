"""Networks of a new container: ``NetworkMode`` and ``EndpointsConfig``."""

from __future__ import annotations

from msgspec.structs import replace

from bento.api_docker.bodies import containers as bodies
from bento.errors import UsageError
from bento.model.container import attached_to
from bento.model.network import BRIDGE, Attachment
from bento.parse.networks import parse_alias, parse_ipv4, parse_ipv6, parse_link, parse_mac

_DEFAULT = ("", "default")


def read_networks(body: bodies.Create, host: bodies.Host) -> tuple[str, tuple[Attachment, ...]]:
    """Return the first network, or mode, and what is asked of each. Raises UsageError."""
    mode = host.NetworkMode or ""
    network = BRIDGE if mode == "default" else mode
    if body.NetworkDisabled:
        network = "none"
    given = (body.NetworkingConfig.EndpointsConfig if body.NetworkingConfig else None) or {}
    asked = [read_endpoint(name, each) for name, each in given.items()]
    names = [each.network for each in asked]
    if not network and names:
        network = names[0]
    if not attached_to(network or BRIDGE):  # none, host, that of another: what is said of it is said of nothing
        if any(each != Attachment(network=each.network) for each in asked):
            raise UsageError(f"network mode {network} takes no address and no alias", hint="omit them")
        return network, ()
    if network and network not in names and asked:
        asked.insert(0, Attachment(network=network))
    asked.sort(key=lambda each: each.network != network)
    if body.MacAddress:
        first, *rest = asked or [Attachment(network=network or BRIDGE)]
        network = first.network
        asked = [replace(first, mac=first.mac or parse_mac(body.MacAddress)), *rest]
    if host.Links and has_names(host):  # as docker compose sends them beside those of the network itself
        first, *rest = asked or [Attachment(network=network)]
        links = dict.fromkeys((*first.links, *map(parse_link, host.Links)))
        asked = [replace(first, links=tuple(links)), *rest]
    if all(each == Attachment(network=network) for each in asked):
        return network, ()
    return network, tuple(asked)


def has_names(host: bodies.Host) -> bool:
    """Whether the containers on its network find each other by name: not on the default one."""
    mode = host.NetworkMode or BRIDGE
    return mode not in ("default", BRIDGE) and bool(attached_to(mode))


def read_endpoint(name: str, given: bodies.Endpoint | None) -> Attachment:
    """Return what is asked of one network. Raises UsageError."""
    given = given or bodies.Endpoint()
    addresses = given.IPAMConfig or bodies.Ipam()
    if addresses.LinkLocalIPs:
        raise UsageError("LinkLocalIPs are not supported", hint="give the addresses in the container")
    return Attachment(
        network=BRIDGE if name in _DEFAULT else name,
        ipv4=parse_ipv4(addresses.IPv4Address, "IPv4Address") if addresses.IPv4Address else "",
        ipv6=parse_ipv6(addresses.IPv6Address, "IPv6Address") if addresses.IPv6Address else "",
        mac=parse_mac(given.MacAddress) if given.MacAddress else "",
        aliases=tuple(dict.fromkeys(map(parse_alias, given.Aliases or ()))),
        links=tuple(dict.fromkeys(map(parse_link, given.Links or ()))),
    )

"""The subnets of a new network: what was asked for is checked, what was not is chosen. Pure.

Chosen IPv4 subnets have as many addresses as a bridge can have ports: 1023 (linux, net/bridge/br_private.h).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from bento.errors import Conflict, UsageError
from bento.model.network import Subnet

if TYPE_CHECKING:
    from bento.model.network import NetworkOptions

_Net = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address

_POOLS: Final = ((IPv4Network("10.192.0.0/10"), 22), (IPv4Network("172.16.0.0/12"), 22))
_ULA: Final = 0xFD << 120  # RFC 4193: 40 bits that are drawn, and 16 of a subnet, make a /64 of it
_LONGEST: Final = {4: 30, 6: 126}
"""Prefixes that leave room for the bridge and a container."""
_SHORTEST: Final = {4: 8, 6: 16}
_HINT: Final = "use ADDRESS/PREFIX, such as 10.89.3.0/24 or fd00:89:3::/64"

Taken = Iterable[tuple[str, str]]
"""What has them, for messages, and subnets in CIDR form."""


def settle(options: NetworkOptions, network_id: str, *, seed: int, taken: Taken, has_ipv6: bool) -> tuple[Subnet, ...]:
    """Return the subnets of a network, IPv4 first. ``seed``: where the search for a free one begins.

    Raises UsageError, Conflict where one is taken, or none is free.
    """
    others = [(what, network) for what, text in taken if (network := _network(text)) is not None]
    found: dict[int, Subnet] = {}
    for asked in options.subnets:
        network, subnet = _checked(asked)
        if network.version in found:
            raise UsageError(
                f"two IPv{network.version} subnets: {found[network.version].subnet} and {subnet.subnet}",
                hint="a network has one of each family",
            )
        for what, other in others:
            if overlap(network, other):
                raise Conflict(f"subnet {network} overlaps with {what} ({other})", hint="choose another, or none")
        found[network.version] = subnet
    if 4 not in found:
        found[4] = _chosen(_free4(seed, [other for _, other in others]))
    if options.ipv6 and 6 not in found:
        found[6] = _chosen(_free6(network_id, [other for _, other in others]))
    if 6 in found and not has_ipv6:
        raise UsageError("this kernel has no IPv6, or it is turned off", hint="omit --ipv6, and subnets of IPv6")
    return tuple(found[version] for version in sorted(found))


def check_address(text: str, version: int, subnet: Subnet | None, network: str) -> None:
    """Refuse what a container cannot have on a network. ``subnet``: that of the family. Raises UsageError."""
    address = _address(text, "address")
    if address.version != version:
        raise UsageError(f"{text} is no IPv{version} address", hint="--ip takes IPv4, --ip6 IPv6")
    if subnet is None:
        raise UsageError(f"network {network} has no IPv{version} subnet", hint="create it with --ipv6, or --subnet")
    inside = ip_network(subnet.subnet)
    if address not in inside:
        raise UsageError(f"{text} is not in the subnet of network {network}", hint=f"choose one in {inside}")
    if address in _unusable(inside) or text == subnet.gateway:
        raise UsageError(
            f"no container can have {text} on network {network}",
            hint=f"it is the network's own: choose another in {inside}",
        )


def overlap(one: _Net, other: _Net) -> bool:
    """Whether two subnets, maybe of different families, have addresses in common."""
    return one.version == other.version and one.overlaps(other)


def normal(text: str) -> str:
    """Return an address as it is compared: IPv6 in its short form, in lower case. Raises UsageError."""
    return str(_address(text, "address"))


def _checked(asked: Subnet) -> tuple[_Net, Subnet]:
    network = _parse(asked.subnet, "subnet")
    version = network.version
    if not _SHORTEST[version] <= network.prefixlen <= _LONGEST[version]:
        raise UsageError(
            f"bad subnet {network}: the prefix is not of {_SHORTEST[version]} to {_LONGEST[version]}", hint=_HINT
        )
    if network.is_loopback or network.is_multicast or network.is_link_local or network.network_address.is_unspecified:
        raise UsageError(f"bad subnet {network}: its addresses have a meaning of their own", hint=_HINT)
    gateway = _address(asked.gateway, "gateway") if asked.gateway else _first(network)
    if gateway not in network:
        raise UsageError(f"gateway {gateway} is not in subnet {network}", hint="choose one in it")
    if gateway in _unusable(network):
        raise UsageError(
            f"gateway {gateway} is the first or the last address of subnet {network}", hint="choose one between them"
        )
    return network, Subnet(subnet=str(network), gateway=str(gateway), ip_range=_range(asked.ip_range, network, gateway))


def _range(text: str, network: _Net, gateway: _Address) -> str:
    if not text:
        return ""
    within = _parse(text, "IP range")
    if within.version != network.version or not within.subnet_of(network):  # type: ignore[arg-type]  # the same family
        raise UsageError(f"IP range {within} is not in subnet {network}", hint="choose a part of it")
    if within.num_addresses <= 4 and not set(within) - {gateway, *_unusable(network)}:
        raise UsageError(f"no address of IP range {within} is free for a container", hint="choose a larger part")
    return str(within)


def _unusable(network: _Net) -> tuple[_Address, ...]:
    """The network's own address, IPv6's anycast address of routers, and IPv4's for broadcasts."""
    return (network[0], network[-1]) if network.version == 4 else (network[0],)


def _first(network: _Net) -> _Address:
    return network[1]


def _parse(text: str, what: str) -> _Net:
    try:
        address, slash, prefix = text.partition("/")
        if not (slash and prefix.isascii() and prefix.isdigit()) or "%" in address:
            raise ValueError
        found = ip_network(text, strict=False)
    except ValueError:
        raise UsageError(f"bad {what} {text!r}", hint=_HINT) from None
    if ip_address(address) != found.network_address:
        raise UsageError(f"bad {what} {text}: it should be {found}", hint="the bits behind the prefix are 0")
    return found


def _address(text: str, what: str) -> _Address:
    try:
        if "%" in text:
            raise ValueError
        return ip_address(text)
    except ValueError:
        raise UsageError(f"bad {what} {text!r}", hint="give an IPv4 or IPv6 address") from None


def _network(text: str) -> _Net | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _chosen(network: _Net) -> Subnet:
    return Subnet(subnet=str(network), gateway=str(_first(network)))


def _free4(seed: int, others: Collection[_Net]) -> _Net:
    for network in _candidates(seed):
        if not any(overlap(network, other) for other in others):
            return network
    raise Conflict("no subnet is free for another network", hint="remove networks, or give one by --subnet")


def _candidates(seed: int) -> Iterator[IPv4Network]:
    for pool, prefix in _POOLS:
        count = 1 << prefix - pool.prefixlen
        for step in range(count):
            number = int(pool.network_address) + ((seed + step) % count << 32 - prefix)
            yield IPv4Network((number, prefix))


def _free6(network_id: str, others: Collection[_Net]) -> _Net:
    """A /64 that no other network, also of other machines, is likely to have: the id's digits were drawn."""
    for start in range(len(network_id) - 14):
        network = IPv6Network((_ULA | int(network_id[start : start + 14], 16) << 64, 64))
        if not any(overlap(network, other) for other in others):
            return network
    raise Conflict("no IPv6 subnet is free for another network", hint="give one by --subnet")

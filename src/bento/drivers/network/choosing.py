"""What a new network, and a container on one, is given: what was asked for, or what is free. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from msgspec.structs import replace

from bento.drivers.network import subnets
from bento.drivers.network.rules import mac_of
from bento.drivers.network.subnets import IPV4_BITS, IPV6_BITS, Block, Route
from bento.errors import Conflict, UsageError
from bento.model.network import BRIDGE, Attachment, Connection, Network, Subnet

_LINK_LOCAL = (subnets.parse("fe80::/10"), subnets.parse("169.254.0.0/16"))
# The last one has the addresses of IPv4 in IPv6, which the kernel sends nowhere.
_NOT_FOR_THIS = tuple(map(subnets.parse, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "ff00::/8", "::/80")))
_SHORTEST_PREFIX = {IPV4_BITS: 8, IPV6_BITS: 16}
_LONGEST_PREFIX = {IPV4_BITS: 30, IPV6_BITS: 126}


def plan(network: Network, others: Iterable[Network], routes: Collection[Route], *, ipv4: bool, ipv6: bool) -> Network:
    """Return a network with its subnets whole: what was asked for, and for the rest what is free.

    Raises UsageError for what cannot be, Conflict for what is taken, by a link or by one of the ``others``.
    """
    found = [_whole(one, network.name) for one in network.subnets]
    bits = [parse(one.subnet).bits for one in found]
    if len(set(bits)) < len(bits):
        raise UsageError(f"network {network.name} has two subnets of one family", hint="give one of each at most")
    names = {subnets.parse(one.subnet): f"network {other.name}" for other in others for one in other.subnets}
    taken = [*names.items(), *((route.block, f"link {route.link}") for route in routes if route.link != network.bridge)]
    for one in found:
        block = parse(one.subnet)
        by = next((by for other, by in taken if other.overlaps(block)), "")
        if by:
            raise Conflict(f"subnet {one.subnet} overlaps one of {by}", hint="give another one by --subnet, or none")
    blocks = [block for block, _ in taken] + [parse(one.subnet) for one in found]
    if ipv4 and IPV4_BITS not in bits:
        block = _free(int(network.id[:8], 16), blocks)
        found.insert(0, Subnet(subnet=str(block), gateway=block.address(1)))
    if ipv6 and IPV6_BITS not in bits:
        block = subnets.local_subnet(network.id)
        found.append(Subnet(subnet=str(block), gateway=block.address(1)))
    return replace(network, subnets=tuple(sorted(found, key=lambda one: ":" in one.subnet)))


def _free(seed: int, taken: Collection[Block]) -> Block:
    for pool in subnets.POOLS:
        block = subnets.free_subnet(pool, subnets.PREFIX, seed, taken)
        if block is not None:
            return block
    raise Conflict("no subnet is free for another network", hint="remove networks, or give one by --subnet")


def parse(text: str) -> Block:
    """Read a subnet. Raises UsageError."""
    try:
        block = subnets.parse(text)
    except ValueError:
        raise UsageError(f"bad subnet {text!r}", hint="use 10.89.3.0/24, or fd00:6265::/64") from None
    if subnets.number_of(text.partition("/")[0]) != block.first:
        raise UsageError(f"bad subnet {text}: it should be {block}", hint="the bits behind the prefix are 0")
    return block


def _whole(asked: Subnet, name: str) -> Subnet:
    block = parse(asked.subnet)
    fits = _SHORTEST_PREFIX[block.bits] <= block.prefix <= _LONGEST_PREFIX[block.bits]
    if not fits or any(block.overlaps(one) for one in (*_NOT_FOR_THIS, *_LINK_LOCAL)):
        raise UsageError(
            f"subnet {asked.subnet} cannot be that of network {name}",
            hint="use one of private addresses, from /8 to /30, or of IPv6 from /16 to /126",
        )
    gateway = _text(asked.gateway) if asked.gateway else block.address(1)
    if not block.has(gateway) or subnets.number_of(gateway) - block.first not in subnets.usable(block):
        raise UsageError(f"gateway {asked.gateway} is no address of subnet {block}", hint="give another one, or none")
    within = parse(asked.ip_range) if asked.ip_range else block
    if not block.holds(within):
        raise UsageError(f"IP range {asked.ip_range} is not in subnet {block}", hint="choose a part of it, or none")
    numbers = subnets.usable(block, within)
    if not numbers or list(numbers[:2]) == [subnets.number_of(gateway) - block.first]:
        raise UsageError(f"no address of IP range {within} is free for a container", hint="choose a larger part")
    return Subnet(subnet=str(block), gateway=gateway, ip_range=str(within) if asked.ip_range else "")


def _text(address: str) -> str:
    """Return an address as it is compared. Raises UsageError."""
    try:
        return subnets.text_of(subnets.number_of(address), subnets.packed_bits(address))
    except ValueError:
        raise UsageError(f"bad address {address!r}", hint="write 10.89.3.7, or fd00:6265::7") from None


def check(network: Network, asked: Attachment) -> None:
    """Refuse what a container cannot have on a network, whatever is taken. Raises UsageError."""
    if (asked.ipv4 or asked.ipv6) and network.name == BRIDGE:
        raise UsageError("the default network chooses addresses itself", hint="make a network by bento network create")
    for address, bits, word in ((asked.ipv4, IPV4_BITS, "IPv4"), (asked.ipv6, IPV6_BITS, "IPv6")):
        if not address:
            continue
        text = _text(address)
        if subnets.packed_bits(text) != bits:
            raise UsageError(f"{address} is no {word} address", hint="give IPv4 addresses by ip, IPv6 ones by ip6")
        one = next((one for one in network.subnets if parse(one.subnet).bits == bits), None)
        if one is None:
            raise UsageError(f"network {network.name} has no {word}", hint="see bento network inspect")
        block = parse(one.subnet)
        if not block.has(text) or subnets.number_of(text) - block.first not in subnets.usable(block):
            raise UsageError(
                f"{address} is no address of subnet {one.subnet} of network {network.name}", hint="give another one"
            )
        if text == one.gateway:
            raise UsageError(f"{address} is the gateway of network {network.name}", hint="give another one")
    if asked.mac:
        _mac(asked.mac)


def _mac(text: str) -> str:
    """Return a MAC as the kernel writes it. Raises UsageError."""
    parts = text.lower().replace("-", ":").split(":")
    is_one = len(parts) == 6 and all(len(part) == 2 and not part.strip("0123456789abcdef") for part in parts)
    if not is_one or int(parts[0], 16) & 1 or not any(int(part, 16) for part in parts):
        raise UsageError(f"bad MAC address {text!r}", hint="write six bytes, such as 02:be:0a:59:03:02, not a group's")
    return ":".join(parts)


def connection(
    network: Network, container_id: str, asked: Attachment, interface: str, is_taken: Callable[[str], bool]
) -> Connection:
    """Return a place on a network whose subnets are known. Raises UsageError, Conflict."""
    check(network, asked)
    found = {parse(one.subnet).bits: one for one in network.subnets}
    four, six = found.get(IPV4_BITS), found.get(IPV6_BITS)
    seed = int(container_id[:8], 16)
    address = _address(network, four, asked.ipv4, seed, is_taken) if four else ""
    # The same number in both, where it is to be had.
    own = subnets.number_of(address) - parse(four.subnet).first - 1 if four else seed
    address6 = _address(network, six, asked.ipv6, own, is_taken) if six else ""
    return Connection(
        network=network.name,
        network_id=network.id,
        bridge=network.bridge,
        interface=interface,
        address=address,
        prefix=parse(four.subnet).prefix if four else 0,
        gateway=four.gateway if four else "",
        mac=_mac(asked.mac) if asked.mac else mac_of(address or address6),
        address6=address6,
        prefix6=parse(six.subnet).prefix if six else 0,
        gateway6=six.gateway if six else "",
        aliases=asked.aliases,
        links=asked.links,
        names=network.names,
        internal=network.internal,
        mtu=network.mtu,
        routed=network.routed,
    )


def _address(network: Network, subnet: Subnet, asked: str, seed: int, is_taken: Callable[[str], bool]) -> str:
    if asked:
        address = _text(asked)
        if is_taken(address):
            raise Conflict(f"address {asked} of network {network.name} is taken", hint="give another one, or none")
        return address
    within = parse(subnet.ip_range) if subnet.ip_range else None
    found = subnets.free_address(
        parse(subnet.subnet), within, seed, lambda address: address == subnet.gateway or is_taken(address)
    )
    if found is None:
        raise Conflict(
            f"no address of network {network.name} is free for another container", hint="stop some containers first"
        )
    return found

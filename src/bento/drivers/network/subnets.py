"""Subnets and addresses of both families: reading them, and finding those that are free. Pure.

The bridge of the default network takes a /20 out of 10.176.0.0/12, other networks a /22 out of 10.192.0.0/10, none that
this host has a route to: as many addresses as a bridge can have ports, 1023 (linux, net/bridge/br_private.h). IPv6
subnets are unique local ones (RFC 4193), made of the network's id.
"""

from __future__ import annotations

import _socket
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Final

from msgspec import Struct

IPV4_BITS: Final = 32
IPV6_BITS: Final = 128
_FAMILIES: Final = {IPV4_BITS: _socket.AF_INET, IPV6_BITS: _socket.AF_INET6}
_MOST_TRIED: Final = 1 << 20
_LOCAL, _ANYCAST = 0x80000000, 0x00100000  # flags of routes to the host's own addresses (linux/ipv6_route.h)


class Block(Struct, frozen=True):
    """A subnet. ``first``: its own address, as a number; ``bits``: of an address of its family."""

    bits: int
    first: int
    prefix: int

    def __str__(self) -> str:
        return f"{text_of(self.first, self.bits)}/{self.prefix}"

    @property
    def size(self) -> int:
        """How many addresses it has."""
        return 1 << (self.bits - self.prefix)

    def address(self, number: int) -> str:
        """Return the address of this number in it, from 0."""
        return text_of(self.first + number, self.bits)

    def has(self, address: str) -> bool:
        """Whether an address of this family is in it."""
        return packed_bits(address) == self.bits and 0 <= number_of(address) - self.first < self.size

    def holds(self, other: Block) -> bool:
        """Whether it has all of the other."""
        is_one = self.bits == other.bits and self.prefix <= other.prefix
        return is_one and self.first <= other.first < self.first + self.size

    def overlaps(self, other: Block) -> bool:
        """Whether they have an address in common."""
        return self.holds(other) or other.holds(self)


DEFAULT_POOL: Final = Block(IPV4_BITS, 10 << 24 | 176 << 16, 12)
POOLS: Final = (Block(IPV4_BITS, 10 << 24 | 192 << 16, 10), Block(IPV4_BITS, 172 << 24 | 16 << 16, 12))
DEFAULT_PREFIX: Final = 20
PREFIX: Final = 22


class Route(Struct, frozen=True):
    """A destination that packets have a way to."""

    link: str
    block: Block


def packed(address: str) -> bytes:
    """Return an address of either family as the kernel has it. Raises ValueError."""
    try:
        return _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"no address: {address!r}") from error


def packed_bits(address: str) -> int:
    """Return how long an address of this family is."""
    return IPV6_BITS if ":" in address else IPV4_BITS


def number_of(address: str) -> int:
    """Return an address as a number. Raises ValueError."""
    return int.from_bytes(packed(address), "big")


def text_of(number: int, bits: int) -> str:
    """Return an address as people write it."""
    return _socket.inet_ntop(_FAMILIES[bits], number.to_bytes(bits // 8, "big"))


def parse(text: str) -> Block:
    """Read ``10.89.3.0/24``; what is set behind the prefix is left out. Raises ValueError."""
    address, _, prefix = text.partition("/")
    bits = packed_bits(address)
    if not (prefix.isascii() and prefix.isdigit() and int(prefix[:4]) <= bits):
        raise ValueError(f"no subnet: {text!r}")
    return around(address, int(prefix[:4]))


def around(address: str, prefix: int) -> Block:
    """Return the subnet of this length that an address is in."""
    bits = packed_bits(address)
    return Block(bits, number_of(address) & -1 << (bits - prefix), prefix)


def parse_routes(text: str) -> list[Route]:
    """Read /proc/net/route (proc(5)); the default route is left out."""
    routes = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and int(fields[7], 16):
            mask = _native(fields[7])
            block = Block(IPV4_BITS, _native(fields[1]) & mask, mask.bit_count())
            routes.append(Route(fields[0], block))
    return routes


def parse_routes6(text: str) -> list[Route]:
    """Read /proc/net/ipv6_route; left out are the default route, those to this host, and those that every link has."""
    routes = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 9 and int(fields[1], 16) and not int(fields[8], 16) & (_LOCAL | _ANYCAST):
            block = Block(IPV6_BITS, int(fields[0], 16), int(fields[1], 16))
            if fields[0][:3] not in ("fe8", "fe9", "fea", "feb") and fields[0][:2] != "ff" and fields[9] != "lo":
                routes.append(Route(fields[9], block))
    return routes


def _native(field: str) -> int:
    """The kernel prints the bytes of an address as a number of this machine's."""
    return int.from_bytes(int(field, 16).to_bytes(4, sys.byteorder), "big")


def subnet_of(link: str, routes: Iterable[Route]) -> Block | None:
    """Return the subnet that a bridge of ours has, or None."""
    return next((route.block for route in routes if route.link == link), None)


def free_subnet(pool: Block, prefix: int, seed: int, taken: Collection[Block]) -> Block | None:
    """Return a subnet of the pool that overlaps none of those taken, the first from ``seed`` on; None: none is free."""
    count = 1 << (prefix - pool.prefix)
    for step in range(count):
        first = pool.first + ((seed + step) % count << (pool.bits - prefix))
        block = Block(pool.bits, first, prefix)
        if not any(block.overlaps(one) for one in taken):
            return block
    return None


def local_subnet(seed: str) -> Block:
    """Return an IPv6 subnet that hardly any other site has. ``seed``: 14 hexadecimal digits at least."""
    return Block(IPV6_BITS, int(f"fd{seed[:14]}", 16) << 64, 64)


def usable(block: Block, within: Block | None = None) -> range:
    """Return the numbers of the addresses that can be given out: not the subnet's own, nor IPv4's broadcast address."""
    end = block.size - (1 if block.bits == IPV4_BITS and block.size > 2 else 0)
    if within is None:
        return range(1, end)
    offset = within.first - block.first
    return range(max(1, offset), min(end, offset + within.size))


def free_address(block: Block, within: Block | None, seed: int, is_taken: Callable[[str], bool]) -> str | None:
    """Return an address of the subnet, of those ``within``, the first free one from ``seed`` on; None: none is."""
    numbers = usable(block, within)
    count = min(numbers.stop - numbers.start, _MOST_TRIED)
    for step in range(count):
        address = block.address(numbers[(seed + step) % count])
        if not is_taken(address):
            return address
    return None

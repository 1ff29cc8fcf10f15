"""Which names there are, and for which members. Pure.

This room is loaded by a process that stays, and so imports little: nothing of ``typing``, and ``posix``, which is what
``os`` is made of.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_pton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    _Holder = tuple[str, tuple[bytes, ...]]  # a member, and its addresses


def packed(address: str) -> bytes:
    """Return the 4 or 16 bytes of an address. Raises OSError."""
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


class Subnet:
    """A range of addresses, such as ``10.0.0.0/24``. Raises OSError, ValueError."""

    __slots__ = ("_length", "_number", "_shift")

    def __init__(self, text: str) -> None:
        address, _, bits = text.partition("/")
        first = packed(address)
        self._length = len(first)
        self._shift = len(first) * 8 - int(bits)
        self._number = int.from_bytes(first, "big") >> self._shift

    def __contains__(self, address: bytes) -> bool:
        return len(address) == self._length and int.from_bytes(address, "big") >> self._shift == self._number


class Place:
    """What a member is on one network, as ``resolver.base`` has it."""

    __slots__ = ("addresses", "links", "names", "network", "subnets")

    def __init__(
        self,
        network: str,
        names: Sequence[str],
        addresses: Sequence[str],
        subnets: Sequence[str],
        links: Sequence[str] = (),
    ) -> None:
        """Raises OSError, ValueError."""
        self.network = network.lower()
        self.names = tuple(name.lower() for name in names)
        self.addresses = tuple(packed(address) for address in addresses)
        self.subnets = tuple(Subnet(subnet) for subnet in subnets)
        self.links: dict[str, list[str]] = {}  # the names that are meant, by alias
        for link in links:
            name, _, alias = link.lower().partition(":")
            self.links.setdefault(alias, []).append(name)


class Names:
    """All members, by id. What a member asks for is answered from the networks that it is on."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[Place, ...]] = {}
        self._by_name: dict[tuple[str, str], tuple[_Holder, ...]] = {}  # by network and name
        self._by_address: dict[tuple[str, bytes], tuple[str, str]] = {}  # by network and address: member and name

    def put(self, member: str, places: Sequence[Place]) -> None:
        """Know a member by this, and no longer by what it had."""
        self.drop(member)
        self._places[member] = tuple(places)
        for place in places:
            for name in place.names:
                key = place.network, name
                self._by_name[key] = (*self._by_name.get(key, ()), (member, place.addresses))
            for address in place.addresses if place.names else ():
                self._by_address[place.network, address] = member, place.names[0]

    def drop(self, member: str) -> None:
        """Forget a member. Idempotent."""
        for place in self._places.pop(member, ()):
            for name in place.names:
                key = place.network, name
                left = tuple(holder for holder in self._by_name.pop(key, ()) if holder[0] != member)
                if left:
                    self._by_name[key] = left
            for address in place.addresses:
                if self._by_address.get((place.network, address), ("", ""))[0] == member:
                    del self._by_address[place.network, address]

    def addresses(self, asker: str, name: str) -> list[bytes] | None:
        """Return the addresses that a name has for a member; None: no container is called that. Lower case."""
        for network, plain in self._readings(asker, name):
            if holders := self._by_name.get((network, plain)):
                return [address for _, addresses in holders for address in addresses]
        return None

    def _readings(self, asker: str, name: str) -> Iterator[tuple[str, str]]:
        places = self._places.get(asker, ())
        readings = [(place, name) for place in places]
        for place in places:
            if name.endswith(f".{place.network}"):
                readings.append((place, name[: -len(place.network) - 1]))
        for place, plain in readings:
            for linked in place.links.get(plain, ()):
                yield place.network, linked
        for place, plain in readings:
            yield place.network, plain

    def name_of(self, asker: str, address: bytes) -> str | None:
        """Return what an address is called: ``NAME.NETWORK``; "": nothing may know it; None: others may."""
        places = self._places.get(asker, ())
        for place in places:
            if found := self._by_address.get((place.network, address)):
                return f"{found[1]}.{place.network}"
        return "" if any(address in subnet for place in places for subnet in place.subnets) else None

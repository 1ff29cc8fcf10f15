"""The firewall rules of an engine as the kernel has them: whether they stand, and what changes with each container.

The tables are made by nft(8), once. Elements are added and removed by netlink, which takes a tenth of a millisecond.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from bento.drivers.network import rules
from bento.drivers.network.rules import Home
from bento.drivers.network.subnets import Block, packed
from bento.errors import KernelError
from bento.kernel.net import links, nftables
from bento.kernel.net.netlink import NETFILTER, Netlink
from bento.kernel.net.nftables import Element
from bento.lazy import LazyModule
from bento.model.network import Connection, Port

if TYPE_CHECKING:
    from bento.kernel.net import conntrack
else:  # for published ports
    conntrack = LazyModule("bento.kernel.net.conntrack")

_TRIES: Final = 5  # another engine may change the same elements at that moment
_CHANGED: Final = (errno.ENOENT, errno.EEXIST)
_IPV4_BYTES: Final = 4
_NAME_BYTES: Final = 16  # of a link, before an address


class Walls:
    """The table of this name, in the network namespace of the thread that makes this. Use it as a context."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._netlink = Netlink(NETFILTER)

    def __enter__(self) -> Walls:
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.__exit__()

    def stand(self, family: int, *, is_router: bool) -> bool:
        """Whether the table of a family has its rules."""
        try:
            return nftables.rule_counts(self._netlink, self.table, family) == rules.counts(is_router=is_router)
        except KernelError:  # there is no such table
            return False

    def homes(self) -> list[Home]:
        """Return where the tables let containers be."""
        found: list[Home] = []
        for family in rules.FAMILIES:
            with suppress(KernelError):  # there is no such table
                homes = nftables.elements(self._netlink, self.table, [rules.HOMES], family)
                outward, routed = (
                    {one.key for one in nftables.elements(self._netlink, self.table, [name], family)}
                    for name in (rules.OUTWARD, rules.ROUTED)
                )
                found += [_home(one, outward, routed) for one in homes]
        return found

    def families(self) -> list[int]:
        """Return the families of the tables of which there is something."""
        found = []
        for family in rules.FAMILIES:
            with suppress(KernelError):  # a kernel without nftables
                if self.table in nftables.tables(self._netlink, family):
                    found.append(family)
        return found

    def elements(self) -> list[Element]:
        """Return what containers have in the tables; nothing without one."""
        found = []
        for family, name in ((family, name) for family in rules.FAMILIES for name in rules.SETS):
            try:
                found += nftables.elements(self._netlink, self.table, [name], family)
            except KernelError:  # no such table, or not all of one
                continue
        return found

    def admit(self, wanted: Sequence[Element]) -> None:
        """Put elements into the table, in place of others with the same keys, which are of containers that have ended.

        Connections to those are forgotten. Raises KernelError.
        """
        keys, right = {(one.family, one.set_name, one.key) for one in wanted}, set(wanted)

        def difference(found: list[Element]) -> tuple[list[Element], list[Element]]:
            old = [one for one in found if (one.family, one.set_name, one.key) in keys and one not in right]
            there = set(found)
            return old, [one for one in wanted if one not in there]

        self.forget_flows_to(self._change(difference)[0])

    def dismiss(self, owner: str, addresses: Sequence[str] = ()) -> tuple[list[Element], list[Element]]:
        """Take a container's elements out of the tables; return them, and what stays. Raises KernelError.

        ``addresses``: those of these addresses alone; (): all.
        """
        own = {packed(one) for one in addresses}

        def is_meant(one: Element) -> bool:
            return one.comment == owner and (not own or rules.own_address(one) in own)

        mine, found = self._change(lambda found: ([one for one in found if is_meant(one)], []))
        return mine, [one for one in found if not is_meant(one)]

    def _change(
        self, difference: Callable[[list[Element]], tuple[list[Element], list[Element]]]
    ) -> tuple[list[Element], list[Element]]:
        """Remove and add what ``difference`` makes of what is there; return what was removed, and all there was."""
        for left in reversed(range(_TRIES)):
            found = self.elements()
            remove, add = difference(found)
            try:
                nftables.change(self._netlink, self.table, remove=remove, add=add)
                break
            except KernelError as error:
                if not left or error.errno not in _CHANGED:
                    raise
        return remove, found

    def forget_flows_to(self, gone: Sequence[Element], addresses: Sequence[str] = ()) -> None:
        """Forget the connections by ports that were published: they would go on to an address that is no longer there.

        ``addresses``: more that had such a port.
        """
        own = {rules.own_address(one) for one in gone} - {b""}
        for each in own | {packed(one) for one in addresses}:
            conntrack.forget_answered_by(self._netlink, each)

    def forget_flows(self, connection: Connection) -> None:
        """Forget the datagrams to ports that are published now of which the kernel remembers that they went elsewhere.

        Connections of TCP that a program of this host has accepted are left to it.
        """
        for family in (links.IPV4, links.IPV6):
            is_six = family == links.IPV6
            ports = {
                port.host_port: port
                for port in connection.ports
                if port.protocol == "udp" and (":" in port.host_ip) is is_six and not port.is_proxied
            }
            if ports:
                address = connection.address6 if is_six else connection.address
                if not address:  # they are of another network, on which they were published before
                    continue
                own = packed(address)
                is_meant = partial(_goes_elsewhere, ports, own, links.addresses(family))
                only = next(iter(ports)) if len(ports) == 1 else 0  # to look once takes as long as for one port
                conntrack.forget_at(self._netlink, rules.PROTOCOLS["udp"], only, is_meant, family)


def _home(found: Element, outward: set[bytes], routed: set[bytes]) -> Home:
    name, first, last = found.key[:_NAME_BYTES], found.key[_NAME_BYTES:], found.end[_NAME_BYTES:]
    bits, start = len(first) * 8, int.from_bytes(first, "big")
    block = Block(bits, start, bits - (start ^ int.from_bytes(last or first, "big")).bit_length())
    return Home(
        name.rstrip(b"\0").decode(errors="replace"), str(block), leads_out=first in outward, is_routed=first in routed
    )


def _goes_elsewhere(ports: Mapping[int, Port], own: bytes, here: set[bytes], flow: conntrack.Flow) -> bool:
    port = ports.get(flow.port)
    if port is None or flow.answers_from == own:
        return False
    if rules.is_everywhere(port):
        return flow.destination in here or (len(own) == _IPV4_BYTES and flow.destination[0] == 127)
    return flow.destination == packed(port.host_ip)

"""The firewall rules of an engine as the kernel has them: whether they stand, and what changes with each container.

The table is made by nft(8), once. Elements are added and removed by netlink, which takes a tenth of a millisecond.
"""

from __future__ import annotations

import _socket
import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from bento.drivers.network import rules
from bento.errors import KernelError
from bento.kernel.net import conntrack, links, nftables
from bento.kernel.net.netlink import NETFILTER, Netlink
from bento.kernel.net.nftables import Element
from bento.model.network import Connection, Port

_TRIES: Final = 5  # another engine may change the same elements at that moment
_CHANGED: Final = (errno.ENOENT, errno.EEXIST)
_ADDRESS_BYTES: Final = 4


class Walls:
    """The table of this name, in the network namespace of the thread that makes this. Use it as a context."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._netlink = Netlink(NETFILTER)

    def __enter__(self) -> Walls:
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.__exit__()

    def stand(self, *, is_router: bool) -> bool:
        """Whether the table has its rules and its network."""
        try:
            counted = nftables.rule_counts(self._netlink, self.table)
            has_network = bool(nftables.elements(self._netlink, self.table, [rules.HOMES]))
        except KernelError:  # there is no such table
            return False
        return has_network and counted == rules.counts(is_router=is_router)

    def are_there(self) -> bool:
        """Whether there is something of the table."""
        try:
            return self.table in nftables.tables(self._netlink)
        except KernelError:  # a kernel without nftables
            return False

    def elements(self) -> list[Element]:
        """Return what containers have in the table; nothing without one."""
        found = []
        for name in rules.SETS:
            with suppress(KernelError):  # no such table, or not all of one
                found += nftables.elements(self._netlink, self.table, [name])
        return found

    def admit(self, wanted: Sequence[Element]) -> None:
        """Put elements into the table, in place of others with the same keys, which are of containers that have ended.

        Connections to those are forgotten. Raises KernelError.
        """
        keys = {(one.set_name, one.key) for one in wanted}

        def difference(found: list[Element]) -> tuple[list[Element], list[Element]]:
            old = [one for one in found if (one.set_name, one.key) in keys and one not in wanted]
            return old, [one for one in wanted if one not in found]

        self.forget_flows_to(self._change(difference)[0])

    def dismiss(self, owner: str) -> tuple[list[Element], list[Element]]:
        """Take a container's elements out of the table; return them, and those of others. Raises KernelError."""
        mine, found = self._change(lambda found: ([one for one in found if one.comment == owner], []))
        return mine, [one for one in found if one.comment != owner]

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

    def forget_flows_to(self, gone: Sequence[Element], address: str = "") -> None:
        """Forget the connections by ports that were published: they would go on to an address that is no longer there.

        ``address``: one more that had such a port.
        """
        stale = {one.data[:_ADDRESS_BYTES] for one in gone if one.data}
        for each in stale | ({_socket.inet_aton(address)} if address else set()):
            conntrack.forget_answered_by(self._netlink, each)

    def forget_flows(self, connection: Connection) -> None:
        """Forget the datagrams to ports that are published now of which the kernel remembers that they went elsewhere.

        Connections of TCP that a program of this host has accepted are left to it.
        """
        own, here = _socket.inet_aton(connection.address), links.addresses()
        for port in connection.ports:
            if port.protocol == "udp":
                is_meant = partial(_goes_elsewhere, port, own, here)
                conntrack.forget_at(self._netlink, rules.PROTOCOLS[port.protocol], port.host_port, is_meant)


def _goes_elsewhere(port: Port, own: bytes, here: set[bytes], flow: conntrack.Flow) -> bool:
    if flow.answers_from == own:
        return False
    if rules.is_everywhere(port):
        return flow.destination in here or flow.destination[0] == 127
    return flow.destination == _socket.inet_aton(port.host_ip)

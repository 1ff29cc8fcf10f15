"""The firewall rules of an engine as the kernel has them: whether they stand, and what changes with each container.

The table is made by nft(8), once. Elements are added and removed by netlink, which takes a tenth of a millisecond.
"""

from __future__ import annotations

import _socket
import errno
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from bento.drivers.network import rules
from bento.errors import KernelError
from bento.kernel import conntrack, links, nftables
from bento.kernel.nftables import Element
from bento.model.network import Connection, Port

_TRIES: Final = 5  # somebody may change the same elements at that moment
_CHANGED: Final = (errno.ENOENT, errno.EEXIST)
_ADDRESS_BYTES: Final = 4


def stand(table: str, *, is_router: bool) -> bool:
    """Whether the table has its rules and its network."""
    try:
        counted = nftables.rule_counts(table)
        return counted == rules.counts(is_router=is_router) and bool(nftables.elements(table, [rules.HOMES]))
    except KernelError:  # there is no such table
        return False


def elements(table: str) -> list[Element]:
    """Return what containers have in the table; nothing without one."""
    found = []
    for name in rules.SETS:
        with suppress(KernelError):  # no such table, or no nftables in this kernel
            found += nftables.elements(table, [name])
    return found


def tables(prefix: str) -> list[str]:
    """Return the tables whose names begin so; none without nftables in this kernel."""
    try:
        return [name for name in nftables.tables() if name.startswith(prefix)]
    except KernelError:
        return []


def admit(table: str, wanted: Sequence[Element]) -> None:
    """Put elements into the table, in place of others with the same keys, which are of containers that have ended.

    Connections to those are forgotten. Raises KernelError.
    """
    keys = {(one.set_name, one.key) for one in wanted}
    for left in reversed(range(_TRIES)):
        found = nftables.elements(table, rules.SETS)
        old = [one for one in found if (one.set_name, one.key) in keys and one not in wanted]
        try:
            nftables.change(table, remove=old, add=[one for one in wanted if one not in found])
            break
        except KernelError as error:
            if not left or error.errno not in _CHANGED:
                raise
    forget_flows_to(old)


def dismiss(table: str, owner: str) -> tuple[list[Element], list[Element]]:
    """Take a container's elements out of the table; return them, and those of others. Raises KernelError."""
    for left in reversed(range(_TRIES)):
        found = elements(table)
        mine = [one for one in found if one.comment == owner]
        try:
            nftables.change(table, remove=mine, add=())
            break
        except KernelError as error:
            if not left or error.errno not in _CHANGED:
                raise
    return mine, [one for one in found if one.comment != owner]


def forget_flows_to(gone: Sequence[Element], address: str = "") -> None:
    """Forget the datagrams by ports that were published: they would go on to where nobody is any more.

    Connections of TCP end with the programs that have them. ``address``: one more that had such a port.
    """
    stale = {one.data[:_ADDRESS_BYTES] for one in gone if one.data and rules.protocol_of(one) == _socket.IPPROTO_UDP}
    for each in stale | ({_socket.inet_aton(address)} if address else set()):
        conntrack.forget_answered_by(each)


def forget_flows(connection: Connection) -> None:
    """Forget the datagrams to ports that are published now of which the kernel remembers that they went elsewhere.

    Connections of TCP that a program of this host has accepted are left to it.
    """
    own, here = _socket.inet_aton(connection.address), links.addresses()
    for port in connection.ports:
        if port.protocol == "udp":
            is_meant = partial(_goes_elsewhere, port, own, here)
            conntrack.forget_at(rules.PROTOCOLS[port.protocol], port.host_port, is_meant)


def _goes_elsewhere(port: Port, own: bytes, here: set[bytes], flow: conntrack.Flow) -> bool:
    if flow.answers_from == own:
        return False
    if rules.is_everywhere(port):
        return flow.destination in here or flow.destination[0] == 127
    return flow.destination == _socket.inet_aton(port.host_ip)

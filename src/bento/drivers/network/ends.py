"""The two ends of a container's pair of links: on the host's bridge, with a guard, and in the container."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from bento.drivers.network import forwarding, guards
from bento.drivers.network.subnets import packed
from bento.errors import KernelError, RuntimeFailed
from bento.kernel import namespace
from bento.kernel.net import announcing, links
from bento.kernel.process import pidfd
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from bento.kernel.net import refusing
    from bento.model.network import Connection
else:  # to drain
    refusing = LazyModule("bento.kernel.net.refusing")


def set_up_outside(link: str, number: int, connection: Connection, bridge: int) -> None:
    """Put a link on a bridge, by its number, behind its guard. Idempotent. Raises KernelError, RuntimeFailed.

    A container comes back to itself by its own published ports: where bridges ask the firewall, bridged.
    """
    forwarding.forgo_ipv6(link)
    guard(number, links.INGRESS, guards.of_container(connection))
    links.set_on_bridge(number, bridge, may_return=bool(connection.ports))
    links.set_up(number)


def set_up_inside(connections: Sequence[Connection], made: Collection[str]) -> None:
    """In its namespace, give the container its addresses and its way out. Idempotent. Raises as the other one.

    ``connections``: all that it has, in order: the first that leads outside is its way. ``made``: those interfaces
    that are new.
    """
    links.set_up(links.index_of("lo"))
    for one in connections:
        if one.interface not in made:
            continue
        (forwarding.have_ipv6 if one.address6 else forwarding.forgo_ipv6)(one.interface)
        number = links.index_of(one.interface)
        if one.address:
            links.add_address(number, one.address, one.prefix)
        if one.address6:
            links.add_address(number, one.address6, one.prefix6)
        links.set_up(number)
    lead_outside(connections)


def lead_outside(connections: Sequence[Connection]) -> None:
    """In its namespace, have what leaves it go by the first of its networks that leads outside. Idempotent."""
    for gateways in ("gateway", "gateway6"):
        ways = [(one.interface, way) for one in connections if not one.internal and (way := getattr(one, gateways))]
        for interface, way in ways[1:]:
            links.remove_default_route(links.index_of(interface), way)
        for interface, way in ways[:1]:
            links.add_default_route(links.index_of(interface), way)


def refuse(main_fd: int) -> None:
    """Close a container to new connections in its own namespace: see ``refusing``. One that has ended has no need."""
    _inside(main_fd, refusing.refuse_connections)


def announce(connections: Sequence[Connection], main_fd: int) -> None:
    """See ``NetworkDriver.announce``."""
    _inside(main_fd, lambda: _announce(connections))


def _announce(connections: Sequence[Connection]) -> None:
    for one in connections:
        own = [packed(address) for address in (one.address, one.address6) if address]
        with suppress(OSError):  # the program may have renamed its link, or set it down
            announcing.announce(one.interface, bytes.fromhex(one.mac.replace(":", "")), own)


def _inside(main_fd: int, act: Callable[[], None]) -> None:
    """Do something in a container's network namespace; nothing, where it has ended."""
    try:
        namespace_fd = pidfd.open_live(main_fd, "ns/net")
    except KernelError as error:
        if error.errno != errno.ESRCH:
            raise
        return
    try:
        namespace.in_network(namespace_fd, act)
    finally:
        os.close(namespace_fd)


def guard(link: int, side: int, program: bytes) -> None:
    """See ``links.set_guard``. Raises RuntimeFailed, which says what the kernel has to have."""
    try:
        links.set_guard(link, side, program)
    except KernelError as error:
        raise RuntimeFailed(
            f"the network failed: no guard for a link: {error.message}",
            hint="the kernel needs NET_SCH_INGRESS, NET_CLS_ACT and NET_CLS_BPF (modules sch_ingress and cls_bpf)",
        ) from error

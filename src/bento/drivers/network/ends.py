"""The two ends of a container's pair of links: on the host's bridge, with a guard, and in the container."""

from __future__ import annotations

from bento.drivers.network import forwarding, guards
from bento.errors import KernelError, RuntimeFailed
from bento.kernel.net import links
from bento.model.network import Connection


def set_up_outside(link: str, number: int, connection: Connection, bridge: int) -> None:
    """Put a link on a bridge, by its number, behind its guard. Idempotent. Raises KernelError, RuntimeFailed.

    A container comes back to itself by its own published ports: where bridges ask the firewall, bridged.
    """
    forwarding.forgo_ipv6(link)
    guard(number, links.INGRESS, guards.of_container(connection.address, connection.mac))
    links.set_on_bridge(number, bridge, may_return=bool(connection.ports))
    links.set_up(number)


def set_up_inside(connection: Connection) -> None:
    """In its namespace, give the container its address and its way out. Idempotent. Raises as the other one."""
    links.set_up(links.index_of("lo"))
    forwarding.forgo_ipv6("eth0")
    number = links.index_of("eth0")
    links.add_address(number, connection.address, connection.prefix)
    links.set_up(number)
    links.add_default_route(number, connection.gateway)


def guard(link: int, side: int, program: bytes) -> None:
    """See ``links.set_guard``. Raises RuntimeFailed, which says what the kernel has to have."""
    try:
        links.set_guard(link, side, program)
    except KernelError as error:
        raise RuntimeFailed(
            f"the network failed: no guard for a link: {error.message}",
            hint="the kernel needs NET_SCH_INGRESS, NET_CLS_ACT and NET_CLS_BPF (modules sch_ingress and cls_bpf)",
        ) from error

"""The firewall rules of an engine, as words for nft(8) and as elements of its sets. Pure.

An engine has one table. Its chains know no container: what they let through, and whereto, stands in sets and maps. So a
network, a container or a published port is an element more; and whatever is no element is closed.

Only the first packet of a connection passes chains of type nat: so a port that is taken out of the maps is closed to
new connections, and those under way go on by the kernel's connection tracking.
"""

from __future__ import annotations

import _socket
import struct
from collections.abc import Iterable
from typing import Final

from bento.drivers.network.guards import ALLOWED_MARK
from bento.drivers.network.subnets import around
from bento.kernel.net.nftables import Element
from bento.model.network import Connection, Port

PROTOCOLS: Final = {"tcp": _socket.IPPROTO_TCP, "udp": _socket.IPPROTO_UDP}
SETS: Final = ("members", "published_at", "published", "closed_at", "closed")
"""Whose elements are containers' own, and bear the beginning of the container's id."""

HOMES: Final = "homes"

_DECLARATIONS: Final = """\
  set homes { type ifname . ipv4_addr; flags interval; }
  set inside { type ipv4_addr; flags interval; }
  set members { type ipv4_addr; }
  map published_at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map published { type inet_proto . inet_service : ipv4_addr . inet_service; }
  set closed_at { type ipv4_addr . inet_proto . inet_service; }
  set closed { type inet_proto . inet_service; }
"""

_FORWARDED: Final = (
    "dnat ip to ip daddr . meta l4proto . th dport map @published_at",
    "fib daddr type local dnat ip to meta l4proto . th dport map @published",
)
_ALLOW: Final = f"meta mark set meta mark | {ALLOWED_MARK:#x}"
_STRANGERS: Final = 'iifname != "bento*" oifname != "bento*" drop'

_CHAINS: Final[dict[str, tuple[str, ...]]] = {
    # What comes from a link may not be for this host's loopback, nor say that it is from there. A container's address
    # is reached from its own bridge, and from elsewhere only by a published port of the host, which is another address.
    "walls": (
        "type filter hook prerouting priority raw",
        'iifname "lo" return',
        "ip daddr 127.0.0.0/8 drop",
        "ip saddr 127.0.0.0/8 drop",
        "ip daddr @inside iifname . ip daddr != @homes drop",
        "ip saddr @inside iifname . ip saddr != @homes drop",
    ),
    "ports": ("type nat hook prerouting priority dstnat", *_FORWARDED),
    "local": ("type nat hook output priority -100", *_FORWARDED),
    # The way out, and the way to published ports from this host's loopback and from containers on the same bridge.
    "out": (
        "type nat hook postrouting priority srcnat",
        "ip saddr @members oifname . ip saddr != @homes masquerade",
        "ct status dnat oifname . ip daddr @homes ip saddr 127.0.0.0/8 masquerade",
        "ct status dnat oifname . ip saddr @homes masquerade",
    ),
    "shut": (
        "type filter hook input priority filter",
        "ip daddr . meta l4proto . th dport @closed_at goto refuse",
        "fib daddr type local meta l4proto . th dport @closed goto refuse",
    ),
    "refuse": ("", "meta l4proto tcp reject with tcp reset", "reject"),
    "strangers": ("type filter hook forward priority filter",),
    # What the guard of the bridge lets through. Where bridges ask the firewall (br_netfilter), a packet that goes back
    # to the bridge it came from meets no chain of the hook forward before it meets the guard.
    "admit_back": ("type filter hook prerouting priority 300", f"iifname . ip daddr @homes {_ALLOW}"),
    "admit": (
        "type filter hook forward priority 300",
        f"oifname . ip daddr @homes ct state established,related {_ALLOW}",
        f"oifname . ip daddr @homes ct status dnat {_ALLOW}",
    ),
    "admit_own": ("type filter hook output priority 300", f"ip daddr @inside {_ALLOW}"),
}


def table(name: str, connection: Connection, *, is_router: bool) -> str:
    """An engine's table, without a container yet.

    ``is_router``: this host forwards packets because of Bento alone, so none of those that are none of Bento's.
    """
    body = "".join(_chain(chain, rules) for chain, rules in _chains(is_router).items())
    subnet = around(connection.gateway)
    return (
        f"table inet {name} {{\n{_DECLARATIONS}{body}}}\n"
        f'add element inet {name} {HOMES} {{ "{connection.bridge}" . {subnet} }}\n'
        f"add element inet {name} inside {{ {subnet} }}\n"
    )


def counts(*, is_router: bool) -> dict[str, int]:
    """How many rules each chain has, those without left out."""
    return {chain: len(rules) - 1 for chain, rules in _chains(is_router).items() if len(rules) > 1}


def _chains(is_router: bool) -> dict[str, tuple[str, ...]]:
    return _CHAINS | ({"strangers": (*_CHAINS["strangers"], _STRANGERS)} if is_router else {})


def _chain(name: str, rules: tuple[str, ...]) -> str:
    return f"  chain {name} {{\n" + "".join(f"    {rule}\n" for rule in rules if rule) + "  }\n"


def gone(name: str) -> str:
    """Delete the table, be it there or not. Takes the kernel ten milliseconds, not only where it was there."""
    return f"add table inet {name}\ndelete table inet {name}\n"


def elements(owner: str, connection: Connection, *, with_ports: bool = True) -> list[Element]:
    """What a container has in the sets: itself, and its published ports."""
    address = _socket.inet_aton(connection.address)
    ports = [
        Element(_set_of("published", port), _key(port), address + _number(port.container_port), owner)
        for port in (connection.ports if with_ports else ())
    ]
    return [Element("members", address, comment=owner), *ports]


def drained(name: str, owner: str, connection: Connection) -> str:
    """Close the published ports to new connections: forward no more of them, and refuse them at once. Repeatable."""
    lines = []
    for port in connection.ports:
        where = f"{port.protocol} . {port.host_port}"
        where = where if is_everywhere(port) else f"{port.host_ip} . {where}"
        opened, shut = (f"element inet {name} {_set_of(word, port)}" for word in ("published", "closed"))
        lines += [
            f'add {shut} {{ {where} comment "{owner}" }}',
            # Added once more, so that it can be deleted whether it is there or not.
            f"add {opened} {{ {where} : {connection.address} . {port.container_port} }}",
            f"delete {opened} {{ {where} }}",
        ]
    return "\n".join(lines) + "\n"


def reaches_loopback(found: Iterable[Element]) -> bool:
    """Whether a port of one of these is published on an address of 127.0.0.0/8, be it closed to new connections."""
    return any(
        one.set_name in ("published", "closed") or (one.set_name.endswith("_at") and one.key[0] == 127) for one in found
    )


def mac_of(address: str) -> str:
    """A MAC made of the address: the next container with the address is reached by what others remember."""
    return "02:be:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def is_everywhere(port: Port) -> bool:
    """Whether a port is published on every address of this host."""
    return port.host_ip in ("", "0.0.0.0")


def _set_of(word: str, port: Port) -> str:
    return word if is_everywhere(port) else f"{word}_at"


def _key(port: Port) -> bytes:
    key = struct.pack("B3x", PROTOCOLS[port.protocol]) + _number(port.host_port)
    return key if is_everywhere(port) else _socket.inet_aton(port.host_ip) + key


def _number(port: int) -> bytes:
    return struct.pack(">H2x", port)

"""The firewall rules of an engine, as words for nft(8) and as elements of its sets. Pure.

An engine has one table, of the family inet, and one beside it, of the family ip6, while it has a network with IPv6.
Chains know no container and no network: what they let through, and whereto, stands in sets and maps. So a network or a
published port is an element more; and whatever is no element is closed. Where rules of a version differ from those
before, so do names of chains: a table of old does not stand (see ``counts``).

Only the first packet of a connection passes chains of type nat: so a port that is taken out of the maps is closed to
new connections, and those under way go on by the kernel's connection tracking.
"""

from __future__ import annotations

import _socket
import binascii
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from bento.drivers.network.guards import ALLOWED_MARK
from bento.drivers.network.subnets import packed
from bento.kernel.net.nftables import INET, IPV6, Element
from bento.model.network import Connection, Port

PROTOCOLS: Final = {
    "tcp": _socket.IPPROTO_TCP,
    "udp": _socket.IPPROTO_UDP,
    "sctp": 132,  # IPPROTO_SCTP, which not every Python has
}
SETS: Final = ("published_at", "published", "closed_at", "closed", "opened", "refused")
"""Whose elements are containers' own, and bear the beginning of the container's id."""
HOMES: Final = "homes"
OUTWARD: Final = "outward"
ROUTED: Final = "routed"
FAMILIES: Final = (INET, IPV6)
_IPV4_BYTES: Final = 4
_PORT_BYTES: Final = 4  # behind an address
_PROTOCOL_AND_PORT_BYTES: Final = 8
_WORDS: Final = {INET: "inet", IPV6: "ip6"}

_FROM_HOME_MARK: Final = 0x20000000
"""The bit by which the tables of all engines know what comes from a bridge of one of them."""
_BACK_MARK: Final = 0x40000000
"""That of what goes back to the bridge it came from: what is on one sends each other (br_netfilter)."""
_LEAVING_MARK: Final = 0x80000000
"""That of what others' bridges and tunnels send: it goes on if a rule of theirs has it leave as this host."""


class Home(Struct, frozen=True):
    """A bridge with the subnet of one family that is on it, as ``10.176.0.0/20``."""

    bridge: str
    subnet: str
    leads_out: bool = True  # what is in it goes out as the host
    is_routed: bool = False  # it goes out, and is reached, under its own addresses

    @property
    def family(self) -> int:
        """Of the table that it is an element of."""
        return family_of(self.subnet)


def family_of(address: str) -> int:
    """Return the family of the table that is about an address, or a subnet."""
    return IPV6 if ":" in address else INET


_DECLARATIONS: Final = """\
  set homes {{ type ifname . {address}; flags interval; }}
  set inside {{ type {address}; flags interval; }}
  set outward {{ type {address}; flags interval; }}
  set routed {{ type {address}; flags interval; }}
  map published_at {{ type {address} . inet_proto . inet_service : {address} . inet_service; }}
  map published {{ type inet_proto . inet_service : {address} . inet_service; }}
  set closed_at {{ type {address} . inet_proto . inet_service; }}
  set closed {{ type inet_proto . inet_service; }}
  set opened {{ type {address} . inet_proto . inet_service; }}
  set refused {{ type {address} . inet_proto . inet_service; }}
"""

_FORWARDED: Final = (
    "dnat {ip} to {ip} daddr . meta l4proto . th dport map @published_at",
    # IPv6 has no route_localnet: what was forwarded from the loopback would never be answered.
    "{not_loopback}fib daddr type local dnat {ip} to meta l4proto . th dport map @published",
)
_ALLOW: Final = f"meta mark set meta mark | {ALLOWED_MARK:#x}"
_STRANGERS: Final = {
    # What is none of Bento's is forwarded where rules of others translate its addresses, as for Docker's containers, or
    # those of a machine: they may have come after Bento, and have found a host that forwards.
    "strangers": (
        "{of_family}meta mark & " + f"{ALLOWED_MARK | _FROM_HOME_MARK | _BACK_MARK:#x} != 0 accept",
        "ct status dnat accept",
        "ct direction reply accept",
        '{of_family}meta iifkind {{ "bridge", "tun", "wireguard" }} meta mark set meta mark | '
        f"{_LEAVING_MARK:#x} accept",
        "{of_family}drop",
    ),
    "admit_back": (f'meta iifkind "bridge" fib daddr . iif oif exists meta mark set meta mark | {_BACK_MARK:#x}',),
    "strangers_out": (f"meta mark & {_LEAVING_MARK:#x} != 0 ct status & snat == 0 drop",),
}

_CHAINS: Final[dict[str, tuple[str, ...]]] = {
    # What comes from a link may not be for this host's loopback, nor say that it is from there. A container's address
    # is reached from its own bridge, and from elsewhere only by a published port of the host, which is another address.
    # What is routed is judged by "admit", where connections are known; the bridge's own addresses are not.
    "walls": (
        "type filter hook prerouting priority raw",
        'iifname "lo" return',
        "{ip} daddr {loopback} drop",
        "{ip} saddr {loopback} drop",
        "{ip} saddr @inside iifname . {ip} saddr != @homes drop",
        "{ip} daddr @routed fib daddr type unicast return",
        "{ip} daddr @inside iifname . {ip} daddr != @homes drop",
    ),
    "ports": ("type nat hook prerouting priority dstnat", *_FORWARDED),
    "local": ("type nat hook output priority -100", *_FORWARDED),
    # The way out, and the way to published ports from this host's loopback and from containers on the same bridge.
    "leave": (
        "type nat hook postrouting priority srcnat",
        "{ip} saddr @outward oifname . {ip} saddr != @homes masquerade",
        "ct status dnat oifname . {ip} daddr @homes {ip} saddr {loopback} masquerade",
        "ct status dnat oifname . {ip} saddr @homes masquerade",
    ),
    "shut": (
        "type filter hook input priority filter",
        "{ip} daddr . meta l4proto . th dport @closed_at goto refuse",
        "{of_family}{not_loopback}fib daddr type local meta l4proto . th dport @closed goto refuse",
    ),
    "shut_opened": (
        "type filter hook forward priority filter",
        "{ip} daddr . meta l4proto . th dport @refused ct state new goto refuse",
    ),
    "refuse": ("", "meta l4proto tcp reject with tcp reset", "reject"),
    # What the guard of the bridge lets through. Where bridges ask the firewall (br_netfilter), a packet that goes back
    # to the bridge it came from meets no chain of the hook forward before it meets the guard.
    "admit_back": ("type filter hook prerouting priority 300", f"iifname . {{ip}} daddr @homes {_ALLOW}"),
    "admit": (
        "type filter hook forward priority 300",
        f"oifname . {{ip}} daddr @homes ct state established,related {_ALLOW}",
        f"oifname . {{ip}} daddr @homes ct status dnat {_ALLOW}",
        f"oifname . {{ip}} daddr @homes {{ip}} daddr . meta l4proto . th dport @opened {_ALLOW}",
        # The guard would do so, too, but not before the host has asked for a neighbour that may not be.
        f"{{ip}} daddr @routed meta mark & {ALLOWED_MARK:#x} == 0 drop",
        f"iifname . {{ip}} saddr @homes meta mark set meta mark | {_FROM_HOME_MARK:#x}",
    ),
    "strangers": ("type filter hook forward priority 310",),
    "strangers_out": ("type filter hook postrouting priority 110",),
    "admit_own": ("type filter hook output priority 300", f"{{ip}} daddr @inside {_ALLOW}"),
}
_OF_FAMILY: Final = {
    INET: {"ip": "ip", "loopback": "127.0.0.0/8", "not_loopback": "", "of_family": "meta nfproto ipv4 "},
    IPV6: {"ip": "ip6", "loopback": "::1", "not_loopback": "ip6 daddr != ::1 ", "of_family": ""},
}


def table(name: str, family: int, *, is_router: bool) -> str:
    """An engine's table, without a network yet.

    ``is_router``: this host forwards packets because of Bento alone, so none of others that ask for no more than a way.
    """
    chains = _chains(is_router).items()
    body = "".join(_chain(chain, rules) for chain, rules in chains).format(**_OF_FAMILY[family])
    declared = _DECLARATIONS.format(address="ipv6_addr" if family == IPV6 else "ipv4_addr")
    return f"table {_WORDS[family]} {name} {{\n{declared}{body}}}\n"


def settled(name: str, found: Iterable[Home]) -> str:
    """Let containers be where these are. Repeatable."""
    return "".join(f"add element {one}\n" for home in found for one in _places(name, home))


def unsettled(name: str, found: Iterable[Home]) -> str:
    """Take that back. Repeatable."""
    # Added once more, so that it can be deleted whether it is there or not.
    return "".join(f"add element {one}\ndelete element {one}\n" for home in found for one in _places(name, home))


def _places(name: str, home: Home) -> list[str]:
    where = f"{_WORDS[home.family]} {name}"
    sets = ["inside", *([OUTWARD] if home.leads_out else []), *([ROUTED] if home.is_routed else [])]
    return [
        f'{where} {HOMES} {{ "{home.bridge}" . {home.subnet} }}',
        *(f"{where} {one} {{ {home.subnet} }}" for one in sets),
    ]


def counts(*, is_router: bool) -> dict[str, int]:
    """How many rules each chain has, those without left out."""
    return {chain: len(rules) - 1 for chain, rules in _chains(is_router).items() if len(rules) > 1}


def _chains(is_router: bool) -> Mapping[str, tuple[str, ...]]:
    return _CHAINS | {name: (*_CHAINS[name], *rules) for name, rules in (_STRANGERS if is_router else {}).items()}


def _chain(name: str, rules: tuple[str, ...]) -> str:
    return f"  chain {name} {{{{\n" + "".join(f"    {rule}\n" for rule in rules if rule) + "  }}\n"


def gone(name: str, families: Iterable[int] = (INET,)) -> str:
    """Delete the tables, be they there or not. Takes the kernel ten milliseconds, not only where they were there."""
    return "".join(f"add table {_WORDS[one]} {name}\ndelete table {_WORDS[one]} {name}\n" for one in families)


def elements(owner: str, connection: Connection) -> list[Element]:
    """What a container has in the sets by one network: its published ports."""
    found: list[Element] = []
    for address in filter(None, (connection.address, connection.address6)):
        own, family = packed(address), family_of(address)
        found += [
            _opened(own, port, owner, family)
            if connection.opens(port)
            else Element(_set_of("published", port), _key(port), own + _number(port.container_port), owner, family)
            for port in connection.ports
            if family_of(port.host_ip) == family and not port.is_proxied and (port.host_port or connection.opens(port))
        ]
    return list(dict.fromkeys(found))


def _opened(own: bytes, port: Port, owner: str, family: int) -> Element:
    key = own + struct.pack("B3x", PROTOCOLS[port.protocol]) + _number(port.container_port)
    return Element("opened", key, b"", owner, family)


def own_address(one: Element) -> bytes:
    """Return the container's own address of an element; nothing for those that say none."""
    if one.set_name in ("opened", "refused"):
        return one.key[:-_PROTOCOL_AND_PORT_BYTES]
    return one.data[:-_PORT_BYTES]


def elements_of(connections: Mapping[str, Sequence[Connection]]) -> list[Element]:
    """Return what containers have in the sets, by their ids."""
    return [one for name, each in connections.items() for place in each for one in elements(owner_of(name), place)]


def owner_of(container_id: str) -> str:
    """Return how the elements of a container are marked."""
    return container_id[:12]


def reached_by_loopback(connections: Mapping[str, Sequence[Connection]]) -> set[str]:
    """Return the bridges of which a port is published on an address of 127.0.0.0/8."""
    return {one.bridge for each in connections.values() for one in each if reaches_loopback(elements("", one))}


def drained(name: str, owner: str, connections: Iterable[Connection]) -> str:
    """Close the published ports to new connections: forward no more of them, and refuse them at once. Repeatable."""
    lines = []
    for connection, port in ((one, port) for one in connections for port in one.ports):
        family = family_of(port.host_ip)
        own = connection.address6 if family == IPV6 else connection.address
        if not own or port.is_proxied or not (port.host_port or connection.opens(port)):
            continue  # without an address, or a port of the host, it came from another network
        if connection.opens(port):
            where = f"{own} . {port.protocol} . {port.container_port}"
            lines.append(f'add element {_WORDS[family]} {name} refused {{ {where} comment "{owner}" }}')
            continue
        where = f"{port.protocol} . {port.host_port}"
        where = where if is_everywhere(port) else f"{port.host_ip} . {where}"
        opened, shut = (f"element {_WORDS[family]} {name} {_set_of(word, port)}" for word in ("published", "closed"))
        lines += [
            f'add {shut} {{ {where} comment "{owner}" }}',
            # Added once more, so that it can be deleted whether it is there or not.
            f"add {opened} {{ {where} : {own} . {port.container_port} }}",
            f"delete {opened} {{ {where} }}",
        ]
    return "\n".join(lines) + "\n"


def reaches_loopback(found: Iterable[Element]) -> bool:
    """Whether a port of one of these is published on an address of 127.0.0.0/8, be it closed to new connections."""
    return any(
        one.family == INET
        and (one.set_name in ("published", "closed") or (one.set_name.endswith("_at") and one.key[0] == 127))
        for one in found
    )


def mac_of(address: str) -> str:
    """A MAC made of the address: the next container with the address is reached by what others remember.

    IPv6 has more of them than there are MACs: two on one bridge hardly ever have the same.
    """
    own = packed(address)
    return "02:be:" + (own if len(own) == _IPV4_BYTES else binascii.crc32(own).to_bytes(4, "big")).hex(":")


def is_everywhere(port: Port) -> bool:
    """Whether a port is published on every address of this host of its family."""
    return port.host_ip in ("", "0.0.0.0", "::")


def _set_of(word: str, port: Port) -> str:
    return word if is_everywhere(port) else f"{word}_at"


def _key(port: Port) -> bytes:
    key = struct.pack("B3x", PROTOCOLS[port.protocol]) + _number(port.host_port)
    return key if is_everywhere(port) else packed(port.host_ip) + key


def _number(port: int) -> bytes:
    return struct.pack(">H2x", port)

"""Telling the neighbours on a link of an address, unasked (RFC 5227, 3; RFC 4861, 7.2.6).

What has asked for it in vain would ask again only a second later; what knows another MAC of it, after half a minute.
"""

from __future__ import annotations

import _socket
import struct
from typing import Final

_ARP, _IPV6 = 0x0806, 0x86DD
_IPV4_BYTES: Final = 4
_BROADCAST: Final = b"\xff" * 6
_ALL_NODES: Final = _socket.inet_pton(_socket.AF_INET6, "ff02::1")
_ALL_NODES_MAC: Final = b"\x33\x33" + _ALL_NODES[-4:]
_ICMPV6, _ADVERTISEMENT = 58, 136
_OVERRIDE: Final = 0x20000000
_LINK_LAYER_ADDRESS: Final = bytes([2, 1])  # the option, and its length in 8 bytes


def announce(link: str, mac: bytes, addresses: list[bytes]) -> None:
    """Tell all on a link that these addresses, packed, are at this MAC. In the calling thread's network namespace.

    Raises OSError.
    """
    made = _socket.socket(_socket.AF_PACKET, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
    try:
        for address in addresses:
            frame = _arp(mac, address) if len(address) == _IPV4_BYTES else _advertisement(mac, address)
            made.sendto(frame, (link, 0))
    finally:
        made.close()


def _arp(mac: bytes, address: bytes) -> bytes:
    head = _BROADCAST + mac + struct.pack(">HHHBBH", _ARP, 1, 0x0800, 6, 4, 1)
    return head + mac + address + bytes(6) + address


def _advertisement(mac: bytes, address: bytes) -> bytes:
    said = struct.pack(">I", _OVERRIDE) + address + _LINK_LAYER_ADDRESS + mac
    message = struct.pack(">BBH", _ADVERTISEMENT, 0, 0) + said
    between = address + _ALL_NODES + struct.pack(">II", len(message), _ICMPV6)
    message = struct.pack(">BBH", _ADVERTISEMENT, 0, _checksum(between + message)) + said
    head = _ALL_NODES_MAC + mac + struct.pack(">HIHBB", _IPV6, 6 << 28, len(message), _ICMPV6, 255)
    return head + address + _ALL_NODES + message


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

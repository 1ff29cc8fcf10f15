"""Port 53 of one address, redirected within a network namespace."""

from __future__ import annotations

import _socket
import struct
from typing import Final

from bento.kernel.net.expressions import (
    META_L4PROTO,
    NETWORK_HEADER,
    REGISTER,
    TRANSPORT_HEADER,
    compare,
    expression,
    immediate,
    meta,
    number,
    payload,
    set_chain,
)

_IPV4: Final = 2
_TABLE: Final = "bento-names"
_CHAIN: Final = "redirect"
_LOCAL_OUT: Final = (3, -100)  # before the translation of sources
_DESTINATION_AT, _PORT_AT = 16, 2
_PORT: Final = 53


def redirect_names(address: str, port: int) -> None:
    """Have what is sent here to port 53 of an address, by UDP or TCP, come to another port of it.

    In the calling thread's network namespace. Idempotent: the port is changed. Raises KernelError.
    """
    protocols = (_socket.IPPROTO_UDP, _socket.IPPROTO_TCP)
    set_chain(_IPV4, _TABLE, _CHAIN, "nat", _LOCAL_OUT, [_rule(address, protocol, port) for protocol in protocols])


def _rule(address: str, protocol: int, port: int) -> list[bytes]:
    return [
        payload(NETWORK_HEADER, _DESTINATION_AT, 4),
        compare(_socket.inet_aton(address)),
        meta(META_L4PROTO),
        compare(bytes([protocol])),
        payload(TRANSPORT_HEADER, _PORT_AT, 2),
        compare(struct.pack(">H", _PORT)),
        immediate(struct.pack(">H", port)),
        expression("nat", [number(1, 1), number(2, _IPV4), number(5, REGISTER)]),  # the destination's port
    ]

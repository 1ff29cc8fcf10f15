"""Port 53 of one address, redirected within a network namespace: two rules of nftables, made by netlink.

nft(8) would take some milliseconds more, at the start of each container.
"""

from __future__ import annotations

import _socket
import struct
from collections.abc import Sequence
from typing import Final

from bento.kernel.net.netlink import CREATE, NETFILTER, Message, Netlink, attribute, nested

_SUBSYSTEM: Final = 10  # linux/netfilter/nfnetlink.h; the rest: linux/netfilter/nf_tables.h
_NEWTABLE, _NEWCHAIN, _NEWRULE, _DELRULE = (_SUBSYSTEM << 8 | n for n in (0, 3, 6, 8))
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_APPEND: Final = 0x800
_IPV4: Final = 2
_TABLE: Final = "bento-names"
_CHAIN: Final = "redirect"
_LOCAL_OUT, _BEFORE_NAT_SRC = 3, -100
_REGISTER: Final = 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_DESTINATION_AT, _PORT_AT = 16, 2
_META_L4PROTO: Final = 16
_PORT: Final = 53


def redirect_names(address: str, port: int) -> None:
    """Have what is sent here to port 53 of an address, by UDP or TCP, come to another port of it.

    In the calling thread's network namespace. Idempotent: the port is changed. Raises KernelError.
    """
    there = [attribute(1, _TABLE)]
    hook = nested(4, [_number(1, _LOCAL_OUT), _number(2, _BEFORE_NAT_SRC)])
    chain = [*there, attribute(3, _CHAIN), hook, attribute(7, "nat")]
    rules = [*there, attribute(2, _CHAIN)]
    messages = [
        _message(_BATCH_BEGIN, [], resource=_SUBSYSTEM, family=0),
        _message(_NEWTABLE, there, CREATE),
        _message(_NEWCHAIN, chain, CREATE),
        _message(_DELRULE, rules),  # all of the chain
        *(
            _message(_NEWRULE, [*rules, nested(4, _rule(address, protocol, port))], CREATE | _APPEND)
            for protocol in (_socket.IPPROTO_UDP, _socket.IPPROTO_TCP)
        ),
        _message(_BATCH_END, [], resource=_SUBSYSTEM, family=0),
    ]
    with Netlink(NETFILTER) as netlink:
        netlink.ask("NFT_MSG_NEWRULE", messages)


def _rule(address: str, protocol: int, port: int) -> list[bytes]:
    return [
        _payload(_NETWORK_HEADER, _DESTINATION_AT, 4),
        _equals(_socket.inet_aton(address)),
        _expression("meta", [_number(1, _REGISTER), _number(2, _META_L4PROTO)]),
        _equals(bytes([protocol])),
        _payload(_TRANSPORT_HEADER, _PORT_AT, 2),
        _equals(struct.pack(">H", _PORT)),
        _expression("immediate", [_number(1, _REGISTER), nested(2, [attribute(1, struct.pack(">H", port))])]),
        _expression("nat", [_number(1, 1), _number(2, _IPV4), _number(5, _REGISTER)]),  # the destination's port
    ]


def _payload(header: int, offset: int, length: int) -> bytes:
    return _expression("payload", [_number(1, _REGISTER), _number(2, header), _number(3, offset), _number(4, length)])


def _equals(value: bytes) -> bytes:
    return _expression("cmp", [_number(1, _REGISTER), _number(2, 0), nested(3, [attribute(1, value)])])


def _expression(name: str, parts: Sequence[bytes]) -> bytes:
    return nested(1, [attribute(1, name), nested(2, parts)])


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">i", value))


def _message(kind: int, parts: Sequence[bytes], flags: int = 0, *, family: int = _IPV4, resource: int = 0) -> Message:
    header = struct.pack(">BBH", family, 0, resource)
    is_batch = kind in (_BATCH_BEGIN, _BATCH_END)
    return Message(kind, header + b"".join(parts), flags, is_acknowledged=not is_batch)

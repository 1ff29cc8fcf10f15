"""Rules of nftables as messages of netlink, for the few that are made in each container's network namespace.

nft(8) would take some milliseconds more.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from bento.kernel.net.netlink import CREATE, NETFILTER, Message, Netlink, attribute, nested

_SUBSYSTEM: Final = 10  # linux/netfilter/nfnetlink.h; the rest: linux/netfilter/nf_tables.h
_NEWTABLE, _NEWCHAIN, _NEWRULE, _DELRULE = (_SUBSYSTEM << 8 | n for n in (0, 3, 6, 8))
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_APPEND: Final = 0x800
REGISTER: Final = 1
EQUAL, NOT_EQUAL = 0, 1
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
META_IIF, META_L4PROTO = 4, 16


def set_chain(
    family: int, table: str, chain: str, kind: str, hook: tuple[int, int], rules: Sequence[list[bytes]]
) -> None:
    """Have a chain with these rules alone in a table, in the calling thread's network namespace. Idempotent.

    ``hook``: its number and the priority. Each rule is a list of expressions. Raises KernelError.
    """
    there = [attribute(1, table)]
    hooked = nested(4, [number(1, hook[0]), number(2, hook[1])])
    of_chain = [*there, attribute(2, chain)]
    messages = [
        _message(_BATCH_BEGIN, [], family=0, resource=_SUBSYSTEM),
        _message(_NEWTABLE, there, CREATE, family=family),
        _message(_NEWCHAIN, [*there, attribute(3, chain), hooked, attribute(7, kind)], CREATE, family=family),
        _message(_DELRULE, of_chain, family=family),  # all of the chain
        *(_message(_NEWRULE, [*of_chain, nested(4, rule)], CREATE | _APPEND, family=family) for rule in rules),
        _message(_BATCH_END, [], family=0, resource=_SUBSYSTEM),
    ]
    with Netlink(NETFILTER) as netlink:
        netlink.ask("NFT_MSG_NEWRULE", messages)


def meta(key: int) -> bytes:
    """Load a property of the packet."""
    return expression("meta", [number(1, REGISTER), number(2, key)])


def payload(header: int, offset: int, length: int) -> bytes:
    """Load bytes of a header."""
    return expression("payload", [number(1, REGISTER), number(2, header), number(3, offset), number(4, length)])


def masked(mask: bytes) -> bytes:
    """Keep these bits of what was loaded."""
    parts = [number(1, REGISTER), number(2, REGISTER), number(3, len(mask))]
    return expression("bitwise", [*parts, _data(4, mask), _data(5, bytes(len(mask)))])


def compare(value: bytes, how: int = EQUAL) -> bytes:
    """Go on with the rule where what was loaded is this, or is not."""
    return expression("cmp", [number(1, REGISTER), number(2, how), _data(3, value)])


def immediate(value: bytes) -> bytes:
    """Load a value."""
    return expression("immediate", [number(1, REGISTER), _data(2, value)])


def expression(name: str, parts: Sequence[bytes]) -> bytes:
    """Return one by its name and attributes."""
    return nested(1, [attribute(1, name), nested(2, parts)])


def number(kind: int, value: int) -> bytes:
    """Return an attribute with a number of 32 bits, in the network's order."""
    return attribute(kind, struct.pack(">i", value))


def _data(kind: int, value: bytes) -> bytes:
    return nested(kind, [attribute(1, value)])


def _message(kind: int, parts: Sequence[bytes], flags: int = 0, *, family: int, resource: int = 0) -> Message:
    header = struct.pack(">BBH", family, 0, resource)
    is_batch = kind in (_BATCH_BEGIN, _BATCH_END)
    return Message(kind, header + b"".join(parts), flags, is_acknowledged=not is_batch)

"""Elements of sets and maps of nftables, and how many rules there are: what changes often and has to be quick.

Rules are nft(8)'s to make: its language says better what they mean. ``netlink``: a socket of the family NETFILTER.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct

from bento.kernel.net.netlink import CREATE, Message, Netlink, attribute, attributes, each, nested, text

_SUBSYSTEM: Final = 10 << 8  # linux/netfilter/nfnetlink.h; the messages: linux/netfilter/nf_tables.h
_GETTABLE, _GETRULE, _NEWSETELEM, _GETSETELEM, _DELSETELEM = (_SUBSYSTEM | n for n in (1, 7, 12, 13, 14))
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
INET: Final = 1  # linux/netfilter.h: NFPROTO_INET, NFPROTO_IPV6
IPV6: Final = 10
_HEADER_BYTES: Final = 4
_AT_ONCE: Final = 256  # elements: an attribute holds 64 KiB
_TABLE_NAME, _RULE_TABLE, _RULE_CHAIN = 1, 1, 2
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEMENT = 1, 2, 3, 1
_KEY, _DATA, _FLAGS, _USERDATA, _KEY_END, _VALUE = 1, 2, 3, 6, 10, 1
_IS_END: Final = 1  # an element that is no more than the end of the interval before it
_COMMENT: Final = 0  # the first byte of it in user data, then its length


class Element(Struct, frozen=True):
    """An element of a set, or of a map when it has data. The parts of key and data are filled up to 4 bytes each."""

    set_name: str
    key: bytes
    data: bytes = b""
    comment: str = ""
    family: int = INET  # of the table
    end: bytes = b""  # of an interval; not for ``change``


def tables(netlink: Netlink, family: int = INET) -> list[str]:
    """Return the names of the tables of a family."""
    found = netlink.dump("NFT_MSG_GETTABLE", Message(_GETTABLE, _header(family)))
    return [text(attributes(body[_HEADER_BYTES:])[_TABLE_NAME]) for body in found]


def rule_counts(netlink: Netlink, table: str, family: int = INET) -> dict[str, int]:
    """Return how many rules each chain of a table has; chains without one are left out."""
    request = Message(_GETRULE, _header(family) + attribute(_RULE_TABLE, table))
    found = [attributes(body[_HEADER_BYTES:]) for body in netlink.dump("NFT_MSG_GETRULE", request)]
    return dict(Counter(text(one[_RULE_CHAIN]) for one in found if text(one[_RULE_TABLE]) == table))


def elements(netlink: Netlink, table: str, sets: Iterable[str], family: int = INET) -> list[Element]:
    """Return the elements of sets. Raises KernelError: ENOENT without the table or one of the sets."""
    found = []
    for name in sets:
        for body in netlink.dump("NFT_MSG_GETSETELEM", Message(_GETSETELEM, _header(family) + _list(table, name))):
            listed = attributes(body[_HEADER_BYTES:]).get(_LIST_ELEMENTS, b"")
            parsed = [attributes(one) for _, one in each(listed)]
            found += [_parse(name, one, family) for one in parsed if not _is_end(one)]
    return found


def change(netlink: Netlink, table: str, *, remove: Sequence[Element], add: Sequence[Element]) -> None:
    """Remove elements and add others, all or none. Raises KernelError: ENOENT, EEXIST.

    After elements were removed, the kernel makes the close of a socket of this family wait for ten milliseconds.
    """
    messages = [Message(_DELSETELEM, body) for body in _together(table, remove, key_only=True)]
    messages += [Message(_NEWSETELEM, body, CREATE) for body in _together(table, add)]
    if not messages:
        return
    begin, end = (
        Message(kind, _header(family=0, resource=_SUBSYSTEM >> 8), is_acknowledged=False)
        for kind in (_BATCH_BEGIN, _BATCH_END)
    )
    netlink.ask("NFT_MSG_SETELEM", [begin, *messages, end])


def _header(family: int = INET, resource: int = 0) -> bytes:
    return struct.pack(">BBH", family, 0, resource)


def _list(table: str, set_name: str) -> bytes:
    return attribute(_LIST_TABLE, table) + attribute(_LIST_SET, set_name)


def _together(table: str, elements: Sequence[Element], *, key_only: bool = False) -> Iterator[bytes]:
    """Yield bodies of messages: the elements of a set are in one, as far as they fit."""
    for (family, name), group in groupby(elements, lambda one: (one.family, one.set_name)):
        parts = [nested(_LIST_ELEMENT, _one(element, key_only=key_only)) for element in group]
        for at in range(0, len(parts), _AT_ONCE):
            yield _header(family) + _list(table, name) + nested(_LIST_ELEMENTS, parts[at : at + _AT_ONCE])


def _one(element: Element, *, key_only: bool) -> list[bytes]:
    parts = [nested(_KEY, [attribute(_VALUE, element.key)])]
    if element.data and not key_only:
        parts.append(nested(_DATA, [attribute(_VALUE, element.data)]))
    if element.comment and not key_only:
        comment = element.comment.encode() + b"\0"
        parts.append(attribute(_USERDATA, bytes([_COMMENT, len(comment)]) + comment))
    return parts


def _is_end(found: dict[int, bytes]) -> bool:
    return bool(int.from_bytes(found.get(_FLAGS, b""), "big") & _IS_END)


def _parse(set_name: str, found: dict[int, bytes], family: int) -> Element:
    userdata = found.get(_USERDATA, b"")
    is_comment = len(userdata) > 2 and userdata[0] == _COMMENT
    return Element(
        set_name,
        attributes(found.get(_KEY, b"")).get(_VALUE, b""),
        attributes(found.get(_DATA, b"")).get(_VALUE, b""),
        text(userdata[2:]) if is_comment else "",
        family,
        attributes(found.get(_KEY_END, b"")).get(_VALUE, b""),
    )

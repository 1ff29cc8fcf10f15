"""Connections that the kernel tracks, and forgetting some of them (linux/netfilter/nfnetlink_conntrack.h).

``netlink``: a socket of the family NETFILTER.
"""

from __future__ import annotations

import _socket
import errno
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct

from bento.errors import KernelError
from bento.kernel.net.netlink import Message, Netlink, attribute, attributes, nested

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_HEADER: Final = struct.Struct(">BBH")
_ORIGINAL, _REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_IP, _PROTOCOL = 1, 2
_ADDRESSES: Final = {_socket.AF_INET: (1, 2), _socket.AF_INET6: (3, 4)}  # source and destination
_IPV6_BYTES: Final = 16
_NUMBER, _DESTINATION_PORT = 1, 3
_FILTER_ORIGINAL, _FILTER_REPLY = 1, 2
_BY_SOURCE, _BY_PROTOCOL, _BY_DESTINATION_PORT = 1 << 0, 1 << 3, 1 << 5


class Flow(Struct, frozen=True):
    """One connection: whereto its first packet went, and which address answers. Addresses are packed."""

    protocol: int
    destination: bytes
    port: int
    answers_from: bytes


def forget_answered_by(netlink: Netlink, address: bytes) -> None:
    """Forget all connections that this address answers, whatever was asked. Blocks while all of them are looked at."""
    family = _socket.AF_INET6 if len(address) == _IPV6_BYTES else _socket.AF_INET
    by_source = nested(_REPLY, [nested(_IP, [attribute(_ADDRESSES[family][0], address)])])
    filter_ = by_source + nested(_FILTER, [attribute(_FILTER_REPLY, _BY_SOURCE)])
    _forget(netlink, family, filter_, lambda flow: flow.answers_from == address)


def forget_at(
    netlink: Netlink, protocol: int, port: int, is_meant: Callable[[Flow], bool], family: int = _socket.AF_INET
) -> None:
    """Forget those connections to a port, at whatever address of the family, that are meant. Blocks like the other.

    ``port`` 0: to any.
    """
    parts, flags = [attribute(_NUMBER, bytes([protocol]))], _BY_PROTOCOL
    if port:
        parts.append(attribute(_DESTINATION_PORT, struct.pack(">H", port)))
        flags |= _BY_DESTINATION_PORT
    wanted = nested(_FILTER, [attribute(_FILTER_ORIGINAL, flags)])
    filter_ = nested(_ORIGINAL, [nested(_PROTOCOL, parts)]) + wanted

    def is_one(flow: Flow) -> bool:
        return flow.protocol == protocol and port in (0, flow.port) and is_meant(flow)

    _forget(netlink, family, filter_, is_one)


def _forget(netlink: Netlink, family: int, filter_: bytes, is_meant: Callable[[Flow], bool]) -> None:
    if not _are_any():
        return
    messages, header = [], _HEADER.pack(family, 0, 0)
    for body in _dump(netlink, header, filter_):
        found = attributes(body[_HEADER.size :])
        flow = _parse(found, family)
        if flow is not None and is_meant(flow):
            kept = [nested(_ORIGINAL, [found[_ORIGINAL]])]
            kept += [attribute(kind, found[kind]) for kind in (_ID, _ZONE) if kind in found]
            messages.append(Message(_DELETE, header + b"".join(kept), is_acknowledged=False))
    netlink.post(messages)  # those that have ended meanwhile are no error


def _are_any() -> bool:
    """Whether this namespace has any: to look for them takes the kernel ten milliseconds and more, also for nothing."""
    try:
        with open("/proc/sys/net/netfilter/nf_conntrack_count", encoding="utf-8") as file:
            return file.read().strip() != "0"
    except OSError:
        return True


def _dump(netlink: Netlink, header: bytes, filter_: bytes) -> list[bytes]:
    """Before Linux 5.8 the kernel returns all there are, whatever the filter, or refuses."""
    call = "IPCTNL_MSG_CT_GET"
    try:
        return netlink.dump(call, Message(_GET, header + filter_))
    except KernelError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
    with suppress(KernelError):  # a kernel that does not say what it tracks
        return netlink.dump(call, Message(_GET, header))
    return []


def _parse(found: dict[int, bytes], family: int) -> Flow | None:
    source, destination = _ADDRESSES[family]
    try:
        asked, answered = attributes(found[_ORIGINAL]), attributes(found[_REPLY])
        protocol = attributes(asked[_PROTOCOL])
        return Flow(
            protocol=protocol[_NUMBER][0],
            destination=attributes(asked[_IP])[destination],
            port=int.from_bytes(protocol.get(_DESTINATION_PORT, b""), "big"),  # a protocol without ports has none
            answers_from=attributes(answered[_IP])[source],
        )
    except KeyError:  # another family's
        return None

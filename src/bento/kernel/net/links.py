"""Links, their addresses, routes and guards (rtnetlink(7)), in the calling thread's network namespace."""

from __future__ import annotations

import _socket
import errno
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from msgspec import Struct

from bento.errors import KernelError
from bento.kernel import libc
from bento.kernel.net.netlink import CREATE, EXCLUSIVE, ROUTE, Message, Netlink, attribute, attributes, nested, text

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19  # linux/rtnetlink.h
_NEWADDR, _GETADDR, _NEWROUTE, _DELROUTE = 20, 22, 24, 25
_NEWQDISC, _NEWTFILTER, _GETTFILTER = 36, 44, 46
_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ROUTE: Final = struct.Struct("=8BI")  # struct rtmsg
_TC: Final = struct.Struct("=B3xiIII")  # struct tcmsg
_UP: Final = 1
_IFLA_ADDRESS, _IFLA_NAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_INFO, _IFLA_ALIAS, _IFLA_GROUP, _IFLA_NETNS_FD = (
    1,
    3,
    4,
    10,
    18,
    20,
    27,
    28,
)
_INFO_KIND, _INFO_DATA, _SLAVE_KIND, _SLAVE_DATA = 1, 2, 4, 5
_VETH_PEER, _PORT_MODE = 1, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NO_DETECTION: Final = 0x02  # IFA_F_NODAD
IPV4: Final = _socket.AF_INET
IPV6: Final = _socket.AF_INET6
_RTA_OIF, _RTA_GATEWAY = 4, 5
_TABLE_MAIN, _PROTOCOL_BOOT, _UNICAST = 254, 3, 1
_TCA_KIND, _TCA_OPTIONS = 1, 2
_BPF_OPS_LEN, _BPF_OPS, _BPF_FLAGS = 4, 5, 8
_DIRECT_ACTION: Final = 1
_CLSACT, _CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
_EVERY_PROTOCOL: Final = 1 << 16 | _socket.htons(3)  # priority 1; ETH_P_ALL
_GROUP_OF_LINKS: Final = 1  # RTMGRP_LINK
INGRESS: Final = 0xFFFFFFF2
EGRESS: Final = 0xFFFFFFF3


class Link(Struct, frozen=True):
    """A link of this namespace. ``kind``: that of ip-link(8); "" for a device. ``alias``: what was written on it."""

    index: int
    name: str
    kind: str
    alias: str
    master: int  # index of the bridge it is on; 0: none
    is_up: bool
    group: int


def links(kind: str = "") -> list[Link]:
    """Return all of them, or those of a kind."""
    wanted = nested(_IFLA_INFO, [attribute(_INFO_KIND, kind)]) if kind else b""
    with Netlink(ROUTE) as netlink:
        found = [_parse(body) for body in netlink.dump("RTM_GETLINK", Message(_GETLINK, _link(0) + wanted))]
    return [link for link in found if not kind or link.kind == kind]


def find(name: str) -> Link | None:
    """Return the link of this name, or None."""
    request = Message(_GETLINK, _link(0) + attribute(_IFLA_NAME, name))
    try:
        with Netlink(ROUTE) as netlink:
            return _parse(netlink.get("RTM_GETLINK", request)[0])
    except KernelError as error:
        if error.errno != errno.ENODEV:
            raise
        return None


def index_of(name: str) -> int:
    """Return the number of a link; 0 when there is none."""
    try:
        return _socket.if_nametoindex(name)
    except OSError:
        return 0


def add_bridge(name: str, mac: str, *, group: int = 0, mtu: int = 0) -> int:
    """Make a bridge, which is down; return its number. Raises KernelError: EEXIST."""
    options = attribute(_IFLA_ADDRESS, _mac(mac)) + attribute(_IFLA_GROUP, group) + _mtu(mtu)
    return _add(name, options + nested(_IFLA_INFO, [attribute(_INFO_KIND, "bridge")]))


def add_veth(name: str, peer: tuple[str, str], namespace_fd: int, *, mtu: int = 0) -> int:
    """Make a pair of links, which are down, one here; ``peer``, a name and a MAC, in another namespace."""
    name_there, mac = peer
    there = attribute(_IFLA_NAME, name_there) + attribute(_IFLA_ADDRESS, _mac(mac)) + _mtu(mtu)
    there += attribute(_IFLA_NETNS_FD, namespace_fd)
    data = nested(_INFO_DATA, [nested(_VETH_PEER, [_link(0), there])])
    return _add(name, _mtu(mtu) + nested(_IFLA_INFO, [attribute(_INFO_KIND, "veth"), data]))


def _mtu(mtu: int) -> bytes:
    return attribute(_IFLA_MTU, mtu) if mtu else b""


def set_alias(index: int, alias: str) -> None:
    """Write something on a link, for ``ip link`` to show."""
    _ask("RTM_SETLINK", Message(_SETLINK, _link(index) + attribute(_IFLA_ALIAS, alias)))


def set_group(name: str, group: int) -> None:
    """Lay a link together with others, of which all can be deleted at once. Not an error when there is none."""
    try:
        _ask("RTM_SETLINK", Message(_SETLINK, _link(0) + attribute(_IFLA_NAME, name) + attribute(_IFLA_GROUP, group)))
    except KernelError as error:
        if error.errno != errno.ENODEV:
            raise


def set_up(index: int) -> None:
    """Set a link up. Idempotent."""
    _ask("RTM_SETLINK", Message(_SETLINK, _link(index, is_up=True)))


def set_on_bridge(index: int, bridge: int, *, may_return: bool) -> None:
    """Put a link on a bridge, by its number. Idempotent. ``may_return``: what comes from it may go back to it."""
    joined = Message(_SETLINK, _link(index) + attribute(_IFLA_MASTER, bridge))
    mode = nested(_SLAVE_DATA, [attribute(_PORT_MODE, bytes([may_return]))])
    port = nested(_IFLA_INFO, [attribute(_SLAVE_KIND, "bridge"), mode])
    _ask("RTM_NEWLINK", joined, Message(_NEWLINK, _link(index) + port))


def add_address(index: int, address: str, prefix: int) -> None:
    """Give a link an address. IPv6: used at once, whether or not another link has it, too. Idempotent."""
    family, packed = _packed(address)
    body = _ADDRESS.pack(family, prefix, _NO_DETECTION if family == IPV6 else 0, 0, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    _ask_unless_there("RTM_NEWADDR", Message(_NEWADDR, body, CREATE | EXCLUSIVE))


def add_default_route(index: int, gateway: str) -> None:
    """Send by this gateway what has no other way. Idempotent."""
    _ask_unless_there("RTM_NEWROUTE", Message(_NEWROUTE, _default_route(index, gateway), CREATE | EXCLUSIVE))


def remove_default_route(index: int, gateway: str) -> None:
    """Take that back. Idempotent."""
    try:
        _ask("RTM_DELROUTE", Message(_DELROUTE, _default_route(index, gateway)))
    except KernelError as error:
        if error.errno != errno.ESRCH:
            raise


def _default_route(index: int, gateway: str) -> bytes:
    family, packed = _packed(gateway)
    body = _ROUTE.pack(family, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, 0, _UNICAST, 0)
    return body + attribute(_RTA_OIF, index) + attribute(_RTA_GATEWAY, packed)


def _packed(address: str) -> tuple[int, bytes]:
    family = IPV6 if ":" in address else IPV4
    return family, _socket.inet_pton(family, address)


def addresses(family: int = IPV4) -> set[bytes]:
    """Return the addresses of a family of all links, packed."""
    request = Message(_GETADDR, _ADDRESS.pack(family, 0, 0, 0, 0))
    with Netlink(ROUTE) as netlink:
        found = [attributes(body[_ADDRESS.size :]) for body in netlink.dump("RTM_GETADDR", request)]
    return {address for one in found if (address := one.get(_IFA_LOCAL, one.get(_IFA_ADDRESS)))}


def set_guard(index: int, side: int, program: bytes) -> None:
    """Have a classic BPF program say what becomes of each packet of a link (tc-bpf(8), direct action). Idempotent.

    ``side``: INGRESS or EGRESS. No change of firewall rules takes it away. Raises KernelError: EOPNOTSUPP, ENOENT where
    the kernel has no clsact or cls_bpf.
    """
    qdisc = _TC.pack(0, index, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_TCA_KIND, "clsact")
    _ask_unless_there("RTM_NEWQDISC", Message(_NEWQDISC, qdisc, CREATE | EXCLUSIVE))
    options = [
        attribute(_BPF_OPS_LEN, struct.pack("=H", len(program) // 8)),
        attribute(_BPF_OPS, program),
        attribute(_BPF_FLAGS, _DIRECT_ACTION),
    ]
    body = _TC.pack(0, index, 1, side, _EVERY_PROTOCOL) + attribute(_TCA_KIND, "bpf") + nested(_TCA_OPTIONS, options)
    _ask("RTM_NEWTFILTER", Message(_NEWTFILTER, body, CREATE))


def has_guard(index: int, side: int, program: bytes) -> bool:
    """Whether ``set_guard`` with the same arguments would change nothing."""
    request = Message(_GETTFILTER, _TC.pack(0, index, 0, side, 0))
    with Netlink(ROUTE) as netlink, suppress(KernelError):  # without clsact
        for body in netlink.dump("RTM_GETTFILTER", request):
            options = attributes(attributes(body[_TC.size :]).get(_TCA_OPTIONS, b""))
            if options.get(_BPF_OPS) == program:
                return True
    return False


def follow_end(indexes: Sequence[int]) -> int:
    """Return a descriptor, the caller's to close, that polls readable when one of these links is deleted.

    It does not block. A link that leaves a bridge is said to be deleted there, too.
    """
    made = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK, ROUTE)
    try:
        libc.attach_filter(made.fileno(), _ends(indexes))
        made.bind((0, _GROUP_OF_LINKS))
    except BaseException:
        made.close()
        raise
    return made.detach()


def _ends(indexes: Sequence[int]) -> bytes:
    """Return a program in classic BPF, which reads numbers of this machine's as if they were the network's."""
    kind = int.from_bytes(struct.pack("=H", _DELLINK), "big")
    steps = [(0x28, 0, 0, 4), (0x15, 0, len(indexes) + 1, kind), (0x20, 0, 0, 20)]  # the kind, then the link's number
    for n, index in enumerate(indexes):
        steps.append((0x15, len(indexes) - n, 0, int.from_bytes(struct.pack("=I", index), "big")))
    return b"".join(struct.pack("=HBBI", *step) for step in (*steps, (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)))


def _add(name: str, options: bytes) -> int:
    body = _link(0) + attribute(_IFLA_NAME, name) + options
    _ask("RTM_NEWLINK", Message(_NEWLINK, body, CREATE | EXCLUSIVE))
    return index_of(name)


def _link(index: int, *, is_up: bool = False) -> bytes:
    return _LINK.pack(0, 0, index, _UP if is_up else 0, _UP if is_up else 0)


def _parse(body: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = attributes(body[_LINK.size :])
    info = attributes(found.get(_IFLA_INFO, b""))
    master = found.get(_IFLA_MASTER)
    return Link(
        index=index,
        name=text(found.get(_IFLA_NAME, b"")),
        kind=text(info.get(_INFO_KIND, b"")),
        alias=text(found.get(_IFLA_ALIAS, b"")),
        master=struct.unpack("=I", master)[0] if master else 0,
        is_up=bool(flags & _UP),
        group=struct.unpack("=I", found.get(_IFLA_GROUP, bytes(4)))[0],
    )


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ask(call: str, *messages: Message) -> None:
    with Netlink(ROUTE) as netlink:
        netlink.ask(call, messages)


def _ask_unless_there(call: str, message: Message) -> None:
    try:
        _ask(call, message)
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise

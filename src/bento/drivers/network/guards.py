"""Programs in classic BPF that let through what belongs on a link (linux/filter.h, tc-bpf(8), direct action). Pure.

They are on the links themselves, where no change of firewall rules reaches them: ``nft flush ruleset`` leaves them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from bento.drivers.network.subnets import Block, around, packed
from bento.model.network import Connection

_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter
_LOAD_LENGTH, _LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x80, 0x20, 0x28, 0x30
_AND, _IF_EQUAL, _IF_AT_LEAST, _IF_SET, _RETURN = 0x54, 0x15, 0x35, 0x45, 0x06
_ABOUT: Final = 0xFFFFF000  # SKF_AD_OFF: what is known of a packet beside its bytes
_MARK, _HAS_VLAN_TAG = _ABOUT + 20, _ABOUT + 48
_PASS: Final = 0xFFFFFFFF  # TC_ACT_UNSPEC: as far as this program is concerned
_DROP: Final = 2  # TC_ACT_SHOT
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_SHORTEST_BYTES: Final = 34  # a load behind the end would end the program, and let the packet through
_SHORTEST_IPV6_BYTES, _SHORTEST_ICMPV6_BYTES, _SHORTEST_ADVERTISEMENT_BYTES = 54, 58, 78
_ICMPV6: Final = 58
_PROTOCOLS: Final = (
    6,
    17,
    132,
    50,
    44,
)  # TCP, UDP, SCTP, ESP, and fragments, in which the kernel takes no ICMPv6 below
_SOLICITATION, _ADVERTISEMENT = 135, 136  # of neighbours (RFC 4861)
_ROUTERS: Final = (134, 137)  # a router's advertisement, and a redirect
_LINK_LOCAL: Final = Block(128, 0xFE80 << 112, 10)
_MULTICAST: Final = Block(128, 0xFF << 120, 8)

ALLOWED_MARK: Final = 0x10000000
"""The bit by which the firewall rules show the bridge's guard that they have let a packet through."""

_Step = tuple[int, int, str, str]  # what, with which number, whereto if so, whereto if not ("": the next one)


def of_container(connection: Connection) -> bytes:
    """Of what a container sends: IPv4 and ARP that name its own addresses as the sender, and nothing to 127.0.0.0/8.

    Each family only where it has an address of it; IPv6 from that, or from its link-local one. As neighbour it speaks
    for these alone, never as a router, and without headers between IPv6 and its protocol, which could hide that. An ARP
    probe has no address yet. So there is no VLAN and no spanning tree either. On an internal network nothing goes
    beyond its subnets.
    """
    own = int.from_bytes(packed(connection.address), "big") if connection.address else 0
    hardware = bytes.fromhex(connection.mac.replace(":", ""))
    high, low = int.from_bytes(hardware[:4], "big"), int.from_bytes(hardware[4:], "big")
    has_ends = connection.internal and connection.address
    ends = _within(30, [around(connection.gateway, connection.prefix)]) if has_ends else []
    return _assembled([
        (_LOAD_LENGTH, 0, "", ""),
        (_IF_AT_LEAST, _SHORTEST_BYTES, "", "drop"),
        (_LOAD_WORD, _HAS_VLAN_TAG, "", ""),
        (_IF_EQUAL, 0, "", "drop"),
        (_LOAD_WORD, 6, "", ""),  # the sender's MAC
        (_IF_EQUAL, high, "", "drop"),
        (_LOAD_HALF, 10, "", ""),
        (_IF_EQUAL, low, "", "drop"),
        (_LOAD_HALF, 12, "", ""),
        (_IF_EQUAL, _ARP, "arp" if connection.address else "drop", ""),
        (_IF_EQUAL, _IPV6, "ipv6" if connection.address6 else "drop", ""),
        (_IF_EQUAL, _IPV4, "" if connection.address else "drop", "drop"),
        (_LOAD_WORD, 26, "", ""),  # the sender's address
        (_IF_EQUAL, own, "", "drop"),
        (_LOAD_BYTE, 30, "", ""),  # the first number of the receiver's
        (_IF_EQUAL, 127, "drop", "" if ends else "pass"),
        *ends,
    ], arp=[
        (_LOAD_WORD, 22, "", ""),  # what it says of the sender: MAC
        (_IF_EQUAL, high, "", "drop"),
        (_LOAD_HALF, 26, "", ""),
        (_IF_EQUAL, low, "", "drop"),
        (_LOAD_WORD, 28, "", ""),  # and address
        (_IF_EQUAL, own, "pass", ""),
        (_IF_EQUAL, 0, "pass", "drop"),
    ], **(_of_ipv6(connection, hardware) if connection.address6 else {}))  # fmt: skip


def _of_ipv6(connection: Connection, hardware: bytes) -> dict[str, list[_Step]]:
    own, beside = packed(connection.address6), link_local(hardware)
    around6 = around(connection.gateway6, connection.prefix6)
    to = "to" if connection.internal else "pass"
    return {
        "ipv6": [
            (_LOAD_LENGTH, 0, "", ""),
            (_IF_AT_LEAST, _SHORTEST_IPV6_BYTES, "", "drop"),
            *_is(22, own, "what", "from_link"),  # the sender's address
        ],
        "from_link": _is(22, beside, "what", "drop"),
        "what": [
            (_LOAD_BYTE, 20, "", ""),  # the next header
            *((_IF_EQUAL, one, to, "") for one in _PROTOCOLS),
            (_IF_EQUAL, _ICMPV6, "", "drop"),
            (_LOAD_LENGTH, 0, "", ""),
            (_IF_AT_LEAST, _SHORTEST_ICMPV6_BYTES, "", "drop"),
            (_LOAD_BYTE, 54, "", ""),  # its type
            *((_IF_EQUAL, one, "drop", "") for one in _ROUTERS),
            (_IF_EQUAL, _ADVERTISEMENT, "", to),
            (_LOAD_LENGTH, 0, "", ""),
            (_IF_AT_LEAST, _SHORTEST_ADVERTISEMENT_BYTES, "", "drop"),
            *_is(62, own, to, "of_link"),  # the address that is said to be here
        ],
        "of_link": _is(62, beside, to, "drop"),
        **({"to": _within(38, [around6, _LINK_LOCAL, _MULTICAST])} if connection.internal else {}),
    }


def _words(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the words of an address with their offsets."""
    for at in range(0, len(data), 4):
        yield at, int.from_bytes(data[at : at + 4], "big")


def _is(offset: int, address: bytes, if_so: str, if_not: str) -> list[_Step]:
    """Whether there stands an address."""
    steps: list[_Step] = []
    for at, word in _words(address):
        steps += [(_LOAD_WORD, offset + at, "", ""), (_IF_EQUAL, word, "", if_not)]
    return [*steps[:-1], (*steps[-1][:2], if_so, if_not)]


def _within(offset: int, blocks: list[Block]) -> list[_Step]:
    """Pass when there stands an address of one of these subnets, else drop."""
    steps: list[_Step] = []
    for block in blocks:
        mask = (-1 << block.bits - block.prefix & (1 << block.bits) - 1).to_bytes(block.bits // 8, "big")
        pairs = zip(_words(block.first.to_bytes(len(mask), "big")), _words(mask), strict=True)
        tests = [(at, word, of) for (at, word), (_, of) in pairs if of]
        for n, (at, word, of) in enumerate(tests):
            steps += [(_LOAD_WORD, offset + at, "", ""), (_AND, of, "", "")]
            steps.append((_IF_EQUAL, word, "pass" if n == len(tests) - 1 else "", f"+{3 * (len(tests) - 1 - n)}"))
    return [*steps[:-1], (*steps[-1][:3], "drop")]


def link_local(hardware: bytes) -> bytes:
    """Return the link-local address that the kernel makes of a MAC (RFC 4291, appendix A)."""
    interface = bytes([hardware[0] ^ 2]) + hardware[1:3] + b"\xff\xfe" + hardware[3:]
    return b"\xfe\x80" + bytes(6) + interface


def of_bridge() -> bytes:
    """Of what the host sends, or forwards, to containers: ARP, IPv6's questions for neighbours and the answers
    (of this host itself), and IP that the firewall rules have let through.
    """
    return _assembled([
        (_LOAD_HALF, 12, "", ""),
        (_IF_EQUAL, _ARP, "pass", ""),
        (_IF_EQUAL, _IPV4, "marked", ""),
        (_IF_EQUAL, _IPV6, "", "drop"),
        (_LOAD_LENGTH, 0, "", ""),
        (_IF_AT_LEAST, _SHORTEST_ICMPV6_BYTES, "", "marked"),
        (_LOAD_BYTE, 20, "", ""),
        (_IF_EQUAL, _ICMPV6, "", "marked"),
        (_LOAD_BYTE, 21, "", ""),  # the hop limit, which is less in what was forwarded
        (_IF_EQUAL, 255, "", "marked"),
        (_LOAD_BYTE, 54, "", ""),
        (_IF_EQUAL, _SOLICITATION, "pass", ""),
        (_IF_EQUAL, _ADVERTISEMENT, "pass", "marked"),
    ], marked=[
        (_LOAD_WORD, _MARK, "", ""),
        (_IF_SET, ALLOWED_MARK, "pass", "drop"),
    ])  # fmt: skip


def _assembled(steps: list[_Step], **labelled: list[_Step]) -> bytes:
    """Return the program with its jumps counted. The steps under a label come behind the others, the two ends last."""
    places, program = {"": 0}, list(steps)
    for label, more in labelled.items():
        places[label] = len(program)
        program += more
    places |= {"pass": len(program), "drop": len(program) + 1}
    program += [(_RETURN, _PASS, "", ""), (_RETURN, _DROP, "", "")]

    def jump(at: int, label: str) -> int:
        if label.startswith("+"):  # so many steps further on
            return int(label)
        return places[label] - at - 1 if label else 0

    return b"".join(
        _INSTRUCTION.pack(what, jump(at, if_so), jump(at, if_not), number)
        for at, (what, number, if_so, if_not) in enumerate(program)
    )

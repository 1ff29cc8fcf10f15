"""Programs in classic BPF that let through what belongs on a link (linux/filter.h, tc-bpf(8), direct action). Pure.

They are on the links themselves, where no change of firewall rules reaches them: ``nft flush ruleset`` leaves them.
"""

from __future__ import annotations

import struct
from typing import Final

_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter
_LOAD_LENGTH, _LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x80, 0x20, 0x28, 0x30
_IF_EQUAL, _IF_AT_LEAST, _IF_SET, _RETURN = 0x15, 0x35, 0x45, 0x06
_ABOUT: Final = 0xFFFFF000  # SKF_AD_OFF: what is known of a packet beside its bytes
_MARK, _HAS_VLAN_TAG = _ABOUT + 20, _ABOUT + 48
_PASS: Final = 0xFFFFFFFF  # TC_ACT_UNSPEC: as far as this program is concerned
_DROP: Final = 2  # TC_ACT_SHOT
_IPV4, _ARP = 0x0800, 0x0806
_SHORTEST_BYTES: Final = 34  # a load behind the end would end the program, and let the packet through

ALLOWED_MARK: Final = 0x10000000
"""The bit by which the firewall rules show the bridge's guard that they have let a packet through."""

_Step = tuple[int, int, str, str]  # what, with which number, whereto if so, whereto if not ("": the next one)


def of_container(address: str, mac: str) -> bytes:
    """Of what a container sends: IPv4 and ARP that name its own addresses as the sender, and nothing to 127.0.0.0/8.

    So there is no IPv6, no router advertisement, no VLAN and no spanning tree either. An ARP probe has no address yet.
    """
    own = int.from_bytes(bytes(map(int, address.split("."))), "big")
    hardware = bytes.fromhex(mac.replace(":", ""))
    high, low = int.from_bytes(hardware[:4], "big"), int.from_bytes(hardware[4:], "big")
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
        (_IF_EQUAL, _ARP, "arp", ""),
        (_IF_EQUAL, _IPV4, "", "drop"),
        (_LOAD_WORD, 26, "", ""),  # the sender's address
        (_IF_EQUAL, own, "", "drop"),
        (_LOAD_BYTE, 30, "", ""),  # the first number of the receiver's
        (_IF_EQUAL, 127, "drop", "pass"),
    ], arp=[
        (_LOAD_WORD, 22, "", ""),  # what it says of the sender: MAC
        (_IF_EQUAL, high, "", "drop"),
        (_LOAD_HALF, 26, "", ""),
        (_IF_EQUAL, low, "", "drop"),
        (_LOAD_WORD, 28, "", ""),  # and address
        (_IF_EQUAL, own, "pass", ""),
        (_IF_EQUAL, 0, "pass", "drop"),
    ])  # fmt: skip


def of_bridge() -> bytes:
    """Of what the host sends, or forwards, to containers: ARP, and IPv4 that the firewall rules have let through."""
    return _assembled([
        (_LOAD_HALF, 12, "", ""),
        (_IF_EQUAL, _ARP, "pass", ""),
        (_IF_EQUAL, _IPV4, "", "drop"),
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
        return places[label] - at - 1 if label else 0

    return b"".join(
        _INSTRUCTION.pack(what, jump(at, if_so), jump(at, if_not), number)
        for at, (what, number, if_so, if_not) in enumerate(program)
    )

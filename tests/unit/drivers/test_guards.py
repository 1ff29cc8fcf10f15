"""The guards of links: a small machine for classic BPF runs them on frames, good and bad."""

from __future__ import annotations

import socket
import struct

import pytest
from msgspec.structs import replace

from bento.drivers.network import guards
from bento.model.network import Connection

PASS, DROP = 0xFFFFFFFF, 2
FOUR = Connection(bridge="bento0", address="10.176.0.2", prefix=20, gateway="10.176.0.1", mac="02:be:0a:b0:00:02")
BOTH = replace(FOUR, address6="fd00:7::2", prefix6=62, gateway6="fd00:7::1")
OWN, HARDWARE = bytes([10, 176, 0, 2]), bytes.fromhex("02be0ab00002")
ABOUT = 0xFFFFF000


def run(program: bytes, frame: bytes, *, mark: int = 0, has_tag: bool = False) -> int:
    """What the kernel makes of it (bpf(4)): a load from behind the end ends the program with 0, which lets through."""
    steps = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    about = {ABOUT + 20: mark, ABOUT + 48: int(has_tag)}
    while True:
        what, if_so, if_not, number = steps[at]
        at += 1
        if what == 0x06:
            return number
        if what == 0x80:
            value = len(frame)
        elif what in (0x20, 0x28, 0x30):
            size = {0x20: 4, 0x28: 2, 0x30: 1}[what]
            if number not in about and number + size > len(frame):
                return 0
            value = about.get(number, int.from_bytes(frame[number : number + size], "big"))
        elif what == 0x54:
            value &= number
        else:
            is_so = {0x15: value == number, 0x35: value >= number, 0x45: bool(value & number)}[what]
            at += if_so if is_so else if_not


def ipv4(source: bytes = OWN, target: bytes = bytes([10, 176, 0, 1]), sender: bytes = HARDWARE) -> bytes:
    return b"\xff" * 6 + sender + b"\x08\0" + bytes([0x45]) + bytes(11) + source + target


def arp(hardware: bytes = HARDWARE, address: bytes = OWN, sender: bytes = HARDWARE) -> bytes:
    return b"\xff" * 6 + sender + b"\x08\x06" + b"\0\1\x08\0\6\4\0\1" + hardware + address + bytes(10)


def ipv6(
    source: str = "fd00:7::2",
    target: str = "fd00:7::1",
    kind: int = 6,
    body: bytes = bytes(20),
    sender: bytes = HARDWARE,
) -> bytes:
    ends = b"".join(socket.inet_pton(socket.AF_INET6, one) for one in (source, target))
    return b"\x33" * 6 + sender + b"\x86\xdd" + b"\x60\0\0\0\0\0" + bytes([kind, 255]) + ends + body


def icmpv6(kind: int, about: str = "fd00:7::2", source: str = "fd00:7::2", target: str = "fd00:7::1") -> bytes:
    body = bytes([kind, 0, 0, 0, 0, 0, 0, 0]) + socket.inet_pton(socket.AF_INET6, about)
    return ipv6(source, target, kind=58, body=body)


LINK_LOCAL = "fe80::be:aff:feb0:2"


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ipv6(), PASS),
        (ipv6(kind=17), PASS),
        (ipv6(kind=44), PASS),
        (ipv6(source=LINK_LOCAL), PASS),
        (ipv6(source="fe80::be:aff:feb0:3"), DROP),
        (ipv6(source="fd00:7::3"), DROP),
        (ipv6(source="fd00:8::2"), DROP),
        (ipv6(source="::"), DROP),
        (ipv6(source="::1"), DROP),
        (ipv6(sender=b"\2" * 6), DROP),
        (ipv6(target="2001:db8::1"), PASS),
        (ipv6(body=b"")[:53], DROP),
        *((ipv6(kind=kind), DROP) for kind in (0, 43, 51, 60, 135, 41)),  # headers that could hide what follows
        (icmpv6(128), PASS),
        (icmpv6(133), PASS),
        (icmpv6(134), DROP),
        (icmpv6(134, source=LINK_LOCAL, target="ff02::1"), DROP),
        (icmpv6(137), DROP),
        (icmpv6(135, "fd00:7::1"), PASS),
        (icmpv6(136), PASS),
        (icmpv6(136, LINK_LOCAL), PASS),
        (icmpv6(136, "fd00:7::1"), DROP),
        (icmpv6(136, "fe80::1"), DROP),
        (icmpv6(136)[:77], DROP),
        (icmpv6(128)[:57], DROP),
        (ipv4(), PASS),
        (arp(), PASS),
    ],
)  # fmt: skip
def test_a_container_with_ipv6_sends_as_itself_and_never_as_a_router(frame: bytes, expected: int) -> None:
    assert run(guards.of_container(BOTH), frame) == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ipv4(), PASS),
        (ipv4(target=bytes([10, 176, 15, 255])), PASS),
        (ipv4(target=bytes([10, 176, 16, 0])), DROP),
        (ipv4(target=bytes([192, 0, 2, 1])), DROP),
        (ipv4(target=bytes([127, 0, 0, 1])), DROP),
        (ipv4(target=b"\xff" * 4), DROP),
        (arp(), PASS),
        (ipv6(), PASS),
        (ipv6(target="fd00:7:0:3::9"), PASS),
        (ipv6(target="fd00:7:0:4::9"), DROP),
        (ipv6(target="2001:db8::1"), DROP),
        (ipv6(target="ff02::1:ff00:1"), PASS),
        (ipv6(target="fe80::1"), PASS),
        (icmpv6(128, target="2001:db8::1"), DROP),
        (icmpv6(136), PASS),
    ],
)
def test_on_an_internal_network_nothing_is_sent_beyond_its_subnets(frame: bytes, expected: int) -> None:
    assert run(guards.of_container(replace(BOTH, internal=True)), frame) == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ipv4(), PASS),
        (ipv4(target=bytes([192, 0, 2, 1])), PASS),
        (ipv4(target=bytes([126, 255, 255, 255])), PASS),
        (ipv4(target=bytes([127, 0, 0, 1])), DROP),
        (ipv4(source=bytes([127, 0, 0, 2])), DROP),
        (ipv4(source=bytes([10, 176, 0, 3])), DROP),
        (ipv4(source=bytes(4)), DROP),
        (ipv4(sender=b"\2" * 6), DROP),
        (ipv4(sender=HARDWARE[:5] + b"\3"), DROP),
        (ipv4()[:33], DROP),
        (ipv4()[:14], DROP),
        (arp(), PASS),
        (arp(address=bytes(4)), PASS),
        (arp(address=bytes([10, 176, 0, 1])), DROP),
        (arp(hardware=b"\2" * 6), DROP),
        (arp(sender=b"\2" * 6), DROP),
        (ipv4().replace(b"\x08\0", b"\x86\xdd", 1), DROP),
        (ipv4().replace(b"\x08\0", b"\x81\0", 1), DROP),
        (ipv4().replace(b"\x08\0", b"\0\x26", 1), DROP),
    ],
)  # fmt: skip
def test_a_container_sends_as_itself_alone(frame: bytes, expected: int) -> None:
    assert run(guards.of_container(FOUR), frame) == expected


def test_a_tag_that_the_kernel_has_taken_off_counts() -> None:
    assert run(guards.of_container(FOUR), ipv4(), has_tag=True) == DROP


@pytest.mark.parametrize(
    ("frame", "mark", "expected"),
    [
        (ipv4(), 0, DROP),
        (ipv4(), guards.ALLOWED_MARK, PASS),
        (ipv4(), guards.ALLOWED_MARK | 7, PASS),
        (ipv4(), ~guards.ALLOWED_MARK & 0xFFFFFFFF, DROP),
        (arp(), 0, PASS),
        (ipv4().replace(b"\x08\0", b"\0\x26", 1), guards.ALLOWED_MARK, DROP),
        (ipv6(), 0, DROP),
        (ipv6(), guards.ALLOWED_MARK, PASS),
        (icmpv6(135), 0, PASS),
        (icmpv6(136), 0, PASS),
        (icmpv6(135).replace(b"\x3a\xff", b"\x3a\xfe", 1), 0, DROP),  # forwarded
        (icmpv6(136).replace(b"\x3a\xff", b"\x3a\xfe", 1), 0, DROP),
        (icmpv6(136).replace(b"\x3a\xff", b"\x3a\xfe", 1), guards.ALLOWED_MARK, PASS),
        (icmpv6(134), 0, DROP),
        (icmpv6(128), 0, DROP),
        (ipv6(kind=58, body=b""), 0, DROP),
    ],
)
def test_to_containers_goes_what_the_firewall_has_let_through(frame: bytes, mark: int, expected: int) -> None:
    assert run(guards.of_bridge(), frame, mark=mark) == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ipv4(), DROP),
        (ipv4(source=bytes(4)), DROP),
        (arp(), DROP),
        (arp(address=bytes(4)), DROP),
        (ipv6(), PASS),
        (ipv6(source="fd00:7::3"), DROP),
    ],
)
def test_a_container_without_ipv4_sends_none_of_it(frame: bytes, expected: int) -> None:
    alone = replace(BOTH, address="", prefix=0, gateway="")
    for each in (alone, replace(alone, internal=True)):
        assert run(guards.of_container(each), frame) == expected

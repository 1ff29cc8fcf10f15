"""The guards of links: a small machine for classic BPF runs them on frames, good and bad."""

from __future__ import annotations

import struct

import pytest

from bento.drivers.network import guards

PASS, DROP = 0xFFFFFFFF, 2
ADDRESS, MAC = "10.176.0.2", "02:be:0a:b0:00:02"
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
        else:
            is_so = {0x15: value == number, 0x35: value >= number, 0x45: bool(value & number)}[what]
            at += if_so if is_so else if_not


def ipv4(source: bytes = OWN, target: bytes = bytes([10, 176, 0, 1]), sender: bytes = HARDWARE) -> bytes:
    return b"\xff" * 6 + sender + b"\x08\0" + bytes([0x45]) + bytes(11) + source + target


def arp(hardware: bytes = HARDWARE, address: bytes = OWN, sender: bytes = HARDWARE) -> bytes:
    return b"\xff" * 6 + sender + b"\x08\x06" + b"\0\1\x08\0\6\4\0\1" + hardware + address + bytes(10)


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
    assert run(guards.of_container(ADDRESS, MAC), frame) == expected


def test_a_tag_that_the_kernel_has_taken_off_counts() -> None:
    assert run(guards.of_container(ADDRESS, MAC), ipv4(), has_tag=True) == DROP


@pytest.mark.parametrize(
    ("frame", "mark", "expected"),
    [
        (ipv4(), 0, DROP),
        (ipv4(), guards.ALLOWED_MARK, PASS),
        (ipv4(), guards.ALLOWED_MARK | 7, PASS),
        (ipv4(), ~guards.ALLOWED_MARK & 0xFFFFFFFF, DROP),
        (arp(), 0, PASS),
        (ipv4().replace(b"\x08\0", b"\x86\xdd", 1), guards.ALLOWED_MARK, DROP),
    ],
)
def test_to_containers_goes_what_the_firewall_has_let_through(frame: bytes, mark: int, expected: int) -> None:
    assert run(guards.of_bridge(), frame, mark=mark) == expected

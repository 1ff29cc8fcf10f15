"""``--network`` and what goes with it, and the subnets of a new network: what is meant, chosen and refused."""

from __future__ import annotations

from typing import Any

import pytest

from bento.drivers.network.surroundings import parse_routes6
from bento.engine.resources import addressing
from bento.errors import BentoError, Conflict, UsageError
from bento.model.network import Attachment, NetworkOptions, Subnet
from bento.parse.networks import parse_networks, parse_subnets

ID = "0123456789abcdef" * 4


def attached(name: str, **asked: Any) -> Attachment:
    return Attachment(network=name, **asked)


@pytest.mark.parametrize(
    ("words", "rest", "first", "attachments"),
    [
        ([], {}, "", ()),
        (["none"], {}, "none", ()),
        (["host"], {}, "host", ()),
        (["container:web"], {}, "container:web", ()),
        (["bridge"], {}, "bridge", (attached("bridge"),)),
        (["default"], {}, "bridge", (attached("bridge"),)),
        (["a", "b:ip=10.1.0.7"], {}, "a", (attached("a"), attached("b", ipv4="10.1.0.7"))),
        (
            ["a:ip=10.1.0.7,ip6=FD00::0:7,mac=02-42-AC-11-00-02,alias=x,alias=y_1"],
            {},
            "a",
            (attached("a", ipv4="10.1.0.7", ipv6="fd00::7", mac="02:42:ac:11:00:02", aliases=("x", "y_1")),),
        ),
        (
            ["name=a,alias=x,ip=10.1.0.7,mac-address=02:42:ac:11:00:02"],
            {},
            "a",
            (attached("a", ipv4="10.1.0.7", mac="02:42:ac:11:00:02", aliases=("x",)),),
        ),
        (["alias=x,name=a"], {}, "a", (attached("a", aliases=("x",)),)),
        (
            ["a:alias=x"],
            {"aliases": ["y", "x"], "ipv4": "10.1.0.7"},
            "a",
            (attached("a", ipv4="10.1.0.7", aliases=("x", "y")),),
        ),
        ([], {"mac": "02:42:ac:11:00:02"}, "bridge", (attached("bridge", mac="02:42:ac:11:00:02"),)),
        (["a"], {"ipv6": "fd00:0::7"}, "a", (attached("a", ipv6="fd00::7"),)),
    ],
    ids=str,
)
def test_what_networks_are_meant(
    words: list[str], rest: dict[str, Any], first: str, attachments: tuple[Attachment, ...]
) -> None:
    assert parse_networks(words, **rest) == (first, attachments)


@pytest.mark.parametrize(
    ("words", "rest", "said"),
    [
        ([""], {}, "bad network ''"),
        (["a:"], {}, "bad network 'a:'"),
        ([":ip=10.1.0.7"], {}, "bad network"),
        (["container:"], {}, "bad network 'container:'"),
        (["a:ip"], {}, "bad network"),
        (["a:ip="], {}, "bad network"),
        (["a:driver-opt=x"], {}, "use NAME"),
        (["name=a,name=b"], {}, "bad network"),
        (["ip=10.1.0.7"], {}, "bad network"),
        (["a:ip=fd00::7"], {}, "bad address 'fd00::7' of ip="),
        (["a:ip=10.1.0.256"], {}, "bad address"),
        (["a:ip6=10.1.0.7"], {}, "bad address '10.1.0.7' of ip6="),
        (["a:mac=01:42:ac:11:00:02"], {}, "bad MAC address"),
        (["a:mac=02:42"], {}, "bad MAC address"),
        (["a:alias=x y"], {}, "bad alias 'x y'"),
        (["a", "a"], {}, "network a is given twice"),
        (["bridge", "default"], {}, "network bridge is given twice"),
        (["none", "a"], {}, "--network none goes with no other"),
        (["a", "container:b"], {}, "--network container:b goes with no other"),
        (["host:ip=10.1.0.7"], {}, "--network host takes no address"),
        (["host"], {"ipv4": "10.1.0.7"}, "--network host takes no address"),
        (["container:a"], {"mac": "02:42:ac:11:00:02"}, "takes no address"),
        (["a", "b"], {"ipv4": "10.1.0.7"}, "there are several"),
        (["a:ip=10.1.0.7"], {"ipv4": "10.1.0.8"}, "given twice"),
        ([], {"ipv4": "x"}, "bad address 'x' of --ip"),
        ([], {"aliases": [""]}, "bad alias ''"),
    ],
    ids=str,
)
def test_what_networks_are_refused(words: list[str], rest: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_networks(words, **rest)
    assert said in str(caught.value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def settle(*subnets: Subnet, taken: Any = (), seed: int = 0, has_ipv6: bool = True, ipv6: bool = False) -> list[str]:
    options = NetworkOptions(name="n", subnets=subnets, ipv6=ipv6)
    found = addressing.settle(options, ID, seed=seed, taken=taken, has_ipv6=has_ipv6)
    return [" ".join(filter(None, (one.subnet, one.gateway, one.ip_range))) for one in found]


def asked(subnet: str, gateway: str = "", ip_range: str = "") -> Subnet:
    return Subnet(subnet=subnet, gateway=gateway, ip_range=ip_range)


def test_subnets_that_were_given_are_kept_and_others_chosen() -> None:
    assert settle() == ["10.192.0.0/22 10.192.0.1"]
    assert settle(seed=3) == ["10.192.12.0/22 10.192.12.1"]
    assert settle(seed=4095) == ["10.255.252.0/22 10.255.252.1"]
    assert settle(asked("10.1.0.0/24")) == ["10.1.0.0/24 10.1.0.1"]
    assert settle(asked("10.1.0.0/24", "10.1.0.254", "10.1.0.128/25")) == ["10.1.0.0/24 10.1.0.254 10.1.0.128/25"]
    assert settle(ipv6=True)[1] == "fd01:2345:6789:abcd::/64 fd01:2345:6789:abcd::1"
    assert settle(asked("FD00:0::/64")) == ["10.192.0.0/22 10.192.0.1", "fd00::/64 fd00::1"]
    assert settle(asked("fd00::/64"), asked("10.1.0.0/30"), ipv6=True) == ["10.1.0.0/30 10.1.0.1", "fd00::/64 fd00::1"]


def test_a_chosen_subnet_is_free() -> None:
    taken = [("eth0", "10.192.0.0/20"), ("tun0", "10.192.20.7/32"), ("eth0", "fd01:2345:6789:abcd::/64"), ("x", "bad")]
    assert settle(taken=taken, ipv6=True) == [
        "10.192.16.0/22 10.192.16.1", "fd12:3456:789a:bcde::/64 fd12:3456:789a:bcde::1",
    ]  # fmt: skip
    assert settle(taken=[("vpn0", "10.0.0.0/8")], seed=4096) == ["172.16.0.0/22 172.16.0.1"]
    with pytest.raises(Conflict, match="no subnet is free"):
        settle(taken=[("vpn0", "10.0.0.0/8"), ("vpn0", "172.0.0.0/8")])


@pytest.mark.parametrize(
    ("subnets", "said"),
    [
        ([asked("")], "bad subnet ''"),
        ([asked("10.1.0.0")], "bad subnet '10.1.0.0'"),
        ([asked("10.1.0.0/33")], "bad subnet"),
        ([asked("10.1.0.0/255.255.255.0")], "bad subnet"),
        ([asked("fe80::%eth0/64")], "bad subnet"),
        ([asked("10.1.0.5/24")], "bad subnet 10.1.0.5/24: it should be 10.1.0.0/24"),
        ([asked("10.1.0.0/31")], "the prefix is not of 8 to 30"),
        ([asked("0.0.0.0/0")], "the prefix is not of"),
        ([asked("fd00::/127")], "the prefix is not of 16 to 126"),
        ([asked("127.0.0.0/8")], "a meaning of their own"),
        ([asked("224.0.0.0/8")], "a meaning of their own"),
        ([asked("0.0.0.0/8")], "a meaning of their own"),
        ([asked("fe80::/64")], "a meaning of their own"),
        ([asked("10.1.0.0/24", "10.2.0.1")], "gateway 10.2.0.1 is not in subnet 10.1.0.0/24"),
        ([asked("10.1.0.0/24", "fd00::1")], "is not in subnet"),
        ([asked("10.1.0.0/24", "10.1.0.0")], "is the first or the last address"),
        ([asked("10.1.0.0/24", "10.1.0.255")], "is the first or the last address"),
        ([asked("fd00::/64", "fd00::")], "is the first or the last address"),
        ([asked("10.1.0.0/24", "x")], "bad gateway 'x'"),
        ([asked("10.1.0.0/24", "", "10.1.0.7")], "bad IP range '10.1.0.7'"),
        ([asked("10.1.0.0/24", "", "10.1.1.0/25")], "is not in subnet"),
        ([asked("10.1.0.0/24", "", "10.1.0.0/16")], "is not in subnet"),
        ([asked("10.1.0.0/24", "", "fd00::/80")], "is not in subnet"),
        ([asked("10.1.0.0/24", "", "10.1.0.0/31")], "no address of IP range"),
        ([asked("10.1.0.0/24"), asked("10.2.0.0/24")], "two IPv4 subnets: 10.1.0.0/24 and 10.2.0.0/24"),
        ([asked("192.0.2.0/25")], "subnet 192.0.2.0/25 overlaps with link eth0 (192.0.2.0/24)"),
        ([asked("fd77::/32")], "overlaps with network other (fd77::/64)"),
    ],
    ids=str,
)
def test_what_subnets_are_refused(subnets: list[Subnet], said: str) -> None:
    with pytest.raises(BentoError) as caught:
        settle(*subnets, taken=[("link eth0", "192.0.2.0/24"), ("network other", "fd77::/64")])
    assert said in str(caught.value)
    assert caught.value.hint


def test_ipv6_needs_a_kernel_that_has_it() -> None:
    for subnets, ipv6 in (((), True), ((asked("fd00::/64"),), False)):
        with pytest.raises(UsageError, match="this kernel has no IPv6"):
            settle(*subnets, ipv6=ipv6, has_ipv6=False)
    assert settle(has_ipv6=False) == ["10.192.0.0/22 10.192.0.1"]


def test_what_address_a_container_can_have() -> None:
    subnet = asked("10.1.0.0/24", "10.1.0.1")
    addressing.check_address("10.1.0.7", 4, subnet, "n")
    addressing.check_address("fd00::ffff:ffff:ffff:ffff", 6, asked("fd00::/64", "fd00::1"), "n")
    for text, version, of, said in (
        ("10.1.0.7", 6, subnet, "is no IPv6 address"),
        ("fd00::7", 6, None, "network n has no IPv6 subnet"),
        ("10.2.0.7", 4, subnet, "is not in the subnet of network n"),
        ("10.1.0.0", 4, subnet, "no container can have 10.1.0.0"),
        ("10.1.0.255", 4, subnet, "no container can have"),
        ("10.1.0.1", 4, subnet, "no container can have"),
        ("x", 4, subnet, "bad address 'x'"),
    ):
        with pytest.raises(UsageError, match=said):
            addressing.check_address(text, version, of, "n")


def test_gateways_and_ranges_belong_to_the_subnet_of_their_family() -> None:
    assert parse_subnets(["10.1.0.0/24", "fd00::/64"], ["fd00::5", "10.1.0.9"], ["10.1.0.128/25"]) == (
        asked("10.1.0.0/24", "10.1.0.9", "10.1.0.128/25"), asked("fd00::/64", "fd00::5"),
    )  # fmt: skip
    for words, said in (
        (([], ["10.1.0.1"], []), "--gateway 10.1.0.1 has no subnet"),
        ((["10.1.0.0/24"], [], ["fd00::/80"]), "--ip-range fd00::/80 has no subnet"),
        ((["10.1.0.0/24"], ["10.1.0.1", "10.1.0.2"], []), "--gateway is given twice"),
        ((["10.1.0.0/24", "10.2.0.0/24"], [], []), "two IPv4 subnets"),
    ):
        with pytest.raises(UsageError, match=said):
            parse_subnets(*words)


def test_the_ipv6_routes_of_a_host() -> None:
    zeros = "0" * 32
    lines = [
        (f"fd77{'0' * 28}", "40", "00000001", "eth0"),
        (zeros, "00", "00000003", "eth0"),  # the default route
        (f"fe80{'0' * 28}", "40", "00000001", "eth0"),
        (f"ff{'0' * 30}", "08", "00000001", "eth0"),
        (f"{'0' * 31}1", "80", "80200001", "lo"),
        (f"fd78{'0' * 28}", "40", "00200200", "lo"),  # unreachable
    ]
    text = "".join(f"{to} {prefix} {zeros} 00 {zeros} 00000100 00000001 00000000 {flags} {link}\n"
                   for to, prefix, flags, link in lines)  # fmt: skip
    assert parse_routes6(text) == [("eth0", "fd77::/64")]

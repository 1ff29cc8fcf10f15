"""``--network`` and what goes with it, and the subnets of a new network: what is meant and refused."""

from __future__ import annotations

from typing import Any

import pytest

from bento.docker.words import ports_text
from bento.errors import UsageError
from bento.model.container import Container, ContainerSpec, Ports, Run, Status
from bento.model.network import Attachment, Connection, Port, Subnet
from bento.parse.networks import parse_networks, parse_subnets


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


def asked(subnet: str, gateway: str = "", ip_range: str = "") -> Subnet:
    return Subnet(subnet=subnet, gateway=gateway, ip_range=ip_range)


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


def shown(*ports: Port, exposed: tuple[str, ...] = (), status: Status = Status.RUNNING) -> str:
    one = Connection(
        bridge="b", address="10.1.0.2", prefix=24, gateway="10.1.0.1", mac="02:42:ac:11:00:02", routed=(6,), ports=ports
    )
    spec = ContainerSpec(image="a", image_id="", layers=(), ports=Ports(exposed=exposed))
    record = Container(
        id="1" * 64,
        name="a",
        created_unix_ns=1,
        spec=spec,
        status=status,
        run=Run(number=1, runtime="", connections=(one,)),
    )
    return ports_text(record)


def test_ports_that_follow_one_another_are_shown_as_one_range_and_each_once() -> None:
    kept = [Port(container_port=n, host_port=n, host_ip=ip) for n in (9, 10, 11, 20) for ip in ("0.0.0.0", "1.2.3.4")]
    moved = Port(container_port=80, host_port=8080, host_ip="::1")
    text = "0.0.0.0:9-11->9-11/tcp, 1.2.3.4:9-11->9-11/tcp, 0.0.0.0:20->20/tcp, 1.2.3.4:20->20/tcp, [::1]:8080->80/tcp"
    assert shown(moved, *kept) == text
    opened = [
        Port(container_port=80, host_port=80, host_ip="::"),
        Port(container_port=80, host_port=8080, host_ip="::"),
    ]
    assert shown(*opened, exposed=("80/tcp", "7001/udp", "7000/udp", "7001/tcp")) == "80/tcp, 7000-7001/udp, 7001/tcp"
    assert shown(moved, exposed=("90/tcp",), status=Status.STOPPED) == ""

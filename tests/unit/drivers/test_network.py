"""Networks without root: what may be asked for, which addresses are free, and the words for ip and nft."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento.drivers.network import choosing, places, rules, subnets
from bento.drivers.network.bridge import BridgeNetwork
from bento.drivers.network.names import keep_seed, seed_of
from bento.drivers.network.subnets import Route
from bento.errors import Conflict, MissingTool, PortTaken, UsageError
from bento.kernel.net import ports as host_ports
from bento.kernel.net.nftables import INET, IPV6, Element
from bento.model.network import Attachment, Connection, Network, Port, Subnet

NETWORK = BridgeNetwork(Path("/nonexistent"), is_default=True)
CONNECTION = Connection(
    bridge="bento0", address="10.176.0.2", prefix=20, gateway="10.176.0.1", mac="02:be:0a:b0:00:02",
    ports=(
        Port(container_port=80, host_port=8080),
        Port(container_port=53, host_port=53, host_ip="127.0.0.1", protocol="udp"),
    ),
)  # fmt: skip


def route(link: str, subnet: str) -> Route:
    return Route(link, subnets.parse(subnet))


# -- what may be asked for ---------------------------------------------------------------------------


def test_none_is_a_namespace_of_its_own_and_the_hosts_and_anothers_are_not() -> None:
    for mode in ("none", "bridge", "web"):
        assert NETWORK.namespaces(mode) == [{"type": "network"}]
    assert NETWORK.namespaces("host") == NETWORK.namespaces(f"container:{'a' * 64}") == []


def test_on_the_default_network_there_are_names_where_that_was_said() -> None:
    assert [NETWORK.default().names, BridgeNetwork(Path("/"), is_default=False, has_names=True).default().names] == [
        False,
        True,
    ]


@pytest.mark.parametrize("network", ["none", "host"])
def test_ports_are_a_bridges(network: str) -> None:
    NETWORK.check(network, ())
    with pytest.raises(UsageError, match=f"--network {network}"):
        NETWORK.check(network, (Port(container_port=80),))


@pytest.mark.parametrize(("there", "package"), [("nft", "iproute2"), ("ip", "nftables")])
def test_a_missing_tool_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, package: str
) -> None:
    (tmp_path / there).write_text("#!/bin/sh\n")
    (tmp_path / there).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("bento.command._EXTRA_DIRECTORIES", ())
    for network in ("bridge", "web"):
        with pytest.raises(MissingTool, match=package):
            NETWORK.check(network, ())


# -- names -------------------------------------------------------------------------------------------


def test_engines_with_other_roots_have_other_names_that_fit() -> None:
    names, other = NETWORK.names, BridgeNetwork(Path("/somewhere"), is_default=False).names
    assert names.bridge == "bento0"
    assert len({names.links, other.links}) == len({names.table, other.table}) == 2
    assert names.group != other.group
    assert 0 not in (names.group, other.group)  # the group of all links that were given none
    longest = (other.bridge, other.bridge_of("f" * 64), other.link("f" * 64, "eth35"))
    assert all(len(one) <= 15 for one in longest)  # IFNAMSIZ
    assert [other.is_link(one) for one in longest] == [False, False, True]
    assert other.link("f" * 64, "eth35").startswith(other.links_of("f" * 64))


def test_a_root_that_was_moved_keeps_its_names_and_a_copy_has_others(tmp_path: Path) -> None:
    first, moved, copy = tmp_path / "first", tmp_path / "moved", tmp_path / "copy"
    first.mkdir()
    seed = seed_of(first, is_default=False)
    keep_seed(first, seed)
    keep_seed(first, seed)
    first.rename(moved)
    assert seed_of(moved, is_default=False) == seed
    shutil.copytree(moved, copy)
    assert seed_of(copy, is_default=False) not in (seed, 0)
    assert [path.name for path in moved.iterdir()] == ["network-key"]
    (moved / "network-key").write_text("damaged")
    assert seed_of(moved, is_default=True) == 0
    keep_seed(Path("/nonexistent"), 7)


# -- addresses ---------------------------------------------------------------------------------------


def test_routes_are_read_as_the_kernel_prints_them() -> None:
    def field(address: str) -> str:
        return f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}"

    lines = [
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
        f"eth0\t{field('0.0.0.0')}\t{field('192.0.2.1')}\t0003\t0\t0\t0\t{field('0.0.0.0')}\t0\t0\t0",
        f"eth0\t{field('192.0.2.0')}\t{field('0.0.0.0')}\t0001\t0\t0\t0\t{field('255.255.255.0')}\t0\t0\t0",
        "",
    ]
    assert subnets.parse_routes("\n".join(lines)) == [route("eth0", "192.0.2.0/24")]


def test_routes_of_ipv6_are_those_that_not_every_host_has() -> None:
    def line(destination: str, prefix: int, link: str, flags: int = 1) -> str:
        packed = socket.inet_pton(socket.AF_INET6, destination).hex()
        return f"{packed} {prefix:02x} {'0' * 32} 00 {'0' * 32} 00000100 00000001 00000000 {flags:08x} {link:>8}"

    lines = [
        line("fd00:1::", 64, "eth0"),
        line("fe80::", 64, "eth0"),
        line("::", 0, "eth0", 3),
        line("fd00:1::5", 128, "eth0", 0x80200001),
        line("fd00:1::", 128, "eth0", 0x80300001),
        line("ff00::", 8, "eth0"),
        line("::1", 128, "lo", 0x80200001),
    ]
    assert subnets.parse_routes6("\n".join(lines)) == [route("eth0", "fd00:1::/64")]


@pytest.mark.parametrize(
    ("others", "seed", "found"),
    [
        ([], 0, "10.176.0.0/20"),
        ([], 255, "10.191.240.0/20"),
        ([], 256, "10.176.0.0/20"),
        (["10.176.15.0/24"], 0, "10.176.16.0/20"),
        (["10.176.0.0/14", "fd00::/8"], 0, "10.180.0.0/20"),
        (["10.191.240.0/20"], 255, "10.176.0.0/20"),
        (["10.0.0.0/8"], 7, "None"),
    ],
)
def test_a_subnet_is_one_that_no_route_overlaps(others: list[str], seed: int, found: str) -> None:
    taken = [subnets.parse(one) for one in others]
    assert str(subnets.free_subnet(subnets.DEFAULT_POOL, subnets.DEFAULT_PREFIX, seed, taken)) == found


@pytest.mark.parametrize("subnet", ["127.0.0.0/8", "224.0.0.0/24", "fe80::/64", "ff02::/64", "::/96", "::ffff:0:0/96"])
def test_what_the_kernel_sends_nowhere_is_no_subnet_of_a_network(subnet: str) -> None:
    asked = Network(id="f" * 64, name="x", created_unix_ns=0, bridge="x0", subnets=(Subnet(subnet=subnet, gateway=""),))
    with pytest.raises(UsageError, match="cannot be that of network x"):
        choosing.plan(asked, (), (), ipv4=True, ipv6=False)


def test_a_bridge_that_is_there_keeps_its_subnet() -> None:
    routes = [route("eth0", "192.0.2.0/24"), route("bento0", "10.177.0.0/20")]
    assert subnets.subnet_of("bento0", routes) == subnets.parse("10.177.0.0/20")
    assert subnets.subnet_of("bento1", routes) is None
    assert str(subnets.around("10.177.0.1", 20)) == "10.177.0.0/20"


def test_every_address_that_can_be_had_is_given_out_once() -> None:
    block, taken = subnets.parse("10.176.0.0/20"), {"10.176.0.1"}
    for seed in range(4093):
        address = subnets.free_address(block, None, seed * 7919, taken.__contains__)
        assert address is not None
        taken.add(address)
    assert len(taken) == 4094
    assert not taken & {"10.176.0.0", "10.176.15.255"}
    assert subnets.free_address(block, None, 0, taken.__contains__) is None


@pytest.mark.parametrize(
    ("subnet", "within", "seed", "found"),
    [
        ("10.1.0.0/24", "10.1.0.128/25", 0, "10.1.0.128"),
        ("10.1.0.0/24", "10.1.0.128/25", 126, "10.1.0.254"),
        ("10.1.0.0/24", "10.1.0.128/25", 127, "10.1.0.128"),
        ("10.1.0.0/30", "", 1, "10.1.0.2"),
        ("fd00::/64", "", 6, "fd00::7"),
        ("fd00::/64", "fd00::100/120", 1, "fd00::101"),
        ("fd00::/126", "", 2, "fd00::3"),
    ],
)
def test_addresses_come_from_the_range(subnet: str, within: str, seed: int, found: str) -> None:
    part = subnets.parse(within) if within else None
    assert subnets.free_address(subnets.parse(subnet), part, seed, lambda _: False) == found


def test_nothing_is_free_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bento.drivers.network.routes.of_host", lambda: [route("x", "10.0.0.0/8")])
    with pytest.raises(Conflict, match="no address is free"):
        NETWORK.choose(NETWORK.default(), "0" * 64, (), Attachment(network="bridge"))


# -- words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [INET, IPV6])
def test_a_table_forwards_for_nothing_else_when_bento_made_a_router(family: int) -> None:
    for is_router in (False, True):
        text = rules.table("t", family, is_router=is_router)
        assert [chain in rules.counts(is_router=is_router) for chain in ("strangers", "strangers_out")] == [
            is_router
        ] * 2
        assert (" ip " in text) is (family == INET)
        assert (" ip6 " in text) is (family == IPV6)
        counted = rules.counts(is_router=is_router)
        assert sum(counted.values()) == len([line for line in text.splitlines() if line.startswith("    ")]) - 11


def test_a_port_that_drains_is_refused_in_its_own_family_alone() -> None:
    """A table of the family inet sees both: ::1 has a process, and another address of IPv6 may be another program's."""
    refused = [
        next(line.strip() for line in rules.table("t", family, is_router=False).splitlines() if "@closed goto" in line)
        for family in rules.FAMILIES
    ]
    assert refused == [
        "meta nfproto ipv4 fib daddr type local meta l4proto . th dport @closed goto refuse",
        "ip6 daddr != ::1 fib daddr type local meta l4proto . th dport @closed goto refuse",
    ]


def test_a_network_is_an_element_for_each_family() -> None:
    place = places.place_of(replace(CONNECTION, address6="fd00::2", prefix6=64, gateway6="fd00::1"))
    assert rules.settled("t", place.homes).splitlines() == [
        'add element inet t homes { "bento0" . 10.176.0.0/20 }',
        "add element inet t inside { 10.176.0.0/20 }",
        "add element inet t outward { 10.176.0.0/20 }",
        'add element ip6 t homes { "bento0" . fd00::/64 }',
        "add element ip6 t inside { fd00::/64 }",
        "add element ip6 t outward { fd00::/64 }",
    ]
    internal = places.place_of(replace(CONNECTION, internal=True))
    assert "outward" not in rules.settled("t", internal.homes)
    assert rules.unsettled("t", place.homes[:1]).splitlines()[:2] == [
        'add element inet t homes { "bento0" . 10.176.0.0/20 }',
        'delete element inet t homes { "bento0" . 10.176.0.0/20 }',
    ]


def test_each_published_port_is_an_element() -> None:
    own = socket.inet_aton("10.176.0.2")
    assert rules.elements("abc", CONNECTION) == [
        Element("published", b"\x06\0\0\0\x1f\x90\0\0", own + b"\0\x50\0\0", "abc"),
        Element("published_at", b"\x7f\0\0\1\x11\0\0\0\0\x35\0\0", own + b"\0\x35\0\0", "abc"),
    ]


def test_ports_of_a_container_with_ipv6_are_elements_in_both_tables() -> None:
    own6, port6 = socket.inet_pton(socket.AF_INET6, "fd00::2"), Port(container_port=80, host_port=8080, host_ip="::")
    both = replace(CONNECTION, address6="fd00::2", prefix6=64, gateway6="fd00::1", ports=(CONNECTION.ports[0], port6))
    assert rules.elements("abc", both)[1:] == [
        Element("published", b"\x06\0\0\0\x1f\x90\0\0", own6 + b"\0\x50\0\0", "abc", IPV6),
    ]
    assert rules.elements("abc", replace(both, ports=())) == []


@pytest.mark.parametrize(
    ("host_ip", "expected"),
    [("", True), ("0.0.0.0", True), ("127.0.0.1", True), ("127.9.9.9", True), ("192.0.2.1", False)],
)
def test_what_is_published_on_loopback_is_known(host_ip: str, expected: bool) -> None:
    connection = replace(CONNECTION, ports=(Port(container_port=80, host_port=80, host_ip=host_ip),))
    found = rules.elements("abc", connection)
    assert rules.reaches_loopback(found) is expected
    closed = [replace(one, set_name=one.set_name.replace("published", "closed")) for one in found]
    assert rules.reaches_loopback(closed) is expected  # connections under way still come from there


def test_a_port_that_is_drained_is_refused_and_not_forwarded() -> None:
    assert rules.drained("t", "abc", (CONNECTION,)).splitlines() == [
        'add element inet t closed { tcp . 8080 comment "abc" }',
        "add element inet t published { tcp . 8080 : 10.176.0.2 . 80 }",
        "delete element inet t published { tcp . 8080 }",
        'add element inet t closed_at { 127.0.0.1 . udp . 53 comment "abc" }',
        "add element inet t published_at { 127.0.0.1 . udp . 53 : 10.176.0.2 . 53 }",
        "delete element inet t published_at { 127.0.0.1 . udp . 53 }",
    ]


def test_ports_of_ipv6_are_drained_in_its_table() -> None:
    port = Port(container_port=80, host_port=8080, host_ip="fd00:9::1")
    one = replace(CONNECTION, address6="fd00::2", prefix6=64, gateway6="fd00::1", ports=(port,))
    assert rules.drained("t", "abc", (one,)).splitlines() == [
        'add element ip6 t closed_at { fd00:9::1 . tcp . 8080 comment "abc" }',
        "add element ip6 t published_at { fd00:9::1 . tcp . 8080 : fd00::2 . 80 }",
        "delete element ip6 t published_at { fd00:9::1 . tcp . 8080 }",
    ]
    assert not rules.reaches_loopback(rules.elements("abc", one))
    assert rules.drained("t", "abc", (replace(one, address6="", gateway6=""),)).strip() == ""


def test_a_table_is_deleted_be_it_there_or_not() -> None:
    assert rules.gone("t", [INET, IPV6]).endswith("add table ip6 t\ndelete table ip6 t\n")
    assert rules.gone("t") == "add table inet t\ndelete table inet t\n"


# -- ports of the host -------------------------------------------------------------------------------


def test_a_port_stays_taken_while_anything_has_it_open() -> None:
    kept = NETWORK.reserve((Port(container_port=80, host_ip="127.0.0.1"),))
    port = kept.ports[0].host_port
    copy = os.dup(kept.fds[0])
    assert fcntl.fcntl(kept.fds[0], fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(kept.fds[0])
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port))
    with pytest.raises(ConnectionRefusedError):  # no process listens
        socket.create_connection(("127.0.0.1", port))
    os.close(copy)
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_the_process_that_has_a_port_is_named_and_what_was_taken_before_is_given_back(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            other.listen()
        protocol = "tcp" if kind is socket.SOCK_STREAM else "udp"
        wanted = Port(container_port=80, host_port=other.getsockname()[1], host_ip="127.0.0.1", protocol=protocol)
        before = os.listdir("/proc/self/fd")
        with pytest.raises(PortTaken, match=rf"taken by .* \({os.getpid()}\)"):
            NETWORK.reserve((Port(container_port=81), wanted))
        assert os.listdir("/proc/self/fd") == before


def test_a_port_with_connections_that_were_just_closed_can_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # first: the server's end is in TIME_WAIT
            assert client.recv(1) == b""
    fd, _ = host_ports.reserve("127.0.0.1", port, "tcp")
    os.close(fd)


def test_a_free_port_is_the_same_in_both_families() -> None:
    both = (Port(container_port=80), Port(container_port=80, host_ip="::"), Port(container_port=81, host_ip="::"))
    kept = NETWORK.reserve(both)
    try:
        first, second, third = (port.host_port for port in kept.ports)
        assert first == second != third
        with pytest.raises(PortTaken):
            NETWORK.reserve((Port(container_port=1, host_port=third, host_ip="::1"),))
        os.close(NETWORK.reserve((Port(container_port=1, host_port=third, host_ip="127.0.0.1"),)).fds[0])
    finally:
        for fd in kept.fds:
            os.close(fd)
    assert NETWORK.reserve((Port(container_port=80, host_port=132, protocol="sctp"),)).fds == ()


def test_many_ports_are_kept_by_one_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    kept = NETWORK.reserve([Port(container_port=1 + n, host_ip="127.0.0.1") for n in range(300)])
    assert len(kept.fds) == 1
    numbers = {port.host_port for port in kept.ports}
    assert len(numbers) == 300
    for number in sorted(numbers)[::60]:
        with pytest.raises(PortTaken):
            NETWORK.reserve([Port(container_port=1, host_port=number, host_ip="127.0.0.1")])
    with pytest.raises(PortTaken):
        NETWORK.reserve([Port(container_port=1 + n, host_port=number, host_ip="127.0.0.1") for n in range(300)])
    os.close(kept.fds[0])
    os.close(NETWORK.reserve([Port(container_port=1, host_port=number, host_ip="127.0.0.1")]).fds[0])
    assert os.listdir("/proc/self/fd") == before


def test_an_address_that_is_not_this_hosts_is_refused() -> None:
    with pytest.raises(UsageError, match="address of this host"):
        NETWORK.reserve((Port(container_port=80, host_ip="203.0.113.9"),))


def test_a_free_port_has_no_holder() -> None:
    assert host_ports.holder(1, "tcp") == ""


def test_what_is_opened_is_known_by_the_containers_own_address_and_refused_there_by_a_drain() -> None:
    asked = (Port(container_port=80), Port(container_port=80, host_port=81), Port(container_port=53, host_ip="::"))
    one = replace(CONNECTION, address6="fd00::2", gateway6="fd00::1", prefix6=64, routed=(4, 6), ports=asked)
    found = rules.elements("abc", one)
    assert [(each.set_name, each.data, each.family) for each in found] == [("opened", b"", INET), ("opened", b"", IPV6)]
    assert [rules.own_address(each) for each in found] == [subnets.packed(one.address), subnets.packed("fd00::2")]
    drained = rules.drained("t", "abc", [one])
    assert f'add element inet t refused {{ {one.address} . tcp . 80 comment "abc" }}' in drained
    assert 'add element ip6 t refused { fd00::2 . tcp . 53 comment "abc" }' in drained
    assert "published" not in drained
    assert rules.elements("abc", replace(one, routed=())) == rules.elements(
        "abc", replace(one, routed=(), ports=asked[1:2])
    )


# -- the end of many ---------------------------------------------------------------------------------


def test_one_look_at_all_links_serves_every_container_that_had_ended_before_it(monkeypatch):
    looks: list[float] = []

    def interfaces() -> list[str]:
        looks.append(time.monotonic())
        return ["lo"]

    monkeypatch.setattr(host_ports, "interfaces", interfaces)
    network = BridgeNetwork(Path("/nonexistent"), is_default=True)
    ended_s = time.monotonic()
    for digit in "abc":
        assert list(network.release(digit * 64, (), ended_mono_s=ended_s)) == []
    assert len(looks) == 1
    assert list(network.release("d" * 64, (), ended_mono_s=time.monotonic())) == []  # its link may not have been there
    assert len(looks) == 2
    assert list(network.release("e" * 64, ())) == []
    assert len(looks) == 3

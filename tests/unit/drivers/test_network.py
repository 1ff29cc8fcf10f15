"""Networks without root: what may be asked for, which addresses are free, and the words for ip and nft."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento.drivers.network import rules, subnets
from bento.drivers.network.bridge import BridgeNetwork
from bento.drivers.network.subnets import Route
from bento.errors import Conflict, MissingTool, PortTaken, UsageError
from bento.kernel.net import ports as host_ports
from bento.kernel.net.nftables import Element
from bento.model.network import Connection, Port

NETWORK = BridgeNetwork(Path("/nonexistent"), is_default=True)
CONNECTION = Connection(
    bridge="bento0", address="10.176.0.2", prefix=20, gateway="10.176.0.1", mac="02:be:0a:b0:00:02",
    ports=(
        Port(container_port=80, host_port=8080),
        Port(container_port=53, host_port=53, host_ip="127.0.0.1", protocol="udp"),
    ),
)  # fmt: skip


def number(text: str) -> int:
    return int.from_bytes(socket.inet_aton(text), "big")


def route(link: str, network: str, prefix: int) -> Route:
    return Route(link, number(network), -1 << (32 - prefix) & 0xFFFFFFFF)


# -- what may be asked for ---------------------------------------------------------------------------


def test_none_is_a_namespace_of_its_own_and_host_is_not() -> None:
    assert NETWORK.namespaces("none") == NETWORK.namespaces("bridge") == [{"type": "network"}]
    assert NETWORK.namespaces("host") == []


@pytest.mark.parametrize("network", ["", "nosuch", "None"])
def test_other_networks_are_refused(network: str) -> None:
    with pytest.raises(UsageError, match="none, bridge or host"):
        NETWORK.check(network, ())


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
    with pytest.raises(MissingTool, match=package):
        NETWORK.check("bridge", ())


# -- names -------------------------------------------------------------------------------------------


def test_engines_with_other_roots_have_other_names_that_fit() -> None:
    other = BridgeNetwork(Path("/somewhere"), is_default=False)
    assert NETWORK.bridge == "bento0"
    assert len({NETWORK._links, other._links}) == len({NETWORK._table, other._table}) == 2
    assert NETWORK._group != other._group
    assert 0 not in (NETWORK._group, other._group)  # the group of all links that were given none
    assert all(len(one) <= 15 for one in (other.bridge, other._link("f" * 64)))  # IFNAMSIZ


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
    assert subnets.parse_routes("\n".join(lines)) == [Route("eth0", number("192.0.2.0"), number("255.255.255.0"))]


@pytest.mark.parametrize(
    ("others", "seed", "found"),
    [
        ([], 0, "10.176.0.0"),
        ([], 255, "10.191.240.0"),
        ([], 256, "10.176.0.0"),
        ([route("x", "10.176.15.0", 24)], 0, "10.176.16.0"),
        ([route("x", "10.176.0.0", 14)], 0, "10.180.0.0"),
        ([route("x", "10.191.240.0", 20)], 255, "10.176.0.0"),
    ],
)
def test_a_subnet_is_one_that_no_route_overlaps(others: list[Route], seed: int, found: str) -> None:
    assert subnets.free_subnet(seed, others) == number(found)


def test_there_may_be_none() -> None:
    assert subnets.free_subnet(7, [route("x", "10.0.0.0", 8)]) is None


def test_a_bridge_that_is_there_keeps_its_subnet() -> None:
    routes = [route("eth0", "192.0.2.0", 24), route("bento0", "10.177.0.0", 20)]
    assert subnets.subnet_of("bento0", routes) == number("10.177.0.0")
    assert subnets.subnet_of("bento1", routes) is None
    assert subnets.around("10.177.0.1") == "10.177.0.0/20"


def test_every_address_but_three_is_given_out_once() -> None:
    base, taken = number("10.176.0.0"), set[str]()
    for seed in range(4093):
        address = subnets.free_address(base, seed * 7919, taken)
        assert address is not None
        taken.add(address)
    assert len(taken) == 4093
    assert not taken & {"10.176.0.0", "10.176.0.1", "10.176.15.255"}
    assert subnets.free_address(base, 0, taken) is None


def test_nothing_is_free_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bento.drivers.network.bridge._routes", lambda: [route("x", "10.0.0.0", 8)])
    with pytest.raises(Conflict, match="no address is free"):
        NETWORK.choose("0" * 64, (), ())


# -- words -------------------------------------------------------------------------------------------


def test_a_table_has_its_network_and_forwards_for_nothing_else_when_bento_made_a_router() -> None:
    for is_router in (False, True):
        text = rules.table("t", CONNECTION, is_router=is_router)
        assert 'add element inet t homes { "bento0" . 10.176.0.0/20 }' in text
        assert ('iifname != "bento*" oifname != "bento*" drop' in text) is is_router
        counted = rules.counts(is_router=is_router)
        assert sum(counted.values()) == len([line for line in text.splitlines() if line.startswith("    ")]) - 9
        assert "strangers" in counted or not is_router


def test_a_container_is_an_element_and_so_is_each_port() -> None:
    own = socket.inet_aton("10.176.0.2")
    assert rules.elements("abc", CONNECTION) == [
        Element("members", own, comment="abc"),
        Element("published", b"\x06\0\0\0\x1f\x90\0\0", own + b"\0\x50\0\0", "abc"),
        Element("published_at", b"\x7f\0\0\1\x11\0\0\0\0\x35\0\0", own + b"\0\x35\0\0", "abc"),
    ]


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
    assert rules.drained("t", "abc", CONNECTION).splitlines() == [
        'add element inet t closed { tcp . 8080 comment "abc" }',
        "add element inet t published { tcp . 8080 : 10.176.0.2 . 80 }",
        "delete element inet t published { tcp . 8080 }",
        'add element inet t closed_at { 127.0.0.1 . udp . 53 comment "abc" }',
        "add element inet t published_at { 127.0.0.1 . udp . 53 : 10.176.0.2 . 53 }",
        "delete element inet t published_at { 127.0.0.1 . udp . 53 }",
    ]


def test_a_table_is_deleted_be_it_there_or_not() -> None:
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


def test_an_address_that_is_not_this_hosts_is_refused() -> None:
    with pytest.raises(UsageError, match="address of this host"):
        NETWORK.reserve((Port(container_port=80, host_ip="203.0.113.9"),))


def test_a_free_port_has_no_holder() -> None:
    assert host_ports.holder(1, "tcp") == ""

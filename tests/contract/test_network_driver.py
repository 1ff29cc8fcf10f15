"""The bridge driver against the kernel, in a namespace that a test made: interrupted anywhere, it leaves nothing."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento.drivers.network.bridge import BridgeNetwork
from bento.errors import KernelError, RuntimeFailed
from bento.kernel.net import conntrack, links, nftables
from bento.kernel.net.netlink import NETFILTER, Netlink
from bento.kernel.net.nftables import Element
from bento.model.network import Attachment, Connection, Port

from support.breaking import Breaker, Interrupted
from support.netns import Netns

ID, OTHER = "a1" * 32, "b2" * 32
PORTS = (Port(container_port=80, host_port=80), Port(container_port=53, host_port=53, protocol="udp"))


@pytest.fixture
def host() -> Iterator[Netns]:
    made = Netns()
    made.setting("ipv4/ip_forward", "0")
    yield made
    made.close()


@pytest.fixture
def insides() -> Iterator[list[Netns]]:
    """What containers are connected: a namespace is used once, for eth0 stays in it when a test takes nothing away."""
    made: list[Netns] = []
    yield made
    for one in made:
        one.close()


NETWORK = BridgeNetwork(Path("/nonexistent"), is_default=False)
OTHERS = Attachment(network="bridge")


def choose(
    container_id: str, taken: Collection[str] = (), ports: tuple[Port, ...] = (), driver: BridgeNetwork = NETWORK
) -> Connection:
    return replace(driver.choose(driver.default(), container_id, taken, OTHERS), ports=ports)


def each(connections: Mapping[str, Connection]) -> dict[str, tuple[Connection]]:
    return {name: (one,) for name, one in connections.items()}


def lower(driver: BridgeNetwork = NETWORK) -> None:
    for child in driver.lower_network(driver.default()):
        child.finish(20)


def connect(
    container_id: str, inside: Netns, others: dict[str, Connection] | None = None, ports: tuple[Port, ...] = PORTS
) -> Connection:
    taken = {one.address for one in (others or {}).values()}
    connection = choose(container_id, taken, ports)
    NETWORK.connect(container_id, (connection,), f"/proc/{inside.pid}/ns/net", lambda: each(others or {}))
    return connection


def release(container_id: str, addresses: Sequence[str] | None = None, network: BridgeNetwork = NETWORK) -> None:
    for child in network.release(container_id, addresses):
        child.finish(20)


def end(container_id: str) -> None:
    """The end of the only container."""
    release(container_id)
    lower()


def test_interrupted_anywhere_a_connection_is_taken_away_whole_and_can_be_made(
    host: Netns, insides: list[Netns], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, breaker = host.state(), Breaker(monkeypatch)
    insides.append(Netns())
    for step in range(1, 100):
        breaker.arm(step)
        try:
            made = host.inside(lambda: connect(ID, insides[0]))
        except Interrupted:
            breaker.arm(0)
            host.inside(lambda: end(ID))
            assert host.state() == before, step
            continue
        break
    breaker.arm(0)
    assert step > 15  # it counts what it is for
    assert host.inside(lambda: NETWORK.missing({ID: (made,)})) == []
    host.inside(lambda: end(ID))
    assert host.state() == before


def test_interrupted_anywhere_the_end_of_a_connection_is_finished_by_the_next_one(
    host: Netns, insides: list[Netns], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, breaker = host.state(), Breaker(monkeypatch)
    insides.append(Netns())
    for step in range(1, 100):
        breaker.arm(0)
        host.inside(lambda: connect(ID, insides[0]))
        breaker.arm(step)
        try:
            host.inside(lambda: end(ID))
        except Interrupted:
            breaker.arm(0)
            host.inside(lambda: end(ID))
            assert host.state() == before, step
            continue
        break
    assert step > 4
    assert host.state() == before


def test_without_a_guard_there_is_no_connection(
    host: Netns, insides: list[Netns], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise KernelError("RTM_NEWTFILTER", errno.ENOENT, "No such file or directory")

    insides.append(Netns())
    before = host.state()
    monkeypatch.setattr(links, "set_guard", refuse)
    with pytest.raises(RuntimeFailed, match="no guard for a link") as caught:
        host.inside(lambda: connect(ID, insides[0]))
    assert "cls_bpf" in caught.value.hint
    host.inside(lambda: end(ID))
    assert host.state() == before


def test_what_goes_leaves_the_others_as_they_are(host: Netns, insides: list[Netns]) -> None:
    insides += [Netns(), Netns()]
    other = host.inside(lambda: connect(OTHER, insides[0], ports=()))
    alone = host.state()
    first = host.inside(lambda: connect(ID, insides[1], {OTHER: other}))
    assert first.address != other.address
    assert host.inside(lambda: NETWORK.missing(each({ID: first, OTHER: other}))) == []
    host.inside(lambda: release(ID, first.forwarded_to))
    host.inside(lower)  # not while there is another
    assert host.state() == alone
    missing = host.inside(lambda: NETWORK.missing(each({ID: first, OTHER: other})))
    assert missing == []  # what has no link is about to end
    host.inside(lambda: end(OTHER))
    assert "bento" not in host.state()


def test_whatever_is_missing_of_the_walls_is_told_and_put_back(host: Netns, insides: list[Netns]) -> None:
    insides += [Netns(), Netns()]
    first = host.inside(lambda: connect(ID, insides[0]))
    made = {ID: first, OTHER: host.inside(lambda: connect(OTHER, insides[1], {ID: first}, ports=()))}
    bridge = table = NETWORK.names.bridge
    link, other = NETWORK.names.link(ID), NETWORK.names.link(OTHER)
    for harm, what in {
        f"tc qdisc del dev {bridge} clsact": f"guard of bridge {bridge}",
        f"tc qdisc del dev {link} clsact": f"guard of link {link}",
        f"ip link set {other} nomaster": f"guard of link {other}",
        f"ip link set {bridge} down": f"bridge {bridge} is down",
        "nft flush ruleset": f"rules in nftables table {table}",
        f"nft flush chain inet {table} walls": f"rules in nftables table {table}",
        f"nft flush set inet {table} homes": f"rules in nftables table {table}",
        f"nft flush map inet {table} published": f"containers in nftables table {table}",
    }.items():
        host(*harm.split())
        assert host.inside(lambda: NETWORK.missing(each(made))) == [what]
        host.inside(lambda: NETWORK.mend(each(made)))
        assert host.inside(lambda: NETWORK.missing(each(made))) == []
    for name in ("ip_forward", f"conf.{bridge}.route_localnet"):
        host.setting(f"ipv4/{name.replace('.', '/')}", "0")
        assert f"net.ipv4.{name}" in host.inside(lambda: NETWORK.missing(each(made)))
        host.inside(lambda: NETWORK.mend(each(made)))
    host.setting(f"ipv6/conf/{bridge}/disable_ipv6", "0")
    assert host.inside(lambda: NETWORK.missing(each(made))) == [f"IPv6 is on at bridge {bridge}"]
    host.inside(lambda: NETWORK.mend(each(made)))
    host("ip", "link", "del", bridge)
    host.inside(lambda: NETWORK.mend(each(made)))
    assert host.inside(lambda: NETWORK.missing(each(made))) == []
    for one in made:
        host.inside(partial(release, one))
    host.inside(lower)
    assert "bento" not in host.state()


def test_loopback_is_routed_only_while_a_port_is_published_on_it(host: Netns, insides: list[Netns]) -> None:
    connections: dict[str, Connection] = {}
    wishes = {"aa": "", "bb": "192.0.2.1", "cc": "0.0.0.0", "dd": "127.0.0.2"}
    expected = iter("0011")

    def routed() -> str:
        return host.setting(f"ipv4/conf/{NETWORK.names.bridge}/route_localnet")

    for name, host_ip in wishes.items():
        insides.append(Netns())
        ports = (Port(container_port=80, host_port=80 + len(insides), host_ip=host_ip),) if host_ip else ()
        made = host.inside(partial(connect, name * 32, insides[-1], connections, ports))
        connections[name * 32] = made
        assert routed() == next(expected)
    for name, value in {"cc": "1", "dd": "0", "bb": "0"}.items():
        host.inside(partial(release, name * 32))
        assert routed() == value
    host.inside(lambda: release("aa" * 32))


def test_forwarding_goes_back_unless_another_process_needs_it(host: Netns, insides: list[Netns]) -> None:
    other_engine = BridgeNetwork(Path("/elsewhere"), is_default=False)
    insides += [Netns(), Netns(), Netns()]
    host.inside(lambda: connect(ID, insides[0]))
    place = host.inside(lambda: choose(OTHER, driver=other_engine))
    host.inside(lambda: other_engine.connect(OTHER, (place,), f"/proc/{insides[1].pid}/ns/net", dict))
    host.inside(lambda: end(ID))
    assert host.setting("ipv4/ip_forward") == "1"  # the other engine has found it on, but by Bento alone
    host("ip", "link", "add", "docker0", "type", "bridge")
    host.inside(lambda: release(OTHER, network=other_engine))
    host.inside(lambda: lower(other_engine))
    assert "bento" not in host.state()
    assert host.setting("ipv4/ip_forward") == "1"
    host("ip", "link", "del", "docker0")
    host.setting("ipv4/ip_forward", "0")
    host.inside(lambda: other_engine.connect(OTHER, (place,), f"/proc/{insides[2].pid}/ns/net", dict))
    host.inside(lambda: release(OTHER, network=other_engine))
    host.inside(lambda: lower(other_engine))
    assert host.setting("ipv4/ip_forward") == "0"


def test_elements_of_a_container_that_was_not_released_give_way(host: Netns, insides: list[Netns]) -> None:
    insides += [Netns(), Netns()]
    old = host.inside(lambda: connect(ID, insides[0]))
    new = host.inside(lambda: choose(OTHER, {old.address}, PORTS))
    host.inside(lambda: NETWORK.connect(OTHER, (new,), f"/proc/{insides[1].pid}/ns/net", dict))

    def published() -> set[str]:
        with Netlink(NETFILTER) as netlink:
            return {one.comment for one in nftables.elements(netlink, NETWORK.names.table, ["published"])}

    assert host.inside(published) == {OTHER[:12]}
    host.inside(lambda: release(ID))
    assert host.inside(published) == {OTHER[:12]}
    host.inside(lambda: release(OTHER))


def test_what_netlink_says_is_what_nft_says(host: Netns, insides: list[Netns]) -> None:
    insides.append(Netns())
    connection = host.inside(lambda: connect(ID, insides[0]))
    listed = host("nft", "list", "map", "inet", NETWORK.names.table, "published")
    for port in PORTS:
        line = f'{port.protocol} . {port.host_port} comment "{ID[:12]}" : {connection.address} . {port.container_port}'
        assert line in listed
    odd = Element("closed", b"\x06\0\0\0\0\x50\0\0", comment="x" * 20)
    with host.inside(lambda: Netlink(NETFILTER)) as netlink:
        assert nftables.tables(netlink) == [NETWORK.names.table]
        nftables.change(netlink, NETWORK.names.table, remove=(), add=[odd])
        assert odd in nftables.elements(netlink, NETWORK.names.table, ["closed"])
    host.inside(lambda: release(ID))


def test_flows_are_forgotten_by_port_and_by_what_answers(host: Netns) -> None:
    remote = Netns()
    try:
        host.join(remote)
        host("nft", "add table ip t; add chain ip t c { type filter hook output priority 0; ct state new accept; }")
        netfilter = host.inside(lambda: Netlink(NETFILTER))
        with netfilter as netlink, remote.inside(make_udp) as first, host.inside(make_udp) as second:
            first.bind(("192.0.2.2", 53))
            for port in (53, 54):
                second.sendto(b"x", ("192.0.2.2", port))
            assert flows(host) == {53, 54}
            host.inside(
                lambda: conntrack.forget_at(netlink, 17, 53, lambda flow: flow.destination == bytes([192, 0, 2, 9]))
            )
            assert flows(host) == {53, 54}
            host.inside(
                lambda: conntrack.forget_at(netlink, 17, 53, lambda flow: flow.destination == bytes([192, 0, 2, 2]))
            )
            assert flows(host) == {54}
            host.inside(lambda: conntrack.forget_answered_by(netlink, bytes([192, 0, 2, 9])))
            assert flows(host) == {54}
            host.inside(lambda: conntrack.forget_answered_by(netlink, bytes([192, 0, 2, 2])))
            assert flows(host) == set()
    finally:
        remote.close()


def make_udp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def flows(host: Netns) -> set[int]:
    """Return the ports at 192.0.2.2 that the kernel tracks."""
    found = host.inside(lambda: Path("/proc/thread-self/net/nf_conntrack").read_text(encoding="ascii"))
    return {
        int(line.split("dport=")[1].split()[0])
        for line in found.splitlines()
        if "dst=192.0.2.2" in line and "udp" in line
    }

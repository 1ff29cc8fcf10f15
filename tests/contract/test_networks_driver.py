"""Many networks of the bridge driver against the kernel: what reaches what, by real sockets of both families."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bento.drivers.network.base import Leftover, Part
from bento.drivers.network.bridge import BridgeNetwork
from bento.errors import Conflict, UsageError
from bento.model.network import Attachment, Connection, Network, Port, Subnet

from support import procs
from support.breaking import Breaker, Interrupted
from support.netns import HERE, REMOTE, TIMEOUT_S, Netns

HERE6, REMOTE6 = "fd00:2::1", "fd00:2::2"
NETWORK = BridgeNetwork(Path("/nonexistent"), is_default=False)


def network(number: int, *subnets: Subnet, ipv4: bool = True, ipv6: bool = False, **more: Any) -> Network:
    made = Network(id=f"{number:08x}" * 8, name=f"net{number}", created_unix_ns=0, bridge="", subnets=subnets)
    return NETWORK.plan(replace(made, **more), (), ipv4=ipv4, ipv6=ipv6)


class Place:
    """The namespace that is the host, and containers in it, which are namespaces without a process of their own."""

    def __init__(self, host: Netns) -> None:
        self.host = host
        self.connections: dict[str, tuple[Connection, ...]] = {}
        self.insides: dict[str, Netns] = {}

    def raise_network(self, number: int, *, ipv6: bool = False, **more: Any) -> Network:
        made = self.host.inside(lambda: network(number, ipv6=ipv6, **more))
        self.host.inside(lambda: NETWORK.raise_network(made, lambda: self.connections))
        return made

    def container(self, digit: str, *networks: Network, ports: tuple[Port, ...] = ()) -> Netns:
        self.insides[digit * 64] = Netns()
        for at, one in enumerate(networks):
            self.connect(digit, one, ports=ports if at == 0 else (), is_live=False)
        container_id = digit * 64
        self._connect(container_id, "")
        return self.insides[container_id]

    def connect(self, digit: str, to: Network, *, ports: tuple[Port, ...] = (), is_live: bool = True) -> Connection:
        had = self.connections.get(digit * 64, ())
        free = next(name for n in range(9) if (name := f"eth{n}") not in {one.interface for one in had})
        taken = {
            address for each in self.connections.values() for one in each for address in (one.address, one.address6)
        }
        asked = Attachment(network=to.name)
        made = self.host.inside(lambda: NETWORK.choose(to, digit * 64, taken, asked, interface=free))
        self.connections[digit * 64] = (*had, replace(made, ports=ports))
        if is_live:
            self._connect(digit * 64, free)
        return made

    def _connect(self, container_id: str, only: str) -> None:
        pid, each = self.insides[container_id].pid, self.connections[container_id]
        others = {name: one for name, one in self.connections.items() if name != container_id}
        self.host.inside(lambda: NETWORK.connect(container_id, each, f"/proc/{pid}/ns/net", lambda: others, only=only))

    def drain(self, digit: str) -> None:
        main_fd = os.pidfd_open(self.insides[digit * 64].pid)
        connections = self.connections[digit * 64]
        try:
            child = self.host.inside(lambda: NETWORK.begin_drain(digit * 64, connections, main_fd))
        finally:
            os.close(main_fd)
        finish(iter([child] if child else []))

    def disconnect(self, digit: str, from_: Network) -> None:
        had = self.connections[digit * 64]
        gone = next(one for one in had if one.network == from_.name)
        self.connections[digit * 64] = left = tuple(one for one in had if one is not gone)
        self.host.inside(lambda: finish(NETWORK.disconnect(digit * 64, gone, left, self.insides[digit * 64].pid)))

    def at(self, digit: str, number: int = 0) -> Connection:
        return self.connections[digit * 64][number]

    def close(self) -> None:
        for one in self.insides.values():
            one.close()


def link_of(digit: str) -> str:
    return NETWORK.names.link(digit * 64)


def finish(steps: Iterator[Part]) -> None:
    for child in steps:
        child.finish(20)


@pytest.fixture
def host() -> Iterator[Netns]:
    made = Netns()
    made.setting("ipv4/ip_forward", "0")
    yield made
    made.close()


@pytest.fixture
def place(host: Netns) -> Iterator[Place]:
    made = Place(host)
    yield made
    made.close()


@pytest.fixture
def remote(host: Netns) -> Iterator[Netns]:
    """A neighbour of the host, in both families."""
    made = Netns()
    try:
        host.join(made)
        for end, address in ((host, HERE6), (made, REMOTE6)):
            end("ip", "addr", "add", f"{address}/64", "dev", "wire", "nodad")
        yield made
    finally:
        made.close()


def listen(space: Netns, address: str, port: int = 80) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return space.inside(lambda: socket.create_server((address, port), family=family))


def peer_of(listener: socket.socket, client: Netns, address: str, port: int = 80) -> str:
    """Connect; return the address that the listener sees."""
    with client.connect(address, port):
        listener.settimeout(TIMEOUT_S)
        connection, peer = listener.accept()
        connection.close()
    return str(peer[0])


def is_shut(client: Netns, address: str, port: int, good: tuple[Any, ...]) -> bool:
    """Whether nothing answers there by the time that a good way has answered."""

    def act() -> tuple[socket.socket, int]:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.setblocking(False)
        return made, made.connect_ex((address, port))

    waiting, error = client.inside(act)
    with waiting:
        peer_of(*good)
        is_answered = bool(select.select([], [waiting], [], 0)[1])
        error = error if error != errno.EINPROGRESS else waiting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return not is_answered or error != 0


def first_word(space: Netns, address: str, words: dict[Netns, bytes]) -> bytes:
    """Have datagrams sent to an address of this namespace, one after the other; return the first that comes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with space.inside(lambda: socket.socket(family, socket.SOCK_DGRAM)) as receiver:
        receiver.bind((address, 7777))
        receiver.settimeout(TIMEOUT_S)
        for sender, word in words.items():
            with sender.inside(lambda: socket.socket(family, socket.SOCK_DGRAM)) as made:
                made.sendto(word, (address, 7777))
        return receiver.recv(64)


@pytest.mark.parametrize(("is_flushed", "asks"), [(False, "1"), (True, "1"), (False, "0"), (True, "0")])
def test_networks_are_apart_and_what_is_on_two_is_reached_from_both(place: Place, is_flushed: bool, asks: str) -> None:
    """``asks``: whether bridges ask the firewall, in both families, where the kernel can have them do so."""
    for name in ("iptables", "ip6tables"):
        with suppress(FileNotFoundError):
            place.host.setting(f"bridge/bridge-nf-call-{name}", asks)
    one, two = place.raise_network(1, ipv6=True), place.raise_network(2, ipv6=True)
    first, second, both = place.container("a", one), place.container("b", two), place.container("c", one, two)
    if is_flushed:
        place.host("nft", "flush", "ruleset")
    for family, way in (("address", "0.0.0.0"), ("address6", "::")):
        with listen(both, way) as shared, listen(second, way) as theirs, listen(first, way) as ours:
            here = getattr(place.at("a"), family)
            assert peer_of(shared, first, getattr(place.at("c"), family)) == here
            assert peer_of(shared, second, getattr(place.at("c", 1), family)) == getattr(place.at("b"), family)
            assert peer_of(ours, both, here) == getattr(place.at("c"), family)
            good = (shared, first, getattr(place.at("c"), family))
            assert is_shut(first, getattr(place.at("b"), family), 80, good)
            assert is_shut(first, getattr(place.at("c", 1), family), 80, good)
            assert is_shut(first, two.subnets[family == "address6"].gateway, 80, good)
            if not is_flushed:
                assert peer_of(theirs, place.host, getattr(place.at("b"), family))
    found = place.host.inside(lambda: NETWORK.missing(place.connections))
    assert bool(found) is is_flushed
    if is_flushed:
        place.host.inside(lambda: NETWORK.mend(place.connections))
        assert place.host.inside(lambda: NETWORK.missing(place.connections)) == []
        with listen(second, "::") as theirs:
            assert peer_of(theirs, place.host, place.at("b").address6)


def test_ports_are_opened_when_the_container_has_its_address(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    open_ports = NETWORK._open_ports

    def opened(*arguments: Any) -> None:
        found.append(place.insides["a" * 64]("ip", "addr", "show", "up", "dev", "eth0"))
        open_ports(*arguments)

    monkeypatch.setattr(NETWORK, "_open_ports", opened)
    place.container("a", place.raise_network(1), ports=(Port(container_port=80, host_port=8080),))
    assert f"inet {place.at('a').address}/" in found[0], "a connection would hang until it is tried again"


def test_ipv6_leads_outside_as_the_host_and_ports_are_reached_by_it(place: Place, remote: Netns) -> None:
    one = place.raise_network(1, ipv6=True)
    ports = (Port(container_port=80, host_port=8080), Port(container_port=80, host_port=8080, host_ip="::"))
    inside = place.container("a", one, ports=ports)
    other = place.container("b", one, ports=(Port(container_port=80, host_port=8081, host_ip=HERE6),))
    with listen(remote, "::") as outside:
        assert peer_of(outside, inside, REMOTE6) == HERE6
    with listen(inside, "::") as server, listen(other, "::") as second:
        assert peer_of(server, remote, HERE6, 8080) == REMOTE6  # from elsewhere nothing hides the client's address
        assert peer_of(second, remote, HERE6, 8081) == REMOTE6
        assert peer_of(server, place.host, HERE6, 8080) == HERE6
        assert peer_of(server, other, HERE6, 8080) == one.subnets[1].gateway
        assert peer_of(server, inside, HERE6, 8080) == one.subnets[1].gateway  # the hairpin
        assert place.host.is_refused("::1", 8080)  # which could never be answered
        remote("ip", "-6", "route", "add", "fd00::/8", "via", HERE6)
        assert is_shut(remote, place.at("a").address6, 80, (server, remote, HERE6, 8080))
    with listen(inside, "0.0.0.0") as server:
        assert peer_of(server, remote, HERE, 8080) == REMOTE
    with listen(inside, "::"), listen(inside, "0.0.0.0"):
        under_way = other.connect(place.at("a").address, 80)
        place.drain("a")
        assert remote.is_refused(HERE6, 8080)
        assert remote.is_refused(HERE, 8080)
        for address in (place.at("a").address, place.at("a").address6):
            assert other.is_refused(address, 80)
            assert not inside.is_refused(address, 80), "the loopback is let be"
        with under_way:
            under_way.sendall(b"x")


@pytest.mark.parametrize("is_changed", [False, True])
def test_the_host_takes_no_ipv6_address_and_goes_on_to_take_its_routers_word(
    place: Place, remote: Netns, is_changed: bool
) -> None:
    host = place.host
    host("ip", "link", "add", "wire2", "type", "veth", "peer", "name", "wire3")
    for link, value in (("wire", "1"), ("wire2", "0")):
        host.setting(f"ipv6/conf/{link}/accept_ra", value)
    one, two = (place.raise_network(number, ipv6=True) for number in (1, 2))
    place.container("a", one)
    assert host.setting("ipv6/conf/all/forwarding") == "1"
    assert host.setting("ipv6/conf/wire/accept_ra") == "2"
    assert host.setting(f"ipv6/conf/{one.bridge}/accept_ra") == "0"
    if is_changed:
        host.setting("ipv6/conf/wire/accept_ra", "0")
    host("ip", "link", "set", "wire", "name", "renamed")
    host.inside(lambda: finish(NETWORK.release("a" * 64)))
    host.inside(lambda: finish(NETWORK.lower_network(one)))
    assert host.setting("ipv6/conf/renamed/accept_ra") == ("0" if is_changed else "2"), "the other one needs it"
    host.inside(lambda: finish(NETWORK.lower_network(two)))
    assert host.setting("ipv6/conf/renamed/accept_ra") == ("0" if is_changed else "1")
    assert host.setting("ipv6/conf/wire2/accept_ra") == "0"
    assert host.setting("ipv6/conf/all/forwarding") == "0"
    for link in ("renamed", "wire2"):
        host("ip", "link", "del", link)
    assert "bento" not in host.state()


@pytest.mark.parametrize("is_flushed", [False, True])
def test_nothing_leads_out_of_an_internal_network_nor_into_it(place: Place, remote: Netns, is_flushed: bool) -> None:
    shut, open_ = place.raise_network(1, ipv6=True, internal=True), place.raise_network(2, ipv6=True)
    first, second = place.container("a", shut), place.container("b", shut)
    third = place.container("c", open_, ports=(Port(container_port=80, host_port=8080),))
    assert first("ip", "route", "show", "default") == first("ip", "-6", "route", "show", "default") == ""
    for flag, gateway in (("-4", shut.subnets[0].gateway), ("-6", shut.subnets[1].gateway)):
        first("ip", flag, "route", "add", "default", "via", gateway)
    if is_flushed:
        place.host("nft", "flush", "ruleset")
    remote("ip", "route", "add", "10.0.0.0/8", "via", HERE)
    remote("ip", "-6", "route", "add", "fd00::/8", "via", HERE6)
    for way, out, own in (("0.0.0.0", REMOTE, "address"), ("::", REMOTE6, "address6")):
        with listen(second, way) as server, listen(remote, way), listen(third, way):
            good = (server, first, getattr(place.at("b"), own))
            assert is_shut(first, out, 80, good)
            assert first_word(remote, out, {first: b"bad", third: b"good"}) == b"good"  # not one way either
            assert is_shut(first, getattr(place.at("c"), own), 80, good)
            assert is_shut(remote, getattr(place.at("b"), own), 80, good)
            assert is_shut(third, getattr(place.at("b"), own), 80, good)
        with listen(third, "0.0.0.0"), listen(second, "0.0.0.0") as server:
            assert is_shut(first, HERE, 8080, (server, first, place.at("b").address))


def test_a_container_comes_off_a_network_whatever_it_did_to_its_other_links(place: Place) -> None:
    one, two = place.raise_network(1), place.raise_network(2)
    inside = place.container("a", one, two)
    inside("ip", "link", "set", "eth1", "down")
    place.disconnect("a", one)
    assert len(place.host.pairs()) == 1


def test_a_container_that_runs_goes_from_network_to_network(place: Place, remote: Netns) -> None:
    shut, one, two = place.raise_network(1, internal=True), place.raise_network(2, ipv6=True), place.raise_network(3)
    inside = place.container("a", shut)

    def way() -> list[str]:
        return [line.split()[2] for line in inside("ip", "route", "show", "default").splitlines()]

    assert way() == []
    place.connect("a", one)
    assert place.at("a", 1).interface == "eth1"
    place.connect("a", two)
    assert way() == [one.subnets[0].gateway]
    assert place.host.inside(lambda: NETWORK.missing(place.connections)) == []
    place.disconnect("a", one)
    assert way() == [two.subnets[0].gateway]
    assert inside("ip", "-6", "route", "show", "default") == ""
    with listen(remote, "0.0.0.0") as server:
        assert peer_of(server, inside, REMOTE) == HERE
    place.connect("a", one)
    assert place.at("a", 2).interface == "eth1"
    assert way() == [two.subnets[0].gateway]
    place.disconnect("a", two)
    place.disconnect("a", one)
    assert way() == []
    for made in (one, two):
        place.host.inside(partial(lambda made: finish(NETWORK.lower_network(made)), made))
    assert place.host.inside(lambda: NETWORK.leftovers([shut])) == [Leftover("a" * 8, f"link {link_of('a')}")]
    assert place.host.inside(lambda: NETWORK.missing(place.connections)) == []


def test_what_is_taken_is_refused_and_what_is_left_over_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bento.drivers.network.bridge._LINKS_GONE_WITHIN_S", 0.01)
    host = place.host
    host("ip", "link", "add", "other0", "type", "bridge")
    host("ip", "addr", "add", "10.77.0.1/16", "dev", "other0")
    host("ip", "link", "set", "other0", "up")
    subnet = Subnet(subnet="10.77.3.0/24", gateway="")
    with pytest.raises(Conflict, match="link other0"):
        host.inside(lambda: network(1, subnet))
    with pytest.raises(Conflict, match="link other0 is there already"):
        host.inside(lambda: network(1, bridge="other0"))
    with pytest.raises(UsageError, match="bad name of a bridge"):
        host.inside(lambda: network(1, bridge="sixteen-letters0"))
    one = place.raise_network(2)
    again = replace(one, id="f" * 64, name="again", bridge="again0")
    with pytest.raises(Conflict, match=rf"is taken by link {one.bridge}"):
        host.inside(lambda: NETWORK.raise_network(again, dict))
    with pytest.raises(Conflict, match="link other0 is there, and is none"):
        host.inside(lambda: NETWORK.raise_network(replace(again, bridge="other0"), dict))
    assert host.inside(lambda: NETWORK.leftovers([one])) == []
    found = host.inside(lambda: NETWORK.leftovers([]))
    assert [(left.what, left.bridge) for left in found] == [(f"bridge {one.bridge}", one.bridge)]
    place.container("a", one)
    host.inside(lambda: finish(NETWORK.lower_network(one)))  # not while a container is on it
    assert host.inside(lambda: NETWORK.missing(place.connections)) == []
    host.inside(lambda: finish(NETWORK.release("a" * 64)))
    host("ip", "link", "del", one.bridge)
    found = host.inside(lambda: NETWORK.leftovers([]))
    assert [left.bridge for left in found] == [one.bridge]
    host.inside(lambda: finish(NETWORK.lower_bridge(one.bridge)))
    assert host.inside(lambda: NETWORK.leftovers([])) == []
    assert "bento" not in host.state()


def test_neighbours_are_told_where_a_container_is(place: Place) -> None:
    one = place.raise_network(1, ipv6=True)
    neighbour, inside = place.container("a", one), place.container("b", one)
    at = place.at("b")
    for address in (at.address, at.address6):
        neighbour("ip", "neigh", "replace", address, "lladdr", "02:00:00:00:00:09", "dev", "eth0", "nud", "reachable")
    main_fd = os.pidfd_open(inside.pid)

    def is_known() -> bool:  # to be told again: the kernel may not forward yet what comes from the new link
        place.host.inside(lambda: NETWORK.announce([at], main_fd))
        return neighbour("ip", "neigh", "show").count(at.mac) == 2

    try:
        procs.wait_until(is_known, timeout_s=TIMEOUT_S, what="what it was told")
    finally:
        os.close(main_fd)


def test_a_network_goes_with_links_that_the_kernel_has_yet_to_delete(place: Place) -> None:
    one = place.raise_network(1)
    place.container("a", one)

    def lower() -> None:
        steps = NETWORK.lower_network(one)
        first = next(steps)
        place.insides.pop("a" * 64).close()
        first.finish(TIMEOUT_S)
        finish(steps)

    place.host.inside(lower)
    assert "bento" not in place.host.state()


def test_whatever_comes_next_after_a_firewall_reload_puts_all_back(place: Place) -> None:
    ports = (Port(container_port=80, host_port=8080), Port(container_port=80, host_port=8080, host_ip="::"))
    one, two = place.raise_network(1, ipv6=True), place.raise_network(2)
    place.container("a", one, ports=ports)
    place.container("b", two)
    place.host("nft", "flush", "ruleset")
    place.raise_network(3, ipv6=True)
    assert place.host.inside(lambda: NETWORK.missing(place.connections)) == []
    place.host("nft", "flush", "ruleset")
    place.container("c", two)  # which has no IPv6
    assert place.host.inside(lambda: NETWORK.missing(place.connections)) == []


def test_a_name_of_its_own_and_an_mtu_are_kept(place: Place) -> None:
    one = place.raise_network(1, bridge="mine0", mtu=1400)
    place.raise_network(2)
    inside = place.container("a", one)
    assert "mtu 1400" in inside("ip", "link", "show", "eth0")
    assert "mtu 1400" in place.host("ip", "link", "show", "mine0")
    place.host.inside(lambda: finish(NETWORK.release("a" * 64)))
    place.host.inside(lambda: finish(NETWORK.lower_network(one)))
    assert "mine0" not in place.host.state()
    assert "bento" in place.host("nft", "list", "tables")


def test_interrupted_anywhere_networks_and_what_is_on_them_are_taken_away_whole(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, breaker = place.host, Breaker(monkeypatch)
    before = host.state()
    one, two = host.inside(lambda: (network(1, ipv6=True), network(2, internal=True)))
    inside = place.insides["a" * 64] = Netns()
    asked = Attachment(network="")
    first = host.inside(lambda: NETWORK.choose(one, "a" * 64, (), asked))
    second = host.inside(lambda: NETWORK.choose(two, "a" * 64, (), asked, interface="eth1"))
    ports = (Port(container_port=80, host_port=8080), Port(container_port=80, host_port=8080, host_ip="::"))
    both = (replace(first, ports=ports), second)

    def make() -> None:
        NETWORK.raise_network(one, dict)
        NETWORK.raise_network(two, dict)
        NETWORK.connect("a" * 64, both[:1], f"/proc/{inside.pid}/ns/net", dict)
        NETWORK.connect("a" * 64, both, f"/proc/{inside.pid}/ns/net", lambda: {"a" * 64: both}, only="eth1")

    def end() -> None:
        finish(NETWORK.disconnect("a" * 64, both[0], both[1:], inside.pid))
        finish(NETWORK.release("a" * 64))
        finish(NETWORK.lower_network(one))
        finish(NETWORK.lower_network(two))

    def seen(act: Callable[[], None]) -> int:
        """Interrupt it everywhere, or at each third place; return how many there are."""
        for step in range(1, 200, 1 if act is end else 3):
            if act is end:
                host.inside(make)
            breaker.arm(step)
            try:
                host.inside(act)
            except Interrupted:
                breaker.arm(0)
                host.inside(end)
                assert host.state() == before, step
                assert host.setting("ipv6/conf/all/forwarding") == "0"
                continue
            breaker.arm(0)
            return step
        raise AssertionError

    assert seen(make) > 30
    assert host.inside(lambda: NETWORK.missing({"a" * 64: both})) == []
    host.inside(end)
    assert seen(end) > 8
    assert host.state() == before


def crc32c(data: bytes) -> int:
    """As SCTP has it (RFC 9260, appendix A)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def test_sctp_is_forwarded(place: Place, remote: Netns) -> None:
    """By packets of our own: not every kernel has sockets of SCTP."""
    one = place.raise_network(1)
    inside = place.container("a", one, ports=(Port(container_port=80, host_port=132, protocol="sctp"),))
    init = struct.pack(">BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 7)
    packet = struct.pack(">HHII", 9999, 132, 0, 0) + init
    packet = packet[:8] + struct.pack("<I", crc32c(packet)) + packet[12:]
    sender, receiver = (
        end.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)) for end in (remote, inside)
    )
    with sender, receiver:
        receiver.settimeout(TIMEOUT_S)
        sender.sendto(packet, (HERE, 0))
        found, peer = receiver.recvfrom(256)
    assert peer[0] == REMOTE
    assert struct.unpack(">HH", found[20:24]) == (9999, 80)
    assert socket.inet_ntoa(found[16:20]) == place.at("a").address


ROUTED = {"options": {f"com.docker.network.bridge.gateway_mode_ipv{version}": "routed" for version in (4, 6)}}
OPEN = (Port(container_port=80, host_ip="0.0.0.0"), Port(container_port=80, host_ip="::"))


@pytest.mark.parametrize("is_four", [True, False])
def test_on_a_routed_network_published_ports_are_reached_at_containers_own_addresses_and_nothing_else(
    place: Place, remote: Netns, is_four: bool
) -> None:
    routed, other, third = (
        place.raise_network(number, ipv6=True, **more) for number, more in ((1, ROUTED), (2, {}), (3, ROUTED))
    )
    web = place.container("a", routed, ports=OPEN)
    beside, far = place.container("b", other), place.container("c", third)
    mine, theirs, way = (
        (place.at("a").address, place.at("b").address, "0.0.0.0")
        if is_four
        else (place.at("a").address6, place.at("b").address6, "::")
    )
    gateway = routed.subnets[0 if is_four else 1].gateway
    remote("ip", "route", "add", "10.0.0.0/8", "via", HERE)
    remote("ip", "-6", "route", "add", "fd00::/8", "via", HERE6)
    with listen(web, way) as server, listen(web, way, 81), listen(place.host, way, 82), listen(beside, way):
        good = (server, place.host, mine)
        assert peer_of(server, remote, mine) == (REMOTE if is_four else REMOTE6), "the client's own address"
        assert peer_of(server, far, mine) == (place.at("c").address if is_four else place.at("c").address6)
        assert peer_of(server, beside, mine) == gateway, "it leads outside by NAT, also to a network that does not"
        for where in (remote, beside, far):
            assert is_shut(where, mine, 81, good)
            assert is_shut(where, gateway, 82, good)
        for where in (web, far, remote):
            assert is_shut(where, theirs, 80, good)
        with listen(remote, way) as outside:
            assert peer_of(outside, web, REMOTE if is_four else REMOTE6) == mine, "it goes out under its own address"
        place.host("nft", "flush", "ruleset")
        assert is_shut(remote, mine, 80, (server, web, "127.0.0.1" if is_four else "::1"))
        place.host.inside(lambda: NETWORK.mend(place.connections))
        assert place.host.inside(lambda: NETWORK.missing(place.connections)) == []
        with remote.connect(mine, 80) as client, server.accept()[0] as accepted:
            place.drain("a")
            assert remote.is_refused(mine, 80)
            accepted.sendall(b"goes on")
            assert client.recv(64) == b"goes on"
        assert is_shut(remote, mine, 81, (server, web, "127.0.0.1" if is_four else "::1"))
    place.host.inside(lambda: finish(NETWORK.release("a" * 64, place.at("a").forwarded_to)))
    assert "a" * 12 not in place.host("nft", "list", "ruleset")


def test_a_network_of_ipv6_alone_has_no_ipv4_and_all_else(place: Place, remote: Netns) -> None:
    alone, other = place.raise_network(1, ipv4=False, ipv6=True), place.raise_network(2, ipv6=True)
    ports = (Port(container_port=80, host_port=8080), Port(container_port=80, host_port=8080, host_ip="::"))
    web, client = place.container("a", alone, ports=ports), place.container("b", alone)
    stranger = place.container("c", other)
    mine = place.at("a")
    assert (mine.address, mine.gateway, len(alone.subnets)) == ("", "", 1)
    assert "inet 10." not in place.host("ip", "addr", "show", "dev", alone.bridge)
    with listen(web, "::") as server:
        good = (server, client, mine.address6)
        assert peer_of(server, client, mine.address6) == place.at("b").address6
        assert peer_of(server, remote, HERE6, 8080) == REMOTE6
        assert is_shut(stranger, mine.address6, 80, good)
        assert is_shut(remote, HERE, 8080, good)
        place.host("nft", "flush", "ruleset")
        assert is_shut(remote, HERE6, 8080, good)
        place.host.inside(lambda: NETWORK.mend(place.connections))
        assert place.host.inside(lambda: NETWORK.missing(place.connections)) == []
        with listen(remote, "::") as outside:
            assert peer_of(outside, client, REMOTE6) == HERE6
        client("ip", "addr", "add", "10.1.0.2/24", "dev", "eth0")
        web("ip", "addr", "add", "10.1.0.1/24", "dev", "eth0")
        with listen(web, "10.1.0.1"):
            assert is_shut(client, "10.1.0.1", 80, (server, client, mine.address6))
        with remote.connect(HERE6, 8080) as connection, server.accept()[0] as accepted:
            place.drain("a")
            assert remote.is_refused(HERE6, 8080)
            accepted.sendall(b"goes on")
            assert connection.recv(64) == b"goes on"
    place.host.inside(lambda: finish(NETWORK.release("a" * 64, mine.forwarded_to)))
    for one in "bc":
        place.host.inside(lambda one=one: finish(NETWORK.release(one * 64, ())))  # type: ignore[misc]
    for each in (alone, other):
        place.host.inside(lambda each=each: finish(NETWORK.lower_network(each)))  # type: ignore[misc]
    place.host("ip", "link", "del", "wire")
    assert "bento" not in place.host.state()

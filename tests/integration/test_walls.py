"""What passes between containers, their host and its neighbours (the section Network of docs/security.md).

"Nothing comes" is never waited for: what has to come, sent later by the same way, has come, and it has not.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import Roots
from support.netns import HERE, REMOTE, TIMEOUT_S, NetCli, Netns, quick, serve
from support.workload import ONE_RUNTIME, Share, kill_pid

pytestmark = ONE_RUNTIME

POOL = "10.176.0.0/12"

FRAMES = """
import socket, struct, sys
own, gateway, host = map(socket.inet_aton, sys.argv[1:4])
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
mac = link.getsockname()[4]

def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

def send(kind, body, sender=mac):
    link.send(b"\\xff" * 6 + sender + kind + body)

def ipv4(tag, source, target=gateway):
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + len(tag), 1, 0, 64, 17, 0, source, target)
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    return header + struct.pack(">HHHH", 7, 7777, 8 + len(tag), 0) + tag

def arp(tag, hardware, address):
    return struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, hardware, address, b"\\0" * 6, gateway) + tag

def advertisement(tag):
    body = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    body += struct.pack(">BBBBIII16s", 3, 4, 64, 0xC0, 86400, 14400, 0, b"\\xfd\\0" + b"\\0" * 14)
    addresses = b"\\xfe\\x80" + b"\\0" * 13 + b"\\1" + b"\\xff\\2" + b"\\0" * 13 + b"\\1"
    code = checksum(addresses + struct.pack(">II", len(body), 58) + body)
    body = body[:2] + struct.pack(">H", code) + body[4:]
    return struct.pack(">IHBB", 0x60000000, len(body), 58, 255) + addresses + body

IP, ARP, IPV6, VLAN = b"\\x08\\x00", b"\\x08\\x06", b"\\x86\\xdd", b"\\x81\\x00\\x00\\x05\\x08\\x00"
send(IP, ipv4(b"bad: from loopback", bytes([127, 0, 0, 2])))
send(IP, ipv4(b"bad: from the host", host))
send(IP, ipv4(b"bad: from a neighbour", own[:3] + bytes([own[3] ^ 1])))
send(IP, ipv4(b"bad: to loopback", own, bytes([127, 0, 0, 1])))
send(IP, ipv4(b"bad: another MAC", own), b"\\2" * 6)
send(ARP, arp(b"bad: arp for the gateway", mac, gateway))
send(ARP, arp(b"bad: arp with another MAC", b"\\2" * 6, own))
send(VLAN, ipv4(b"bad: vlan", own))
send(b"\\x00\\x26", b"\\x42\\x42\\x03" + b"bad: spanning tree".ljust(35))
send(IP, b"bad: short")
send(IPV6, advertisement(b""))
send(ARP, arp(b"good: arp", mac, own))
send(IP, ipv4(b"good: ip", own))
"""


@pytest.fixture
def remote(host: Netns) -> Iterator[Netns]:
    """A neighbour, whose ways to containers and to the host's loopback lead to the host."""
    made = Netns()
    try:
        host.join(made)
        made("ip", "route", "add", POOL, "via", HERE)
        made("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
        made("ip", "route", "add", "127.0.0.0/8", "via", HERE, "src", REMOTE)
        made.setting("ipv4/conf/wire/route_localnet", "1")
        yield made
    finally:
        made.close()


@pytest.fixture
def bento(remote: Netns, net_bento: NetCli) -> NetCli:
    return net_bento


def udp(space: Netns, timeout_s: float = TIMEOUT_S) -> socket.socket:
    made = space.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made.settimeout(timeout_s)
    return made


def echoed(space: Netns, host: str, port: int) -> bytes:
    with udp(space) as datagrams:
        datagrams.sendto(b"x", (host, port))
        return datagrams.recv(64)


def test_a_neighbour_reaches_published_ports_at_the_addresses_they_are_published_on_and_nothing_else(
    bento: NetCli, share: Share, host: Netns, remote: Netns
) -> None:
    serve(bento, share, "-p", "127.0.0.1:18998:80", "-p", "127.0.0.1:18998:80/udp", "-p", f"{HERE}:18999:80")
    address, gateway = bento.network("web")["IPAddress"], bento.network("web")["Gateway"]

    def probe() -> None:
        assert quick(remote, HERE, 18999) == REMOTE

    assert quick(host, "127.0.0.1", 18998) == gateway
    assert echoed(host, "127.0.0.1", 18998) == b"echo x"
    for where, port in (("127.0.0.1", 18998), (address, 80), (gateway, 80)):
        assert remote.is_shut(where, port, probe), (where, port)
    with udp(remote) as datagrams:
        for where, port in (("127.0.0.1", 18998), (address, 80)):
            datagrams.sendto(b"x", (where, port))
        probe()
        datagrams.setblocking(False)
        with pytest.raises(BlockingIOError):
            datagrams.recv(64)


def test_containers_of_another_engine_reach_published_ports_and_nothing_else(
    bento: NetCli, share: Share, host: Netns, roots: Roots, runtime: str
) -> None:
    serve(bento, share, "-p", "18999:80")
    script = share.script(
        "ask.py",
        "import select, socket, sys; s = socket.socket(); s.setblocking(False); s.connect_ex((sys.argv[1], 80));"
        f"p = socket.create_connection(({HERE!r}, 18999), 20); p.send(b'q'); print(p.makefile().read().split()[1]);"
        "print(select.select([], [s], [], 0)[1])",
    )
    other = NetCli(Roots(roots.root.with_name("l2"), roots.run_root.with_name("r2")), runtime, host)
    try:
        address = bento.network("web")["IPAddress"]
        said = other("run", "--rm", "--network", "bridge", *share.flags, "host", "python3", script, address).stdout
        assert said == "done\n[]\n"
    finally:
        other.remove_all()


def test_a_container_sends_as_itself_alone_also_after_a_firewall_was_loaded_anew(
    bento: NetCli, share: Share, host: Netns
) -> None:
    script = share.script("frames.py", FRAMES)
    bento.run("--name", "w", "--network", "bridge", *share.flags, "host", "sleep", "1000")
    network = bento.network("w")
    for _ in range(2):
        with host.inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))) as link:
            link.bind((network["Bridge"], 0))
            link.settimeout(TIMEOUT_S)
            bento("exec", "w", "python3", script, network["IPAddress"], network["Gateway"], HERE)
            seen: list[bytes] = []
            while not seen or b"good: ip" not in seen[-1]:
                frame, where = link.recvfrom(2048)
                if where[2] != socket.PACKET_OUTGOING:
                    seen.append(frame)
        bad = [frame for frame in seen if b"bad: " in frame or frame[12:14] not in (b"\x08\x00", b"\x08\x06")]
        assert bad == []
        assert any(b"good: arp" in frame for frame in seen)
        host("nft", "flush", "ruleset")
    for name, value in {"accept_ra": "0", "disable_ipv6": "1"}.items():
        assert host.setting(f"ipv6/conf/{network['Bridge']}/{name}") == value
    assert "10.1" not in host("ip", "-6", "route")


def test_a_container_comes_back_to_itself_by_its_own_port(
    bento: NetCli, share: Share, host: Netns, remote: Netns
) -> None:
    serve(bento, share, "-p", "18999:80", "-p", "18999:80/udp")
    gateway = bento.network("web")["Gateway"]
    script = share.script(
        "ask.py",
        "import socket, sys; s = socket.create_connection((sys.argv[1], 18999), 20); s.send(b'q');"
        "print(s.makefile().read().split()[-1]); u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "u.settimeout(20); u.sendto(b'x', (sys.argv[1], 18999)); print(u.recv(64).decode())",
    )
    for where in (HERE, gateway):
        assert bento("exec", "web", "python3", script, where).stdout.split("\n") == [gateway, "echo x", ""]


def test_a_host_that_did_not_forward_forwards_for_containers_alone_and_as_long_as_there_are_some(
    bento: NetCli, share: Share, host: Netns, remote: Netns
) -> None:
    far = Netns()
    before = host.setting("ipv4/ip_forward")  # a new namespace has what the machine has
    host.setting("ipv4/ip_forward", "0")
    host.join(far, "wire2", "198.51.100.1", "198.51.100.2")
    try:
        for end, network, gateway in ((remote, "198.51.100.0/24", HERE), (far, "192.0.2.0/24", "198.51.100.1")):
            end("ip", "route", "add", network, "via", gateway)
        serve(bento, share, "-p", "18999:80")
        assert host.setting("ipv4/ip_forward") == "1"
        with far.listen("198.51.100.2", 90):
            assert remote.is_shut("198.51.100.2", 90, lambda: quick(remote, HERE, 18999))
            client = "import socket; socket.create_connection(('198.51.100.2', 90), 20)"
            bento("exec", "web", "python3", "-c", client)
            host("nft", "flush", "ruleset")
            bento("doctor", "--fix")
            assert remote.is_shut("198.51.100.2", 90, lambda: quick(remote, HERE, 18999))
            bento("rm", "-f", "web")
            assert host.setting("ipv4/ip_forward") == "0"
            host.setting("ipv4/ip_forward", "1")  # its own decision: then it is nothing of Bento's
            serve(bento, share, "-p", "18999:80", name="other")
            remote.connect("198.51.100.2", 90).close()
            bento("rm", "-f", "other")
            assert host.setting("ipv4/ip_forward") == "1"
    finally:
        host.setting("ipv4/ip_forward", before)
        host("ip", "link", "del", "wire2", check=False)
        far.close()


@pytest.mark.parametrize("how", ["restart", "killed"])
def test_datagrams_go_to_what_has_the_port_now(
    bento: NetCli, share: Share, host: Netns, remote: Netns, how: str
) -> None:
    with udp(remote) as client:
        client.sendto(b"x", (HERE, 18999))  # remembered as going to the host itself
        serve(bento, share, "-p", "18999:80/udp", "-p", "18999:80", name="first")
        client.sendto(b"x", (HERE, 18999))
        assert client.recv(64) == b"echo x"
        state = bento.inspect("first")
        if how == "killed":
            for pid in (state["Monitor"]["Pid"], state["State"]["Pid"]):
                kill_pid(pid)
        else:
            quick(remote, HERE, 18999)
            bento("rm", "-f", "first")
            tracked = host.inside(lambda: Path("/proc/thread-self/net/nf_conntrack").read_text(encoding="ascii"))
            assert f"src={state['NetworkSettings']['IPAddress']} " not in tracked
        serve(bento, share, "-p", "18999:80/udp", "-p", "18999:80", name="second")
        client.sendto(b"y", (HERE, 18999))
        assert client.recv(64) == b"echo y"


def test_a_firewall_that_was_loaded_anew_opens_nothing_and_is_told_and_mended(
    bento: NetCli, share: Share, host: Netns, remote: Netns
) -> None:
    serve(bento, share, "-p", "18999:80", "-p", "127.0.0.1:18998:80/udp")
    serve(bento, share, "--network", "bridge", name="other")
    address, bridge = bento.network("web")["IPAddress"], bento.network("web")["Bridge"]
    with remote.listen(REMOTE, 90) as listener:

        def probe() -> None:
            host.connect(REMOTE, 90).close()
            listener.accept()[0].close()

        assert quick(remote, HERE, 18999) == REMOTE
        host("nft", "flush", "ruleset")
        assert remote.is_refused(HERE, 18999)
        assert remote.is_shut(address, 80, lambda: remote.is_refused(HERE, 18999))
        assert remote.is_shut("127.0.0.1", 18998, lambda: remote.is_refused(HERE, 18999))
        told = bento("doctor", check=False)
        assert (told.returncode, told.stdout) == (1, f"wall: rules in nftables table {bridge}\n")
        assert "(put back)" in bento("doctor", "--fix").stdout
        assert quick(remote, HERE, 18999) == REMOTE
        assert echoed(host, "127.0.0.1", 18998) == b"echo x"
        bento("exec", "other", "python3", "-c", f"import socket; socket.create_connection(({REMOTE!r}, 90), 20)")
        probe()
    host("nft", "flush", "ruleset")
    bento("run", "--rm", "--network", "bridge", "host", "true")  # the next one puts back what all need
    assert quick(remote, HERE, 18999) == REMOTE

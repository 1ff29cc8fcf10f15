"""Other firewalls, really started beside Bento on one host: they open nothing, and what they take away is put back."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from support import procs
from support.firewalls import DockerBeside, Firewalld, PodmanBeside, Ufw
from support.netns import HERE, REMOTE, TIMEOUT_S, NetCli, Netns, quick, serve
from support.workload import ONE_RUNTIME, Share

pytestmark = ONE_RUNTIME

ASK = (
    "import socket, sys; s = socket.socket(); s.settimeout(20); sys.exit(s.connect_ex((sys.argv[1], int(sys.argv[2]))))"
)


class Place:
    """A server with two published ports, a client on the same bridge, and what a neighbour of the host reaches."""

    def __init__(self, bento: NetCli, share: Share, host: Netns, remote: Netns) -> None:
        self._bento, self._host, self._remote = bento, host, remote
        serve(bento, share, "-p", "18999:80", "-p", "127.0.0.1:18998:80")
        bento.run("--name", "client", "--network", "bridge", "host", "sleep", "1000")
        network = bento.network("web")
        self.address, self.bridge = network["IPAddress"], network["Bridge"]

    def works(self) -> bool:
        """Whether all is reached that is to be: a port from outside, and on the loopback, and what containers ask."""
        with self._remote.listen(REMOTE, 90):
            is_answered = self.asks(REMOTE, 90) and self.asks(self.address, 80)
        return is_answered and quick(self._remote, HERE, 18999) == REMOTE and self.is_served_here()

    def asks(self, address: str, port: int) -> bool:
        """Whether a container gets a connection."""
        return self._bento("exec", "client", "python3", "-c", ASK, address, str(port), check=False).returncode == 0

    def is_served_here(self) -> bool:
        """Whether the host itself reaches the server."""
        return bool(quick(self._host, "127.0.0.1", 18998) and quick(self._host, self.address, 80))

    def is_shut(self, *more: tuple[str, int], but_published: bool = False) -> bool:
        """Whether a neighbour reaches nothing that it may not, by the time that another connection was answered."""
        wheres = [(self.address, 80), ("127.0.0.1", 18998), *more, *([] if but_published else [(HERE, 18999)])]
        begun = [self._remote.inside(partial(self._begin, where)) for where in wheres]
        try:
            self._ask_for_the_host()
            done = select.select([], begun, [], 0)[1]
            return all(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for one in done)
        finally:
            for one in begun:
                one.close()

    def _ask_for_the_host(self) -> None:
        """Have the host answer by ARP, which no firewall here looks at, what it was asked behind all others."""
        self._remote("ip", "neigh", "del", HERE, "dev", "wire")
        with self._remote.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as datagrams:
            datagrams.sendto(b"x", (HERE, 9))
        known = partial(self._remote, "ip", "neigh", "show", HERE)
        procs.wait_until(lambda: "lladdr" in known(), timeout_s=TIMEOUT_S, what="an answer by ARP")

    def _begin(self, where: tuple[str, int]) -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        made.connect_ex(where)
        return made


@pytest.fixture
def remote(host: Netns) -> Iterator[Netns]:
    """A neighbour, whose ways to containers and to the host's loopback lead to the host."""
    made = Netns()
    try:
        host.setting("ipv4/ip_forward", "0")
        host.join(made)
        made("ip", "route", "add", "10.176.0.0/12", "via", HERE)
        made("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
        made("ip", "route", "add", "127.0.0.0/8", "via", HERE, "src", REMOTE)
        made.setting("ipv4/conf/wire/route_localnet", "1")
        yield made
    finally:
        made.close()


@pytest.fixture
def place(remote: Netns, net_bento: NetCli, share: Share, host: Netns) -> Place:
    return Place(net_bento, share, host, remote)


def test_ufw_opens_nothing_and_lets_through_what_it_is_told_to(
    place: Place, net_bento: NetCli, host: Netns, tmp_path: Path
) -> None:
    assert place.is_shut(but_published=True)
    assert not place.is_shut()
    with Ufw(host, tmp_path) as ufw:
        ufw("--force", "enable")
        assert place.is_shut()  # it drops what is forwarded, published or not
        assert place.is_served_here()
        ufw("route", "allow", "in", "on", place.bridge)
        ufw("route", "allow", "out", "on", place.bridge)
        assert place.works()
        assert place.is_shut(but_published=True)
        ufw("default", "allow", "routed")
        host("nft", "flush", "ruleset")
        assert place.is_shut()
        assert "(put back)" in net_bento("doctor", "--fix").stdout
        ufw("reload")
        assert place.works()
        assert place.is_shut(but_published=True)
    assert place.works()


def test_firewalld_opens_nothing_and_lets_through_what_it_is_told_to(
    place: Place, net_bento: NetCli, host: Netns, remote: Netns, tmp_path: Path
) -> None:
    with Firewalld(host, tmp_path) as firewalld:
        firewalld.start()
        assert quick(remote, HERE, 18999) == REMOTE
        assert not place.asks(REMOTE, 90)  # refused by the zone that the bridge is in
        assert place.is_shut(but_published=True)
        firewalld("--permanent", "--zone=trusted", f"--add-interface={place.bridge}")
        firewalld("--reload")
        assert place.works()
        assert place.is_shut(but_published=True)
        firewalld("--panic-on")
        assert place.is_shut()
        firewalld("--panic-off")
        assert place.works()
        host("nft", "flush", "ruleset")
        assert place.is_shut()
        assert "(put back)" in net_bento("doctor", "--fix").stdout
        firewalld.stop()
        firewalld.start()
        assert place.works()
        assert place.is_shut(but_published=True)
    assert place.works()


def is_served(remote: Netns, port: int) -> bool:
    try:
        with remote.connect(HERE, port) as connection:
            return connection.recv(64) == b"served\n"
    except OSError:  # it does not listen yet
        return False


@pytest.mark.parametrize("kind", [DockerBeside, PodmanBeside])
def test_other_engines_that_come_later_work_beside_bento_and_reach_published_ports_alone(
    kind: type[DockerBeside | PodmanBeside], place: Place, net_bento: NetCli, host: Netns, remote: Netns, tmp_path: Path
) -> None:
    """Bento has turned ip_forward on, and forwards for its own containers, and for what others' rules translate."""
    with kind(host, tmp_path / "other") as other:
        address = other.serve("one", 18888)
        other.serve("two", 18889)
        remote("ip", "route", "add", f"{address}/32", "via", HERE)
        for port in (18888, 18889):
            procs.wait_until(
                partial(is_served, remote, port), timeout_s=TIMEOUT_S, what="an answer by a published port"
            )
        assert other.ask("two", address, 80) == "served"
        with remote.listen(REMOTE, 90) as listener:
            listener.settimeout(TIMEOUT_S)
            thread = threading.Thread(target=lambda: listener.accept()[0].close())
            thread.start()
            assert other.ask("two", REMOTE, 90) == ""
            thread.join()
        assert place.works()
        assert place.is_shut((address, 80), but_published=True)
        host("nft", "flush", "ruleset")
        assert place.is_shut()
        assert "(put back)" in net_bento("doctor", "--fix").stdout
        assert place.works()
        assert place.is_shut(but_published=True)
    assert place.works()

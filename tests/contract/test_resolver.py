"""The resolver against real sockets and namespaces: what members ask is answered, and follows what changes at once."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento import packets
from bento.drivers.resolver.base import Member, Place
from bento.drivers.resolver.process import ResolverProcess
from bento.errors import RuntimeFailed, UsageError
from bento.kernel.net import redirect
from bento.kernel.process import pidfd
from bento.model.container import ProcessIdentity
from bento.model.network import NAME_SERVER

from support import dns, procs
from support.netns import Netns

UPSTREAM, REFUSING, DEAF = "127.0.0.53", "127.0.0.54", "127.0.0.55"
MEMORY_KIB, MEMBERS = 10240, 200


class World:
    """A host, its resolver, and members in namespaces of their own. Close it: it looks for what is left."""

    def __init__(self, run_root: Path) -> None:
        self.host = Netns()
        self.run_root = run_root
        self.driver = ResolverProcess(run_root)
        self.namespaces: list[Netns] = []

    def namespace(self) -> Netns:
        self.namespaces.append(Netns())
        return self.namespaces[-1]

    def put(
        self, where: Netns, number: int, *places: Place, servers: tuple[str, ...] = (), cut: bool = False
    ) -> Member:
        member = Member(
            container_id=f"{number:064x}", process=identity(where), places=places, servers=servers, is_cut_off=cut
        )
        self.host.inside(lambda: self.driver.put(member))
        return member

    def process(self) -> int:
        """Return a pidfd of the resolver."""
        assert self.driver.is_alive()
        connection = packets.connect(self.run_root / "resolver", "control")
        fd = os.pidfd_open(packets.peer_pid(connection))
        os.close(connection)
        return fd

    def close(self) -> None:
        fd = self.process() if self.driver.is_alive() else None
        for namespace in self.namespaces:
            namespace.close()
        if fd is not None:
            assert pidfd.wait(fd, dns.TIMEOUT_S), "the resolver outlives its members"
            os.close(fd)
        for container_id in self.driver.leftovers():
            self.driver.forget(container_id)
        assert [path.name for path in self.run_root.glob("resolver/*")] in ([], ["control"])
        self.host.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def identity(where: Netns) -> ProcessIdentity:
    fd, found = pidfd.identify(where.pid)
    os.close(fd)
    return found


def place(network: str, *names: str, at: str, v6: str = "") -> Place:
    subnet = f"{at.rpartition('.')[0]}.0/24"
    return Place(network=network, names=names, addresses=(at, *((v6,) if v6 else ())), subnets=(subnet, "fd00::/64"))


def values(answer: dns.Answer) -> list[str]:
    assert answer.code == dns.NO_ERROR
    assert all(lifetime_s == 0 for lifetime_s in answer.lifetimes), "an answer that is kept does not follow"
    return answer.values


def is_unknown(where: Netns, name: str, kind: int = dns.A) -> bool:
    return dns.ask(where, name, kind).code == dns.NAME_ERROR


def test_names_aliases_and_addresses_are_resolved_by_udp_and_tcp(world):
    web, db = world.namespace(), world.namespace()
    world.put(web, 1, place("front", "web", "www.example", at="10.0.0.2", v6="fd00::2"))
    world.put(db, 2, place("front", "db", "store", at="10.0.0.3"))
    assert (
        values(dns.ask(web, "db")) == values(dns.ask(web, "STORE")) == values(dns.ask(web, "db.front")) == ["10.0.0.3"]
    )
    assert values(dns.ask(db, "www.example")) == ["10.0.0.2"]
    assert values(dns.ask(db, "web", dns.AAAA)) == ["fd00::2"]
    assert values(dns.ask(web, "db", dns.AAAA)) == values(dns.ask(web, "db", dns.MX)) == []
    assert values(dns.ask(web, "3.0.0.10.in-addr.arpa", dns.PTR)) == ["db.front"]
    reverse = ".".join(reversed("fd000000000000000000000000000002")) + ".ip6.arpa"
    assert values(dns.ask(db, reverse, dns.PTR)) == ["web.front"]
    assert is_unknown(web, "nothing")
    assert is_unknown(web, "9.0.0.10.in-addr.arpa", dns.PTR)
    assert [values(answer) for answer in dns.ask_by_tcp(web, "db", "web")] == [["10.0.0.3"], ["10.0.0.2"]]


def test_links_are_the_linking_members_alone(world):
    web, db = world.namespace(), world.namespace()
    world.put(web, 1, replace(place("front", "web", at="10.0.0.2"), links=("db:store",)))
    world.put(db, 2, place("front", "db", at="10.0.0.3"))
    assert values(dns.ask(web, "store")) == values(dns.ask(web, "store.front")) == ["10.0.0.3"]
    assert is_unknown(db, "store")


def test_a_member_resolves_what_is_on_its_own_networks_alone(world):
    web, app, db = (world.namespace() for _ in range(3))
    world.put(web, 1, place("front", "web", at="10.0.0.2"))
    both = world.put(app, 2, place("front", "app", at="10.0.0.3"), place("back", "app", at="10.0.1.3"))
    world.put(db, 3, place("back", "db", at="10.0.1.2"))
    assert values(dns.ask(app, "web")) == ["10.0.0.2"]
    assert values(dns.ask(app, "db")) == ["10.0.1.2"]
    assert values(dns.ask(web, "app")) == ["10.0.0.3"]
    assert values(dns.ask(db, "app")) == ["10.0.1.3"]
    assert is_unknown(web, "db")
    assert is_unknown(db, "web")
    world.host.inside(lambda: world.driver.put(replace(both, places=both.places[1:])))  # disconnected
    assert is_unknown(app, "web")
    assert is_unknown(web, "app")
    assert values(dns.ask(app, "db")) == ["10.0.1.2"]


def test_names_follow_renames_drops_and_the_ends_of_members(world):
    web, db = world.namespace(), world.namespace()
    world.put(web, 1, place("front", "web", at="10.0.0.2"))
    world.put(db, 2, place("front", "db", at="10.0.0.3"))
    assert values(dns.ask(web, "db")) == ["10.0.0.3"]
    renamed = world.put(db, 2, place("front", "store", at="10.0.0.3"))
    assert values(dns.ask(web, "store")) == ["10.0.0.3"]
    assert is_unknown(web, "db")
    world.driver.drop(renamed.container_id)
    assert is_unknown(web, "store")
    assert world.driver.leftovers() == []
    world.put(db, 2, place("front", "db", at="10.0.0.3"))
    db.close()
    world.namespaces.remove(db)
    procs.wait_until(lambda: is_unknown(web, "db"), timeout_s=dns.TIMEOUT_S, what="the end of a name")
    assert world.driver.leftovers() == [renamed.container_id]
    assert world.driver.known()[renamed.container_id].process == renamed.process
    world.driver.forget(renamed.container_id)
    assert world.driver.leftovers() == []
    world.host.inside(lambda: world.driver.put(renamed))  # too late: that is no error, and brings nothing back
    assert is_unknown(web, "store")


def test_one_name_of_several_members_is_answered_with_each_first_in_its_turn(world):
    web = world.namespace()
    for number in range(3):
        world.put(web, number, place("front", "workers", at=f"10.0.0.{number}"))
    answers = [values(dns.ask(web, "workers")) for _ in range(3)]
    assert sorted(answer[0] for answer in answers) == sorted(answers[0]) == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]


def test_more_addresses_than_fit_come_by_tcp(world):
    web = world.namespace()
    addresses = tuple(f"10.0.0.{number}" for number in range(100))
    world.put(web, 1, Place(network="front", names=("workers",), addresses=addresses))
    plain, large = dns.ask(web, "workers"), dns.ask(web, "workers", edns=4096)
    assert plain.is_cut
    assert large.is_cut
    assert 0 < len(plain.values) < len(large.values) < len(addresses)
    [whole] = dns.ask_by_tcp(web, "workers")
    assert not whole.is_cut
    assert sorted(whole.values) == sorted(addresses)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_was_ended_or_stands_still_is_started_again(world, how):
    web, db = world.namespace(), world.namespace()
    world.put(web, 1, place("front", "web", at="10.0.0.2"))
    world.put(db, 2, place("front", "db", at="10.0.0.3"))
    fd = world.process()
    pidfd.send(fd, how)
    assert how == signal.SIGSTOP or pidfd.wait(fd, dns.TIMEOUT_S)
    world.host.inside(world.driver.resume)
    assert pidfd.wait(fd, dns.TIMEOUT_S)
    os.close(fd)
    assert values(dns.ask(web, "db")) == ["10.0.0.3"]
    assert values(dns.ask(db, "web")) == ["10.0.0.2"]
    world.driver.end()
    world.put(web, 1, place("front", "www", at="10.0.0.2"))
    assert values(dns.ask(db, "www")) == ["10.0.0.2"]


def test_no_question_is_lost_while_one_begins_and_members_come_and_go(world):
    web, db = world.namespace(), world.namespace()
    world.put(web, 1, place("front", "web", at="10.0.0.2"))
    assert values(dns.ask(web, "web")) == ["10.0.0.2"]  # asked before the process can have begun
    for turn in range(20):
        world.put(db, 2, place("front", "db", f"turn{turn}", at="10.0.0.3"))
        for _ in range(30):
            assert values(dns.ask(web, "web")) == ["10.0.0.2"]
        assert values(dns.ask(web, f"turn{turn}")) == ["10.0.0.3"]


def test_what_is_not_known_is_asked_of_servers_in_their_order(world):
    web = world.namespace()
    with (
        dns.Server(world.host, UPSTREAM, dns.answering("192.0.2.7", cut=True)) as upstream,
        dns.Server(world.host, REFUSING, dns.answering("0.0.0.0", code=dns.SERVER_FAILURE)) as refusing,
    ):
        world.put(web, 1, place("front", "web", at="10.0.0.2"), servers=(DEAF, REFUSING, UPSTREAM))
        by_udp = dns.ask(web, "example.org")
        assert (by_udp.identifier, by_udp.is_cut) == (7, True)
        assert dns.ask_by_tcp(web, "example.org")[0].values == ["192.0.2.7"]
        assert len(upstream.asked) == len(refusing.asked) == 1
        assert (
            upstream.asked[0][:2] != dns.question("example.org")[:2] or refusing.asked[0][:2] != upstream.asked[0][:2]
        )
        assert is_unknown(web, "nothing")  # a name without a dot is not told to others
        assert len(upstream.asked) == 1
        world.put(web, 1, place("front", "web", at="10.0.0.2"), servers=(DEAF, REFUSING))
        assert dns.ask(web, "example.org").code == dns.SERVER_FAILURE
        world.put(web, 1, place("front", "web", at="10.0.0.2"), servers=(UPSTREAM,), cut=True)
        assert is_unknown(web, "example.org")
        assert len(upstream.asked) == 1


def test_a_name_server_in_the_container_has_port_53_to_itself(world):
    def bound(kind: socket.SocketKind) -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.bind(("0.0.0.0", 53))
        return made

    web = world.namespace()
    world.put(web, 1, place("front", "web", at="10.0.0.2"))
    with web.inside(lambda: bound(socket.SOCK_DGRAM)), web.inside(lambda: bound(socket.SOCK_STREAM)) as listener:
        listener.listen()
        assert values(dns.ask(web, "web")) == ["10.0.0.2"]
        assert values(dns.ask_by_tcp(web, "web")[0]) == ["10.0.0.2"]


def test_it_runs_without_rights_and_is_reached_by_members_alone(world):
    web = world.namespace()
    world.put(web, 1, place("front", "web", at="10.0.0.2"))
    fd = world.process()
    pid = int(Path(f"/proc/self/fdinfo/{fd}").read_text().partition("Pid:")[2].split()[0])
    os.close(fd)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert set(status["Uid"].split()) == {"65534"}
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) != os.getsid(0)
    assert NAME_SERVER not in world.host("ss", "-Hlntu") + world.host("ss", "-Hntu")


def test_the_host_itself_is_refused(world):
    with pytest.raises(UsageError, match="the host itself"):
        world.put(world.host, 1, place("front", "web", at="10.0.0.2"))
    assert not world.driver.is_alive()
    world.driver.drop(f"{1:064x}")
    world.driver.end()
    assert list(world.run_root.iterdir()) == []


def test_what_makes_no_sense_is_refused_and_changes_nothing(world):
    web, db = world.namespace(), world.namespace()
    world.put(web, 1, place("front", "web", at="10.0.0.2"))
    with pytest.raises(RuntimeFailed, match="refuses a member"):
        world.put(db, 2, place("front", "db", at="10.0.0.400"))
    with pytest.raises(UsageError, match="NUL"):
        world.put(db, 2, place("front", "db\0server=192.0.2.1", at="10.0.0.3"))
    assert os.listdir(world.run_root / "resolver").count(f"{2:064x}") == 0
    assert values(dns.ask(web, "web")) == ["10.0.0.2"]


def test_it_takes_no_more_memory_than_it_may(world, monkeypatch):
    web = world.namespace()
    monkeypatch.setattr(redirect, "redirect_names", lambda *_: None)  # one namespace stands for all
    for number in range(MEMBERS):
        world.put(
            web, number, place("front", f"name{number}", f"alias{number}", at=f"10.0.{number}.2", v6=f"fd00::{number}")
        )
    world.driver.end()
    world.host.inside(world.driver.resume)  # by now its code has been compiled
    fd = world.process()
    pid = int(Path(f"/proc/self/fdinfo/{fd}").read_text().partition("Pid:")[2].split()[0])
    os.close(fd)
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    [resident_kib] = [int(row.split()[1]) for row in rows if row.startswith("VmRSS:")]
    assert resident_kib <= MEMORY_KIB

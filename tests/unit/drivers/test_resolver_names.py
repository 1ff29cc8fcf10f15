"""Which names a member sees, and the servers of the host as its file names them."""

from __future__ import annotations

import pytest

from bento.drivers.resolver.server.names import Names, Place, packed
from bento.drivers.resolver.server.upstream import HostServers


def put(names: Names, member: str, *places: tuple[str, str, str]) -> None:
    """Each place: network, names, addresses."""
    names.put(member, [Place(network, n.split(), a.split(), ["10.0.0.0/24", "fd00::/64"]) for network, n, a in places])


def test_the_first_network_with_a_name_wins_unless_the_name_says_which():
    names = Names()
    put(names, "app", ("front", "app", "10.0.0.1"), ("Back.End", "app", "10.0.1.1"))
    put(names, "one", ("front", "db", "10.0.0.2"))
    put(names, "two", ("Back.End", "db", "10.0.1.2"))
    assert names.addresses("app", "db") == [packed("10.0.0.2")]
    assert names.addresses("app", "db.back.end") == [packed("10.0.1.2")]
    assert names.addresses("app", "db.elsewhere") is None
    assert names.addresses("one", "db.back.end") is None
    assert names.addresses("stranger", "db") is None
    names.drop("one")
    assert names.addresses("app", "db") == [packed("10.0.1.2")]


def test_a_name_of_several_has_all_of_their_addresses_until_the_last_has_gone():
    names = Names()
    put(names, "a", ("front", "app worker", "10.0.0.1 fd00::1"))
    put(names, "b", ("front", "worker", "10.0.0.2"))
    assert names.addresses("a", "worker") == [packed("10.0.0.1"), packed("fd00::1"), packed("10.0.0.2")]
    names.drop("a")
    names.drop("a")
    assert names.addresses("b", "worker") == [packed("10.0.0.2")]
    assert names.addresses("b", "app") is None
    names.drop("b")
    assert not names._by_name
    assert not names._by_address


def test_a_link_is_an_alias_for_its_holder_alone():
    names = Names()
    links = ["DB:Store", "db:web", "gone:web", "gone:worker"]
    names.put("app", [Place("front", ["app"], ["10.0.0.1"], []), Place("back", ["app"], ["10.0.1.1"], [], links)])
    put(names, "db", ("back", "db", "10.0.1.2"), ("front", "db", "10.0.0.2"))
    put(names, "web", ("front", "web", "10.0.0.3"))
    assert names.addresses("app", "store") == names.addresses("app", "store.back") == [packed("10.0.1.2")]
    assert names.addresses("app", "web") == [packed("10.0.1.2")], "an alias comes first"
    assert names.addresses("app", "db") == [packed("10.0.0.2")]
    assert names.addresses("app", "worker") is None
    assert names.addresses("db", "store") is names.addresses("web", "store") is None
    names.drop("db")
    assert names.addresses("app", "store") is None
    assert names.addresses("app", "web") == [packed("10.0.0.3")]


def test_an_address_is_called_what_its_holder_is_first():
    names = Names()
    put(names, "a", ("front", "web www", "10.0.0.1 fd00::1"), ("back", "web", "10.0.1.1"))
    put(names, "b", ("front", "db", "10.0.0.2"))
    assert names.name_of("b", packed("10.0.0.1")) == names.name_of("b", packed("fd00::1")) == "web.front"
    assert names.name_of("b", packed("10.0.1.1")) is None  # not on a network of its own: others may know it
    assert names.name_of("b", packed("10.0.0.9")) == names.name_of("b", packed("fd00::9")) == ""
    put(names, "c", ("front", "store", "10.0.0.1"))  # an address that was taken over
    names.drop("a")
    assert names.name_of("b", packed("10.0.0.1")) == "store.front"


@pytest.mark.parametrize("places", [("front", "web", "10.0.0"), ("front", "web", "10.0.0.300"), ("front", "web", "x")])
def test_what_is_no_address_is_refused(places):
    with pytest.raises(OSError):  # noqa: PT011  # inet_pton says no more
        put(Names(), "a", places)


def test_the_servers_of_the_host_are_those_that_its_file_names_now(tmp_path):
    path = tmp_path / "resolv.conf"
    servers = HostServers(str(path))
    assert servers.now() == ("127.0.0.1",)
    path.write_text(
        "# nameserver 192.0.2.9\nsearch x\nnameserver 192.0.2.1\n  nameserver fe80::1%eth0 # router\nnameserver\n"
    )
    assert servers.now() == servers.now() == ("192.0.2.1", "fe80::1%eth0")
    (tmp_path / "new").write_text("nameserver 192.0.2.22\n")
    (tmp_path / "new").rename(path)
    assert servers.now() == ("192.0.2.22",)
    path.unlink()
    assert servers.now() == ("192.0.2.22",)
    path.write_text("search x\n")
    assert servers.now() == ("127.0.0.1",)

"""What the resolver is told of containers: from their start to their end, and of every change between."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from bento.docker.network import endpoints
from bento.drivers.monitor.base import Launched
from bento.engine.facade import EngineFacade
from bento.engine.lifecycle import connecting, reconcile
from bento.engine.lifecycle.remove import rename
from bento.engine.lifecycle.start import start
from bento.engine.maintenance import doctor
from bento.engine.resources import names, networks
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.engine.views import info
from bento.errors import RuntimeFailed, UsageError
from bento.model.container import Container, Sandbox, Status
from bento.model.network import Attachment, Connection, NetworkOptions
from bento.testing.drivers import FakeDrivers

BRIDGED = Connection(bridge="fake0", address="10.0.0.2", prefix=24, gateway="10.0.0.1", mac="02:00:00:00:00:02")


@pytest.fixture
def drivers(drivers: FakeDrivers) -> FakeDrivers:
    for name in ("front", "back"):
        networks.create(drivers, NetworkOptions(name=name, ipv6=name == "front", internal=name == "back"))
    return drivers


def connection(drivers: FakeDrivers, network: str, *aliases: str) -> Connection:
    found = drivers.store.find_network(network)
    return drivers.network.choose(found, f"{1:064x}", (), Attachment(network=network, aliases=aliases))


def run(drivers: FakeDrivers, *connections: Connection, **spec: Any) -> Container:
    """Store a container that runs on these, of which the resolver was told."""
    attachments = tuple(Attachment(network=one.network, aliases=one.aliases) for one in connections)
    container, _ = drivers.server(
        connections=connections, network=attachments[0].network, attachments=attachments, **spec
    )
    names.publish(drivers, container)
    return container


def stopped(drivers: FakeDrivers) -> Container:
    """Store a container that is to run on a network."""
    asked = (Attachment(network="front"),)
    return drivers.add("web", None, status=Status.STOPPED, network="front", attachments=asked, command=("server",))


def known(drivers: FakeDrivers) -> dict[str, tuple[str, ...]]:
    """Return the names of all members, by network."""
    return {place.network: place.names for one in drivers.resolver.members.values() for place in one.places}


def test_a_container_is_known_by_all_that_is_said_of_it(drivers: FakeDrivers) -> None:
    sandbox = Sandbox(dns=("192.0.2.53",))
    web = run(drivers, connection(drivers, "front", "www", "web"), BRIDGED, hostname="web.example", sandbox=sandbox)
    [member] = drivers.resolver.members.values()
    [place] = member.places
    assert (member.container_id, member.servers, member.is_cut_off) == (web.id, ("192.0.2.53",), False)
    assert place.names == ("web", "www", web.id[:12], "web.example")
    assert place.addresses == ("10.0.2.2", "fd00:2::2")
    assert place.subnets == ("10.0.2.2/24", "fd00:2::2/64")


@pytest.mark.parametrize(("others", "is_cut_off"), [((), True), ((BRIDGED,), False)])
def test_on_internal_networks_alone_no_other_server_is_asked(
    drivers: FakeDrivers, others: tuple[Connection, ...], is_cut_off: bool
) -> None:
    run(drivers, connection(drivers, "back"), *others)
    assert [member.is_cut_off for member in drivers.resolver.members.values()] == [is_cut_off]


def test_a_start_tells_of_a_container_before_its_program_runs(drivers: FakeDrivers) -> None:
    main, monitor = drivers.processes.add("server"), drivers.processes.add("conmon")
    drivers.monitor.launched = Launched(main.identity.pid, monitor.identity.pid)
    told: list[dict[str, tuple[str, ...]]] = []
    begin = drivers.fake_runtime.start

    def remember(container_id: str) -> None:
        told.append(known(drivers))
        begin(container_id)

    drivers.fake_runtime.start = remember  # type: ignore[method-assign]
    web = stopped(drivers)
    start(drivers, web.id)
    assert told == [{"front": ("web", web.id[:12])}]


def test_a_start_that_cannot_tell_of_it_is_undone(drivers: FakeDrivers) -> None:
    main, monitor = drivers.processes.add("server"), drivers.processes.add("conmon")
    drivers.monitor.launched = Launched(main.identity.pid, monitor.identity.pid)
    drivers.resolver.put_error = RuntimeFailed("the resolver of names does not start")
    web = stopped(drivers)
    with pytest.raises(RuntimeFailed, match="does not start"):
        start(drivers, web.id)
    assert drivers.store.get(web.id).status is Status.STOPPED
    assert not drivers.network.made


def test_a_stop_leaves_nothing_that_was_told_and_asks_nothing(drivers: FakeDrivers) -> None:
    run(drivers, connection(drivers, "front"))
    drivers.resolver.is_running = False
    assert stop_containers(drivers, ["web"], StopOptions())[0].error is None
    assert drivers.resolver.members == {}
    assert not drivers.resolver.is_running


def test_a_container_that_ended_unseen_leaves_nothing_either(drivers: FakeDrivers) -> None:
    container, main = drivers.server(connections=(connection(drivers, "front"),), network="front")
    names.publish(drivers, container)
    drivers.processes.end(main, 0)
    assert reconcile.find(drivers, container.id).status is Status.STOPPED
    assert drivers.resolver.members == {}


def test_a_name_that_it_has_is_refused(drivers: FakeDrivers) -> None:
    box = drivers.add("web", None)
    with pytest.raises(UsageError, match="has this name already"):
        EngineFacade(drivers).rename(box.id, box.name)


def test_a_rename_is_followed_or_does_not_happen(drivers: FakeDrivers) -> None:
    run(drivers, connection(drivers, "front", "www"))
    rename(drivers, "web", "shop")
    assert known(drivers)["front"][:2] == ("shop", "www")
    drivers.resolver.put_error = RuntimeFailed("the resolver of names does not start")
    with pytest.raises(RuntimeFailed):
        rename(drivers, "shop", "store")
    assert drivers.store.find("shop").name == "shop"


def test_of_a_rename_that_comes_between_the_later_name_stays(drivers: FakeDrivers) -> None:
    container = run(drivers, connection(drivers, "front"))
    drivers.store.modify(container.id, lambda c: replace(c, name="shop"))
    names.publish(drivers, container)  # of a command that has read the record before
    assert known(drivers)["front"][0] == "shop"


def test_connect_and_disconnect_are_followed_in_its_files_too(drivers: FakeDrivers) -> None:
    container = run(drivers, BRIDGED)
    assert drivers.resolver.members == {}
    connecting.connect(drivers, "front", "web", Attachment(network="front", aliases=("www",)))
    connecting.connect(drivers, "back", "web")
    assert known(drivers) == {"front": ("web", "www", container.id[:12]), "back": ("web", container.id[:12])}
    connecting.disconnect(drivers, "front", "web")
    assert list(known(drivers)) == ["back"]
    connecting.disconnect(drivers, "back", "web")
    assert drivers.resolver.members == {}
    assert drivers.fake_runtime.calls.count(("etc", container.id)) == 4


def test_links_are_told_and_shown_and_need_names(drivers: FakeDrivers) -> None:
    run(drivers, connection(drivers, "front"))
    connecting.connect(drivers, "back", "web", Attachment(network="back", links=("db:store", "db:store")))
    [member] = drivers.resolver.members.values()
    assert [place.links for place in member.places] == [(), ("db:store",)]
    assert endpoints(drivers.store.find("web"), {})["back"]["Links"] == ["db:store"]
    with pytest.raises(UsageError, match="no names on network bridge"):
        connecting.connect(drivers, "bridge", "web", Attachment(network="bridge", links=("db:store",)))


def test_a_connect_that_cannot_be_told_is_undone(drivers: FakeDrivers) -> None:
    container = run(drivers, BRIDGED)
    drivers.resolver.put_error = RuntimeFailed("the resolver of names does not start")
    with pytest.raises(RuntimeFailed, match="does not start"):
        connecting.connect(drivers, "front", "web")
    assert drivers.store.get(container.id) == container
    assert drivers.resolver.members == {}


def test_the_next_command_starts_a_killed_resolver_where_it_is_needed(drivers: FakeDrivers) -> None:
    engine = EngineFacade(drivers)
    run(drivers, connection(drivers, "front"))
    drivers.resolver.is_running = False
    engine.containers()
    assert drivers.resolver.is_running
    drivers.resolver.is_running = False
    engine.get("web")
    assert drivers.resolver.is_running
    erased = stop_containers(drivers, ["web"], StopOptions())[0]
    assert erased.error is None
    drivers.resolver.is_running = False
    engine.containers(all=True)
    assert not drivers.resolver.is_running


def test_what_keeps_it_from_starting_is_a_warning(
    drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeFailed("the resolver of names does not start")

    run(drivers, connection(drivers, "front"))
    monkeypatch.setattr(drivers.resolver, "resume", fail)
    assert [one.name for one in EngineFacade(drivers).containers()] == ["web"]
    assert "do not find each other by name: the resolver of names does not start" in capsys.readouterr().err


def test_doctor_finds_what_the_resolver_was_not_told_and_what_is_left(
    drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_SECOND_LOOK_S", 0.0)
    container = run(drivers, connection(drivers, "front"))
    drivers.storage.prepare(container.id)
    assert doctor.examine(drivers) == []
    drivers.store.modify(container.id, lambda c: replace(c, name="shop"))
    gone = replace(drivers.resolver.members[container.id], container_id=f"{99:064x}")
    drivers.resolver.put(gone)
    drivers.resolver.ended.add(gone.container_id)
    found = doctor.examine(drivers, fix=True)
    assert [(one.kind, one.what, one.is_fixed) for one in found] == [
        ("missing", "container shop is not found by its names", True),
        ("name", "of a container that has ended", True),
    ]
    assert list(drivers.resolver.members) == [container.id]
    assert known(drivers)["front"][0] == "shop"
    monkeypatch.setattr(drivers.resolver, "resume", lambda: None)
    drivers.resolver.is_running = False
    assert [one.what for one in doctor.examine(drivers)] == ["no process resolves the names of containers"]


def test_info_says_whether_the_resolver_is_there_where_it_is_needed(drivers: FakeDrivers) -> None:
    def shown() -> str:
        found = info.describe(drivers, drivers.store.list(), image_count=0, warnings=())
        return str(found["Resolver"])

    assert shown() == "idle"
    run(drivers, connection(drivers, "front"))
    assert shown() == "running"
    drivers.resolver.is_running = False
    assert shown() == "missing"

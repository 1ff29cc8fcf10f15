"""A connection is recorded before it is made, taken down by the stop, and forgotten only when that is done."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.engine.lifecycle.create import create
from bento.engine.maintenance import doctor
from bento.engine.resources import networking
from bento.engine.stop.erase import erase
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.errors import CleanupFailed, Conflict, PortTaken, RuntimeFailed, UsageError
from bento.model.container import Container, Ports, Run, Status
from bento.model.create import CreateOptions
from bento.model.network import Attachment, Connection, Network, Port
from bento.model.stop import StopReport, StopSettings
from bento.testing.drivers import FakeDrivers
from bento.testing.runtime import FakeRuntime

PORTS = (Port(container_port=80, host_port=8080),)
CONNECTION = Connection(
    bridge="fake0", address="10.0.0.2", prefix=24, gateway="10.0.0.1", mac="02:00:00:00:00:02", ports=PORTS
)
BUSY = Conflict("another process changes networks")


def served(drivers: FakeDrivers, **spec) -> Container:
    container, _ = drivers.server(connections=(CONNECTION,), network="bridge", ports=Ports(published=PORTS), **spec)
    drivers.network.made.add(container.id)
    return container


def stop(drivers: FakeDrivers, **options) -> tuple[StopReport, object]:
    outcome = stop_containers(drivers, ["web"], StopOptions(**options))[0]
    assert outcome.report is not None
    return outcome.report, outcome.error


def run_of(drivers: FakeDrivers, container: Container) -> Run:
    run = drivers.store.get(container.id).run
    assert run is not None
    return run


def test_s21_the_network_is_taken_down_before_the_record_says_stopped(drivers):
    container = served(drivers)
    report, error = stop(drivers)
    assert error is None
    assert not drivers.network.made
    assert run_of(drivers, container).connections == ()
    names = [phase.name for phase in report.phases]
    assert names.index("cgroup") < names.index("network") < names.index("unmount")


def test_its_driver_is_made_while_the_runtime_deletes(drivers, monkeypatch):
    served(drivers)
    network, done = drivers.network, []

    def asked_for(_):
        done.append("network")
        return network

    def end_delete(child):
        done.append("deleted")
        return FakeRuntime.end_delete(drivers.fake_runtime, child)

    monkeypatch.setattr(FakeDrivers, "network", property(asked_for), raising=False)
    monkeypatch.setattr(drivers.fake_runtime, "end_delete", end_delete)
    assert stop(drivers)[1] is None
    assert done.index("network") < done.index("deleted")
    assert not network.made


def test_what_closes_ports_is_at_hand_before_the_container_ends(drivers, monkeypatch):
    _, main = drivers.server(connections=(CONNECTION,), network="bridge", ports=Ports(published=PORTS))
    main.on_signal = lambda _: None  # it is killed
    network, done = drivers.network, []

    def asked_for(_):
        done.append(main.status is None)
        return network

    monkeypatch.setattr(FakeDrivers, "network", property(asked_for), raising=False)
    assert stop(drivers, grace_s=0.1)[1] is None
    assert done[0]


def test_s21_a_network_that_another_process_changes_is_tried_again(drivers):
    served(drivers)
    drivers.network.release_errors = [BUSY, BUSY]
    assert stop(drivers)[1] is None
    assert drivers.network.calls.count(("release", drivers.store.find("web").id)) == 3


def test_s21_a_network_that_cannot_be_taken_down_is_named_and_kept_in_the_record_until_the_container_goes(drivers):
    container = served(drivers)
    drivers.network.release_errors = [RuntimeFailed("the network failed: nft: no")]
    error = stop(drivers)[1]
    assert isinstance(error, CleanupFailed)
    assert "network: the network failed: nft: no" in str(error)
    assert run_of(drivers, container).connections == (CONNECTION,)
    assert drivers.store.get(container.id).status is Status.STOPPED
    erase(drivers, drivers.store.get(container.id))
    assert not drivers.network.made


def test_s17a_the_ports_are_closed_before_any_process_is_signalled(drivers):
    served(drivers)
    report, error = stop(drivers, drain=True)
    assert error is None
    assert [verb for verb, _ in drivers.network.calls] == ["drain", "close", "forget", "release"]
    assert [phase.name for phase in report.phases][:2] == ["drain", "signal"]
    assert report.signalled[0].at_s >= report.phases[0].duration_s


@pytest.mark.parametrize(("spec", "options"), [({"stop": StopSettings(drain=True)}, {}), ({}, {"drain": True})])
def test_s17a_the_container_or_the_call_asks_for_it(drivers, spec, options):
    container = served(drivers, **spec)
    stop(drivers, **options)
    assert ("drain", container.id) in drivers.network.calls


def test_s17a_what_has_no_network_is_not_drained(drivers):
    drivers.server(network="none")
    report, _ = stop(drivers, drain=True)
    assert drivers.network.calls == []
    assert report.phases[0].name == "signal"


def test_s17a_what_publishes_nothing_is_closed_to_others_on_its_networks(drivers):
    container, _ = drivers.server(connections=(replace(CONNECTION, ports=()),), network="bridge")
    report, error = stop(drivers, drain=True)
    assert error is None
    assert drivers.network.calls == [("drain", container.id), ("release", container.id)]
    assert [phase.name for phase in report.phases][:2] == ["drain", "signal"]


def test_s17a_a_failure_is_a_note(drivers):
    served(drivers)
    drivers.network.drain_error = "nft: no such table"
    report, error = stop(drivers, drain=True)
    assert error is None
    assert report.notes == ("drain: nft: no such table",)


def test_s17a_so_is_a_tool_that_cannot_be_started(drivers):
    served(drivers)
    drivers.network.drain_command = ["/nonexistent/nft"]
    report, error = stop(drivers, drain=True)
    assert error is None
    assert "cannot run /nonexistent/nft" in report.notes[0]


def test_s17a_a_closing_that_hangs_is_ended_with_the_stop(drivers):
    served(drivers)
    drivers.network.drain_command = ["/bin/sleep", "1000"]
    report, error = stop(drivers, drain=True, grace_s=0.2)
    assert error is None
    assert report.notes == ("drain: took too long",)


def test_an_address_is_recorded_and_is_no_other_containers(drivers):
    first = served(drivers)
    second = drivers.add("other", None, status=Status.STARTING, network="bridge")
    recorded, connections = networking.allot(drivers, second, PORTS)
    assert connections[0].address != CONNECTION.address
    assert recorded.run is not None
    assert recorded.run.connections == run_of(drivers, second).connections == connections
    assert run_of(drivers, first).connections == (CONNECTION,)


def test_release_waits_for_others_and_gives_up(drivers, monkeypatch):
    container = served(drivers)
    drivers.network.release_errors = [BUSY]
    networking.release(drivers, container)
    assert not drivers.network.made
    monkeypatch.setattr(networking, "_RELEASE_LIMIT_S", 0.0)
    drivers.network.release_errors = [BUSY]
    with pytest.raises(RuntimeFailed, match="another process changes networks"):
        networking.release(drivers, container)
    networking.release(drivers, replace(container, run=None))


@pytest.mark.parametrize(
    "ports",
    [
        (Port(container_port=0),),
        (Port(container_port=80, host_port=65536),),
        (Port(container_port=80, protocol="sctp"),),
        (Port(container_port=80, host_port=80, protocol="dccp"),),
        (Port(container_port=80, host_ip="::"),),
        (Port(container_port=80, host_ip="fd00:1::0"),),
        (Port(container_port=80, host_port=1), Port(container_port=81, host_port=1)),
    ],
)
def test_bad_ports_of_a_program_are_refused(drivers, ports):
    with pytest.raises(UsageError):
        networking.check(drivers, "bridge", ports, drain=False)


def test_what_publishes_is_on_the_bridge_unless_asked_otherwise():
    assert networking.resolve("", PORTS, "none") == "bridge"
    assert networking.resolve("", (), "none") == "none"
    assert networking.resolve("", (), "bridge") == "bridge"
    assert networking.resolve("host", PORTS, "bridge") == "host"


def test_doctor_tells_of_walls_that_are_gone_and_puts_them_back(drivers, monkeypatch):
    monkeypatch.setattr(doctor, "_SECOND_LOOK_S", 0.0)
    container = served(drivers)
    assert networking.running(drivers) == {container.id: (CONNECTION,)}
    drivers.network.gone = ["rules in nftables table t"]
    for fix in (False, True):
        found = [one for one in doctor.examine(drivers, fix=fix) if one.kind == "wall"]
        assert [(one.what, one.is_fixed) for one in found] == [("rules in nftables table t", fix)]
    assert [one for one in doctor.examine(drivers) if one.kind == "wall"] == []


def test_only_where_ports_were_published_connections_have_to_be_forgotten():
    assert CONNECTION.forwarded_to == ("10.0.0.2",)
    assert replace(CONNECTION, ports=()).forwarded_to == ()


@pytest.mark.parametrize(("has_ipv6", "published"), [(True, ["", "::", "192.0.2.1"]), (False, ["", "192.0.2.1"])])
def test_ports_of_every_address_are_those_of_both_families_where_the_container_has_both(drivers, has_ipv6, published):
    made = Network(id="a" * 64, name="web", created_unix_ns=0, bridge="")
    drivers.store.put_network(drivers.network.plan(made, (), ipv6=has_ipv6))
    ports = (Port(container_port=80, host_port=8080), Port(container_port=80, host_port=8081, host_ip="192.0.2.1"))
    networking.check(drivers, "web", ports, drain=False)
    container = drivers.add("one", None, status=Status.STARTING, network="web", ports=Ports(published=ports))
    with networking.reserved(drivers, container) as reservation:
        assert reservation is not None
        assert [port.host_ip for port in reservation.ports] == published
        _, connections = networking.allot(drivers, container, reservation.ports)
    assert bool(connections[0].address6) is has_ipv6
    assert connections[0].ports == reservation.ports


def test_ports_are_those_of_the_first_network_that_is_not_internal(drivers):
    for name, internal in (("back", True), ("web", False)):
        made = Network(id=name.ljust(64, "0"), name=name, created_unix_ns=0, bridge="", internal=internal)
        drivers.store.put_network(drivers.network.plan(made, drivers.store.list_networks()))
    asked = tuple(Attachment(network=name) for name in ("back", "web", "bridge"))
    networking.check(drivers, "back", PORTS, drain=False, attachments=asked)
    with pytest.raises(UsageError, match="back, which is internal"):
        networking.check(drivers, "back", PORTS, drain=False, attachments=asked[:1])
    container = drivers.add("one", None, status=Status.STARTING, network="back", attachments=asked)
    _, connections = networking.allot(drivers, container, PORTS)
    assert [(one.network, one.interface, one.ports) for one in connections] == [
        ("back", "eth0", ()), ("web", "eth1", PORTS), ("bridge", "eth2", ()),
    ]  # fmt: skip
    assert len({one.address for one in connections}) == 3


def test_a_port_of_sctp_is_no_other_containers(drivers):
    port = Port(container_port=80, host_port=132, protocol="sctp")
    one = drivers.add("one", None, network="bridge", connections=(replace(CONNECTION, ports=(port,)),))
    other = drivers.add("other", None, status=Status.STARTING, network="bridge")
    with pytest.raises(PortTaken, match=f"taken by container {one.name}"):
        networking.allot(drivers, other, (port,))


@pytest.mark.parametrize("default", ["bridge", "host", "none"])
def test_what_names_no_network_is_on_that_of_the_settings(drivers, default):
    drivers.settings = replace(drivers.settings, network=default)
    assert create(drivers, CreateOptions(image="host", command=("true",))).spec.network == default


def test_where_the_runtime_has_no_networks_there_is_none_by_default(drivers):
    drivers.runtime("").has_networks = False
    assert create(drivers, CreateOptions(image="host", command=("true",))).spec.network == "none"


@pytest.mark.parametrize("network", ["bridge", "web"])
def test_what_a_record_that_lost_its_run_did_not_know_of_goes_with_it(drivers, network):
    """A link that is still on a bridge would keep it there, with no record that names it."""
    container = served(drivers)
    drivers.store.modify(container.id, lambda c: replace(c, spec=replace(c.spec, network=network)))
    lost = drivers.store.modify(container.id, lambda c: replace(c, status=Status.STOPPED, run=None))
    erase(drivers, lost)
    assert drivers.network.made == set()


@pytest.mark.parametrize(
    ("routed", "reserved", "chosen"),
    [
        ((), [("", 8080), ("::", 8080)], [("", 8080), ("::", 8080)]),
        ((6,), [("", 8080)], [("", 8080), ("::", 0)]),
        ((4, 6), [], [("", 0), ("::", 0)]),
    ],
)
def test_what_is_published_on_a_routed_network_takes_no_port_of_the_host(
    drivers, monkeypatch, routed, reserved, chosen
):
    options = {f"com.docker.network.bridge.gateway_mode_ipv{version}": "routed" for version in routed}
    made = Network(id="a" * 64, name="web", created_unix_ns=0, bridge="", options=options)
    drivers.store.put_network(drivers.network.plan(made, (), ipv6=True))
    asked, reserve = [], drivers.network.reserve

    def reserved_of(ports):
        asked.extend(ports)
        return reserve(ports)

    monkeypatch.setattr(drivers.network, "reserve", reserved_of)
    container = drivers.add("one", None, status=Status.STARTING, network="web", ports=Ports(published=PORTS))
    with networking.reserved(drivers, container) as reservation:
        assert reservation is not None
        container, _ = networking.allot(drivers, container, reservation.ports)
    assert [(port.host_ip, port.host_port) for port in asked] == reserved
    assert [(port.host_ip, port.host_port) for port in run_of(drivers, container).ports] == chosen
    one = (Port(container_port=80, host_port=8080, host_ip="127.0.0.1"),)
    if 4 in routed:
        with pytest.raises(UsageError, match="network web is routed for IPv4"):
            networking.check(drivers, "web", one, drain=False)
    else:
        networking.check(drivers, "web", one, drain=False)


def test_ports_of_a_container_without_ipv4_are_those_of_ipv6(drivers):
    made = Network(id="a" * 64, name="six", created_unix_ns=0, bridge="")
    drivers.store.put_network(drivers.network.plan(made, (), ipv4=False, ipv6=True))
    networking.check(drivers, "six", PORTS, drain=False)
    container = drivers.add("one", None, status=Status.STARTING, network="six", ports=Ports(published=PORTS))
    with networking.reserved(drivers, container) as reservation:
        assert reservation is not None
        container, connections = networking.allot(drivers, container, reservation.ports)
    assert [(port.host_ip, port.host_port) for port in run_of(drivers, container).ports] == [("::", 8080)]
    assert (connections[0].address, bool(connections[0].address6)) == ("", True)
    with pytest.raises(UsageError, match="the container has no IPv4"):
        networking.check(drivers, "six", (Port(container_port=80, host_ip="0.0.0.0"),), drain=False)

"""What the proxy of [::1] is told of containers: from their start to their end, and of every change between."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.engine.facade import EngineFacade
from bento.engine.lifecycle import connecting
from bento.engine.maintenance import doctor
from bento.engine.resources import networking, networks, proxies
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.errors import PortTaken, RuntimeFailed, UsageError
from bento.model.container import Container, Ports
from bento.model.network import Attachment, Connection, NetworkOptions, Port
from bento.testing.drivers import FakeDrivers

PORT = Port(container_port=80, host_port=8080, host_ip="::1")
OTHER = Port(container_port=81, host_port=8081)
BRIDGED = Connection(
    bridge="fake0", address="10.0.0.2", prefix=24, gateway="10.0.0.1", mac="02:00:00:00:00:02", ports=(PORT, OTHER)
)


def run(drivers: FakeDrivers, *connections: Connection) -> Container:
    """Store a container that runs on these, whose ports are passed on."""
    container, _ = drivers.server(
        connections=connections or (BRIDGED,),
        network="bridge",
        attachments=(Attachment(network="bridge"),),
        ports=Ports(published=(PORT, OTHER)),
    )
    proxies.publish(drivers, container)
    return container


def test_it_is_told_where_a_container_is_and_of_the_ports_of_the_loopback_alone(drivers: FakeDrivers) -> None:
    container = run(drivers)
    told = drivers.proxy.put_for[container.id]
    assert container.run is not None
    assert (told.process, told.monitor) == (container.run.init, container.run.monitor)
    assert (told.address, told.ports) == ("10.0.0.2", (PORT,))
    six = replace(BRIDGED, address6="fd00::2", gateway6="fd00::1", prefix6=64)
    run_of = replace(container.run, connections=(six,))
    assert (found := proxies.proxied(replace(container, run=run_of))) is not None
    assert found.address == "fd00::2"
    assert proxies.proxied(replace(container, run=replace(run_of, connections=()))) is None


def test_a_container_on_another_network_is_followed_and_one_on_none_keeps_its_ports(drivers: FakeDrivers) -> None:
    networks.create(drivers, NetworkOptions(name="front"))
    container = run(drivers)
    drivers.network.interfaces.append((container.id, "eth0"))
    connecting.disconnect(drivers, "bridge", "web")
    assert (drivers.proxy.put_for[container.id].address, drivers.proxy.put_for[container.id].ports) == ("", (PORT,))
    connecting.connect(drivers, "front", "web")
    after = drivers.store.get(container.id).run
    assert after is not None
    assert drivers.proxy.put_for[container.id].address == after.connections[0].address


def test_s17a_a_stop_drains_it_first_and_leaves_none(drivers: FakeDrivers) -> None:
    container = run(drivers)
    end, drained = drivers.proxy.end, []

    def ended(container_id: str) -> None:
        drained.append(container_id in drivers.proxy.drained)
        end(container_id)

    drivers.proxy.end = ended  # type: ignore[method-assign]
    outcome = stop_containers(drivers, ["web"], StopOptions(drain=True))[0]
    assert outcome.error is None
    assert drained == [True]
    assert container.id not in drivers.proxy.put_for


def test_the_next_command_starts_a_killed_one_and_what_keeps_it_from_that_is_a_warning(
    drivers: FakeDrivers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_SECOND_LOOK_S", 0.0)
    container = run(drivers)
    drivers.storage.prepare(container.id)
    engine = EngineFacade(drivers)
    drivers.proxy.killed.add(container.id)
    drivers.proxy.put_error = PortTaken("port [::1]:8080/tcp is taken by nc (7)")
    engine.containers()
    assert "container web is not reached on [::1]: port [::1]:8080/tcp is taken" in capsys.readouterr().err
    engine.get("web")
    assert drivers.proxy.is_put(drivers.proxy.put_for[container.id])
    drivers.proxy.put_for[container.id] = replace(drivers.proxy.put_for[container.id], address="10.0.0.9")
    engine.get("web")
    assert drivers.proxy.put_for[container.id].address == "10.0.0.2", "the command that moved it may have died"
    assert doctor.examine(drivers) == []
    drivers.proxy.killed.add(container.id)
    monkeypatch.setattr(proxies, "resume", lambda *_: None)
    found = doctor.examine(drivers, fix=True)
    words = "no process passes on what comes to container web by [::1]"
    assert [(one.kind, one.what, one.is_fixed) for one in found] == [("missing", words, True)]
    drivers.proxy.killed.add(container.id)
    drivers.proxy.put_error = RuntimeFailed("the proxy of [::1] does not end")
    assert [one.is_fixed for one in doctor.examine(drivers, fix=True)] == [False]


def test_sctp_is_refused_and_a_container_without_ipv6_is_not(drivers: FakeDrivers) -> None:
    networking.check(drivers, "bridge", (PORT, replace(PORT, protocol="udp")), drain=False)
    with pytest.raises(UsageError, match=r"cannot publish \[::1\]:8080/sctp"):
        networking.check(drivers, "bridge", (replace(PORT, protocol="sctp"),), drain=False)

"""What a check has made is known for its own, and is removed when the process that made it has gone."""

from __future__ import annotations

import pytest

from bento.engine.check import owned
from bento.engine.maintenance import doctor
from bento.model.container import Container, ContainerSpec
from bento.model.network import Network
from bento.model.volume import Volume
from bento.testing.drivers import FakeDrivers

GONE = "4711 1 fake-boot"


def add(drivers: FakeDrivers, name: str, mark: str, **labels: str) -> None:
    spec = ContainerSpec(image="host", image_id="", layers=(), labels={owned.LABEL: mark, **labels})
    drivers.store.add(Container(id=name * 32, name=name, created_unix_ns=1, spec=spec))


def add_network(drivers: FakeDrivers, name: str, mark: str) -> None:
    drivers.store.put_network(
        Network(id=name * 32, name=name, created_unix_ns=1, bridge=f"be-{name}", labels={owned.LABEL: mark})
    )


@pytest.mark.parametrize("mark", ["", "mine", "1 2", "x 1 fake-boot", "1 x fake-boot", "own"])
def test_a_label_of_another_meaning_and_one_of_a_process_that_runs_are_left_alone(drivers, mark):
    add(drivers, "ab", owned.mark_of(drivers) if mark == "own" else mark)
    add_network(drivers, "cd", owned.mark_of(drivers) if mark == "own" else mark)
    assert owned.left_over(drivers) == []
    assert owned.networks_left_over(drivers) == []


def test_what_a_process_that_has_gone_had_made_goes_with_its_volumes_and_networks(drivers):
    add(drivers, "ab", GONE, **{owned.VOLUMES_LABEL: "data,gone"})
    add_network(drivers, "cd", GONE)
    drivers.volumes.make("data")
    drivers.store.put_volume(Volume(name="data", created_unix_ns=1))
    owned.remove_left_over(drivers)
    assert drivers.store.list() == []
    assert drivers.store.list_networks() == []
    assert drivers.store.list_volumes() == []


def test_doctor_finds_and_removes_it(drivers, monkeypatch):
    monkeypatch.setattr(doctor, "_SECOND_LOOK_S", 0.0)
    add(drivers, "ab", GONE)
    add_network(drivers, "cd", GONE)
    found = [finding for finding in doctor.examine(drivers) if finding.kind == "check"]
    assert [finding.what for finding in found] == [
        "killed before its end: container ab",
        "killed before its end: network cd",
    ]
    doctor.examine(drivers, fix=True)
    assert not any(finding.kind == "check" for finding in doctor.examine(drivers))

"""Stores of older versions are brought up to date, and one of a newer version is left alone."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from bento.drivers.state import migrations
from bento.drivers.state.sqlite import SqliteStore
from bento.errors import BentoError, StateCorrupt
from bento.model.container import (
    ContainerSpec,
    Files,
    HealthSettings,
    LogSettings,
    Mount,
    Namespaces,
    Ports,
    ProcessLimits,
    Sandbox,
    Status,
    Streams,
)
from bento.model.health import OnUnhealthy
from bento.model.image import Healthcheck
from bento.model.network import Port
from bento.model.resources import DeviceRate, Resources
from bento.model.stop import Scope, StopRules, StopSettings

STORES = Path(__file__).parent / "stores"
LAYER = "b10068739dce2a168b9095686e6010ee1c548d0c4d4895f88e966b7858998579"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "moved" / "bento.db"


def make(path: Path, schema: int, *more: str) -> None:
    """Make a store as a version of that time has left it, when its root was /srv/bento."""
    path.parent.mkdir(exist_ok=True)
    old = sqlite3.connect(path)
    old.executescript((STORES / f"schema-{schema}.sql").read_text())
    for statement in more:
        old.execute(statement)
    old.commit()
    old.execute("PRAGMA journal_mode = WAL")
    old.close()


def written(path: Path) -> str:
    """Return all that a store's file says."""
    store = sqlite3.connect(path)
    text = "\n".join(store.iterdump())
    documents = [row[0].decode() for table in ("containers", "images") for row in store.execute(
        f"SELECT document FROM {table}")]  # fmt: skip
    store.close()
    return "\n".join([text, *documents])


@pytest.mark.parametrize("schema", [1, 3])
def test_d22_a_store_of_an_older_version_is_brought_up_to_date(path: Path, schema: int) -> None:
    make(path, schema)
    store = SqliteStore(path)
    here = (str(path.parent / "layers" / LAYER),)
    done = store.find("done")
    assert (done.status, done.spec.image, done.spec.layers) == (Status.STOPPED, "app", here)
    assert done.exit is not None
    assert done.exit.code == 0
    image = store.find_image("app")
    assert (image.names, image.layers, image.size_bytes) == (("docker.io/library/app:latest",), here, 1982256)
    if schema == 3:
        assert store.find("never").spec.files.mounts == (Mount(kind="volume", source="data", destination="/d"),)
        assert {one.name: one.status.value for one in store.list()} == {
            "never": "created", "done": "stopped", "live": "running", "job": "running",
        }  # fmt: skip
        assert store.find("job").spec.layers == ("/",)  # the machine's own files are not below the root
        live = store.find("live").run
        assert live is not None
        assert live.init is not None
        assert (live.init.pid, live.init.start_ticks) == (19575, 1239590)
        assert [volume.name for volume in store.list_volumes()] == ["data"]
    everything = (store.list(), store.list_images(), store.list_volumes())
    store.close()

    again = SqliteStore(path)
    assert (again.list(), again.list_images(), again.list_volumes()) == everything
    again.close()
    assert "/srv/bento" not in written(path)


def test_d22_a_run_of_an_older_version_had_one_connection(path: Path) -> None:
    one = (
        '{"bridge":"bento0","address":"10.176.0.2","prefix":20,"gateway":"10.176.0.1",'
        '"mac":"02:be:0a:b0:00:02","ports":[]}'
    )
    text = "CAST(document AS TEXT)"
    make(
        path,
        3,
        f"UPDATE containers SET document = CAST(json_set({text}, '$.run.connection', json('{one}')) AS BLOB)"
        " WHERE name = 'live'",
    )
    store = SqliteStore(path)
    live, job = store.find("live").run, store.find("job").run
    assert live is not None
    assert job is not None
    assert [(found.network, found.interface, found.address) for found in live.connections] == [
        ("bridge", "eth0", "10.176.0.2")
    ]
    assert job.connections == ()
    store.close()


@pytest.mark.parametrize("moved", ["moved", "mo'ved\n", "ümlaut"])
def test_a3_records_say_nothing_absolute_below_the_root(tmp_path: Path, moved: str) -> None:
    make(tmp_path / "first" / "bento.db", 3)
    store = SqliteStore(tmp_path / "first" / "bento.db")
    store.put_image(store.find_image("app"), events=())
    store.modify(store.find("done").id, lambda c: type(c)(**{name: getattr(c, name) for name in c.__struct_fields__}))
    store.close()
    assert str(tmp_path) not in written(tmp_path / "first" / "bento.db")
    os.rename(tmp_path / "first", tmp_path / moved)
    store = SqliteStore(tmp_path / moved / "bento.db")
    assert store.find("done").spec.layers == store.find_image("app").layers == (
        str(tmp_path / moved / "layers" / LAYER),
    )  # fmt: skip
    store.close()


def test_d22_what_cannot_be_read_in_an_older_store_stays_and_hides_nothing(path: Path) -> None:
    make(path, 3, "UPDATE containers SET document = CAST('{\"spec\": 7}' AS BLOB) WHERE name = 'never'")
    store = SqliteStore(path)
    complaints: list[StateCorrupt] = []
    assert {one.name for one in store.list(on_unreadable=complaints.append)} == {"done", "live", "job"}
    assert len(complaints) == 1
    store.close()
    assert '{"spec": 7}' in written(path)


def test_d22_a_step_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(path, 3)
    before = written(path)

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE volumes")
        raise sqlite3.OperationalError("the machine went down")

    steps = (*migrations.MIGRATIONS[:3], ("fails", fail))
    monkeypatch.setattr(migrations, "MIGRATIONS", steps)
    with pytest.raises(BentoError):
        SqliteStore(path)
    assert written(path) == before


def test_d22_a_store_of_a_newer_version_is_refused_and_not_touched(path: Path) -> None:
    make(path, 3, "PRAGMA user_version = 99", "ALTER TABLE volumes ADD COLUMN more TEXT")
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(StateCorrupt, match="newer") as caught:
        SqliteStore(path)
    assert "\n" not in str(caught.value)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


FLAT: dict[str, Any] = {
    "tty": True, "read_only": True, "volumes_from": ["a"], "exposed_ports": ["80/tcp"],
    "ports": [{"container_port": 80, "host_port": 8080}], "stop_signal": 3, "drain": True,
    "stop_rules": {"scope": "main"},
    "healthcheck": {"test": ["CMD", "x"]}, "health_on_failure": "stop", "log_driver": "none", "log_max_bytes": 5,
    "memory_bytes": 7, "device_read_bps": [{"path": "/dev/sda", "rate": 5}], "oom_score_adj": 9, "pid": "host",
    "cgroupns": "host", "userns": "host", "system": True, "sandbox": {"privileged": True},
}  # fmt: skip


def test_d22_what_was_asked_for_is_found_in_its_group(path: Path) -> None:
    record = {"id": "f" * 64, "name": "old", "created_unix_ns": 1,
              "spec": {"image": "host", "image_id": "", "layers": ["/"], **FLAT}}  # fmt: skip
    make(path, 3)
    old = sqlite3.connect(path)
    for key, document in (("f" * 64, json.dumps(record)), ("0" * 64, "no record")):
        old.execute("INSERT INTO containers VALUES (?, ?, 1, 'created', ?)", (key, key[:1], document.encode()))
    old.commit()
    old.close()
    store = SqliteStore(path)
    spec = store.get("f" * 64).spec
    store.close()
    assert (spec.system, spec.sandbox, spec.streams) == (True, Sandbox(privileged=True), Streams(tty=True))
    assert spec.files == Files(read_only=True, volumes_from=("a",))
    assert spec.ports == Ports(published=(Port(container_port=80, host_port=8080),), exposed=("80/tcp",))
    assert spec.stop == StopSettings(signal=3, rules=StopRules(scope=Scope.MAIN), drain=True)
    assert spec.health == HealthSettings(check=Healthcheck(test=("CMD", "x")), on_failure=OnUnhealthy.STOP)
    assert spec.log == LogSettings(driver="none", max_bytes=5)
    disk = DeviceRate(path="/dev/sda", rate=5)
    assert spec.resources == Resources(memory_bytes=7, device_read_bps=(disk,))
    assert (spec.limits, spec.namespaces) == (
        ProcessLimits(oom_score_adj=9), Namespaces(pid="host", cgroup="host", user="host"),
    )  # fmt: skip


def test_d22_each_setting_of_before_has_its_place() -> None:
    for group, fields in migrations._GROUPS.items():
        kind = type(getattr(ContainerSpec(image="", image_id="", layers=()), group))
        assert set(fields.values()) <= set(kind.__struct_fields__)

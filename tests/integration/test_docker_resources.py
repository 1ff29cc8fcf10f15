"""Docker's clients against ``bento serve``: networks and volumes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.cli import BentoCli
from support.serving import Served, serving
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME


@pytest.fixture
def served(bento: BentoCli) -> Iterator[Served]:
    with serving(bento) as found:
        yield found


def test_networks_are_made_joined_left_and_removed(served):
    docker = served.docker
    docker("network", "create", "--internal", "--label", "a=b", "--opt", "mtu=1400", "back")
    assert docker("network", "ls", "--filter", "label=a=b", "--format", "{{.Name}}").stdout == "back\n"
    assert docker("network", "create", "back", check=False).returncode == 1
    shown = json.loads(docker("network", "inspect", "back").stdout)[0]
    assert (shown["Internal"], shown["Labels"], shown["Containers"]) == (True, {"a": "b"}, {})
    program = "getent hosts store; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    docker("create", "--name", "web", "--network", "back", "host", "sh", "-c", program)
    docker("network", "disconnect", "back", "web")  # as compose does before the start: it adds aliases
    docker("network", "connect", "--alias", "store", "back", "web")
    assert docker("network", "connect", "back", "web", check=False).returncode == 1
    docker("start", "web")
    members = json.loads(docker("network", "inspect", "back").stdout)[0]["Containers"]
    assert [one["Name"] for one in members.values()] == ["web"]
    assert docker("network", "rm", "back", check=False).returncode == 1  # it is in use
    docker("network", "disconnect", "-f", "back", "web")
    docker("rm", "-f", "web")
    assert docker("network", "prune", "-f").stdout.split()[-1] == "back"
    assert served("GET", "/networks/back").status == 404
    assert served("DELETE", "/networks/bridge").status == 409
    assert served("POST", "/networks/create", {"Name": "x", "Driver": "overlay"}).status == 400


def test_volumes_are_made_listed_pruned_and_removed(served):
    docker = served.docker
    docker("volume", "create", "--label", "a=b", "data")
    assert docker("volume", "ls", "-q", "--filter", "label=a=b").stdout == "data\n"
    assert json.loads(docker("volume", "inspect", "data").stdout)[0]["Labels"] == {"a": "b"}
    run = ("run", "--rm", "--network", "none", "-v", "data:/data", "host")
    docker(*run, "sh", "-c", "echo kept > /data/file")
    assert docker(*run, "cat", "/data/file").stdout == "kept\n"
    docker("create", "--name", "web", "--network", "none", "-v", "data:/data", "-v", "/srv", "host", "true")
    assert docker("volume", "rm", "data", check=False).returncode == 1
    docker("rm", "web")
    (anonymous,) = served("POST", "/volumes/prune").json["VolumesDeleted"]  # alone, from 1.42 on
    assert len(anonymous) == 64
    assert served("POST", "/v1.41/volumes/prune").json["VolumesDeleted"] == ["data"]
    assert served("DELETE", "/volumes/data").status == 404
    assert served("DELETE", "/volumes/data?force=1").status == 204
    assert docker("inspect", "data", check=False).returncode == 1  # its last try is a plugin

"""Docker's clients against ``bento serve``: images, networks and volumes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.registry import PASSWORD, USER, registry
from support.serving import Served, serving
from support.workload import ONE_RUNTIME, busybox_rootfs

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
    assert served("DELETE", "/networks/bridge").status == 403
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


def test_images_are_imported_pushed_pulled_saved_and_removed(served, bento, tmp_path: Path):
    docker = served.docker
    busybox_rootfs(tmp_path / "fs")
    subprocess.run(["tar", "-C", tmp_path / "fs", "-cf", tmp_path / "fs.tar", "."], check=True)
    with registry(tmp_path, has_password=True) as place:
        name = place.name("deep/er/small")
        with open(tmp_path / "fs.tar", "rb") as archive:
            image_id = docker("import", "-c", "CMD /bin/true", "-", f"{name}:1", stdin=archive).stdout.strip()
        docker("tag", f"{name}:1", f"{name}:2")
        assert docker("push", f"{name}:1", check=False).returncode == 1  # without a login
        docker("login", "-u", USER, "--password-stdin", place.host, input=PASSWORD, stdin=None)
        pushed = docker("push", "-a", name).stdout
        assert "1: digest: sha256:" in pushed
        assert "2: digest: sha256:" in pushed
        assert docker("history", "-q", f"{name}:1").stdout.strip() == image_id.removeprefix("sha256:")[:12]
        removed = docker("rmi", f"{name}:1", f"{name}:2").stdout
        assert [line.split(":")[0] for line in removed.splitlines()][-1] == "Deleted"
        assert docker("images", "-q").stdout == ""
        assert docker("pull", f"{name}:none", check=False).returncode == 1
        assert f"Downloaded newer image for {name}:1" in docker("pull", f"{name}:1").stdout
        assert f"Image is up to date for {name}:1" in docker("pull", f"{name}:1").stdout
    docker("save", "-o", str(tmp_path / "saved.tar"), name + ":1")
    docker("rmi", f"{name}:1")
    with open(tmp_path / "saved.tar", "rb") as archive:
        assert f"Loaded image: {name}:1" in docker("load", stdin=archive).stdout
    assert served("GET", "/images/search?term=x").status == 501
    usage = served("GET", "/system/df").json
    assert [(one["Id"], one["Containers"]) for one in usage["Images"]] == [(image_id, 0)]
    assert usage["LayersSize"] >= usage["Images"][0]["Size"] > 0
    assert set(served("GET", "/system/df?type=volume").json) == {"Volumes"}
    assert served("GET", "/system/df?type=x").status == 400
    assert "Images" in docker("system", "df").stdout
    os.truncate(tmp_path / "saved.tar", 5000)
    with open(tmp_path / "saved.tar", "rb") as archive:
        assert docker("load", stdin=archive, check=False).returncode == 1
    assert docker("image", "prune", "-a", "-f").stdout.count("deleted: sha256:") == 1

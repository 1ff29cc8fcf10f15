"""What other engines say of a container, and the commands that stop it; of nerdctl as its source has them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from bento.drivers.engines.base import ForeignContainer
from bento.drivers.engines.containerd import ContainerdEngine
from bento.drivers.engines.docker import DockerEngine
from bento.drivers.engines.nerdctl import NerdctlEngine
from bento.drivers.engines.podman import PodmanEngine
from bento.errors import ForeignEngineFailed, MissingTool, NotFound
from bento.units import NO_LIMIT

ID = "5bd4925ccf0289d3bc1cdff36da6ba30ebf9b10c4a50cda747c862b97c3837ed"
DOCKER = {
    "Id": ID,
    "Name": "/web",
    "State": {"Status": "running", "Running": True, "Paused": False, "Pid": 374, "ExitCode": 0,
              "StartedAt": "2026-11-30T13:33:08.176042535Z"},
    "Config": {"Image": "nginx", "StopSignal": "SIGQUIT", "StopTimeout": 30},
    "HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}},
}  # fmt: skip
PODMAN = {
    "Id": ID,
    "Name": "web",
    "ImageName": "docker.io/library/nginx:latest",
    "State": {"Status": "paused", "Running": True, "Paused": True, "Pid": 19552, "ExitCode": 0,
              "StartedAt": "2026-11-30T14:33:08.176042535+01:00"},
    "Config": {"Image": "nginx", "StopSignal": 3, "StopTimeout": 10},
    "HostConfig": {"RestartPolicy": {"Name": "", "MaximumRetryCount": 0}},
}  # fmt: skip
NERDCTL = {
    "Id": ID,
    "Name": "web",
    "State": {"Status": "exited", "Running": False, "Paused": False, "Pid": 0, "ExitCode": 137,
              "FinishedAt": "2026-11-30T13:33:09.302155444Z"},
    "Image": "docker.io/library/nginx:latest",
    "Config": {"Labels": {"io.containerd.image.config.stop-signal": "SIGQUIT", "nerdctl/stop-timeout": "30",
                          "containerd.io/restart.policy": "always", "containerd.io/restart.status": "running"}},
    "HostConfig": {},
}  # fmt: skip
CTR = {"ID": "web", "Labels": {"io.containerd.image.config.stop-signal": "SIGQUIT"}, "Image": "nginx:latest"}
TASKS = "TASK    PID    STATUS    \nother   12     RUNNING\nweb     248    RUNNING\n"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a program that says what is given to it, and keeps its arguments."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(name: str, *cases: tuple[str, str], code: int = 0, stderr: str = "") -> Path:
        lines = "".join(f"*{words!r}*) cat <<'END'\n{text}\nEND\n;;\n" for words, text in cases)
        script = f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\ncase "$*" in\n{lines}esac\n'
        path = tmp_path / name
        path.write_text(f"{script}echo {shlex.quote(stderr)} >&2\nexit {code}\n", encoding="utf-8")
        path.chmod(0o755)
        return tmp_path / "calls"

    return make


def test_docker(program):
    calls = program("docker", ("inspect", json.dumps([DOCKER])))
    web = DockerEngine().find("web")
    assert web == ForeignContainer(
        id=ID, name="web", image="nginx", status="running", pid=374, started_unix_s=web.started_unix_s,
        signal=3, grace_s=30.0, restarts="always",
    )  # fmt: skip
    assert web.started_unix_s == pytest.approx(1796045588.176)
    assert calls.read_text(encoding="utf-8") == "inspect --type container web\n"
    assert DockerEngine().stop_words(web, 1.5, None) == ["docker", "stop", "-t", "2", "web"]
    assert DockerEngine().stop_words(web, NO_LIMIT, None) == ["docker", "stop", "-t", "-1", "web"]


def test_podman(program):
    program("podman", ("inspect", json.dumps([PODMAN])))
    web = PodmanEngine().find("web")
    assert (web.name, web.image, web.is_paused, web.signal, web.restarts) == (
        "web", "docker.io/library/nginx:latest", True, 3, "",
    )  # fmt: skip
    assert web.started_unix_s == pytest.approx(1796045588.176)
    assert PodmanEngine().stop_words(web, NO_LIMIT, None) == ["podman", "stop", "-t", "100000000", "web"]


def test_nerdctl(program):
    calls = program("nerdctl", ("inspect", json.dumps([NERDCTL])))
    web = NerdctlEngine().find("k8s.io/web")
    assert (web.namespace, web.pid, web.exit_code, web.image) == ("k8s.io", 0, 137, "docker.io/library/nginx:latest")
    assert (web.signal, web.grace_s, web.restarts) == (3, 30.0, "always")
    words = "--namespace k8s.io inspect --mode dockercompat --type container web\n"
    assert calls.read_text(encoding="utf-8") == words
    stop = ["nerdctl", "--namespace", "k8s.io", "stop", "-t", "10", "web"]
    assert NerdctlEngine().stop_words(web, 10.0, None) == stop


def test_containerd(program):
    program("ctr", ("containers info", json.dumps(CTR)), ("tasks ls", TASKS))
    web = ContainerdEngine().find("web")
    assert web == ForeignContainer(
        id="web", name="web", image="nginx:latest", namespace="default", status="running", pid=248, signal=3,
    )  # fmt: skip
    words = ["ctr", "-n", "default", "tasks", "kill", "-s", "SIGQUIT", "web"]
    assert ContainerdEngine().stop_words(web, 10.0, None) == words
    assert ContainerdEngine().stop_words(web, 10.0, 9)[-2] == "SIGKILL"


def test_what_containerd_would_start_again_is_labelled_first(program):
    calls = program("ctr")
    web = ForeignContainer(id="web", name="web", namespace="k8s.io", restarts="containerd's restart plugin")
    engine = ContainerdEngine()
    child = engine.begin_stop(web, 10.0, None)
    child.finish(10.0)
    assert calls.read_text(encoding="utf-8").splitlines() == [
        "-n k8s.io containers label web containerd.io/restart.explicitly-stopped=true",
        "-n k8s.io tasks kill -s SIGTERM web",
    ]


@pytest.mark.parametrize("engine", [DockerEngine(), PodmanEngine(), NerdctlEngine(), ContainerdEngine()])
def test_what_an_engine_does_not_know_and_one_that_does_not_answer(engine, program):
    name = "ctr" if engine.name == "containerd" else engine.name
    program(name, code=1, stderr="Error: no such container: web not found")
    with pytest.raises(NotFound, match=f"{engine.name} knows no container web"):
        engine.find("web")
    program(name, code=1, stderr="Cannot connect to the daemon")
    with pytest.raises(ForeignEngineFailed, match="does not answer: Cannot connect to the daemon"):
        engine.find("web")
    for said in ("no JSON", "[]", "[1]"):
        program(name, ("in", said))
        with pytest.raises(ForeignEngineFailed, match="not understood"):
            engine.find("web")


def test_an_engine_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("bento.command._EXTRA_DIRECTORIES", ())
    with pytest.raises(MissingTool, match="nerdctl"):
        NerdctlEngine().find("web")
    with pytest.raises(MissingTool) as raised:
        ContainerdEngine().find("web")
    assert raised.value.hint == "on Debian: apt-get install containerd"


@pytest.mark.parametrize(("stderr", "failure"), [("Error: no such container web", ""), ("it hangs", "it hangs")])
def test_what_a_stop_says(stderr, failure, program):
    program("docker", code=1, stderr=stderr)
    web = ForeignContainer(id="web", name="web")
    child = DockerEngine().begin_stop(web, 10.0, None)
    child._read_until_exit(1e9)
    assert DockerEngine().end_stop(child) == failure

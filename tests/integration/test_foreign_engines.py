"""``bento stop --engine``: containers of Podman, Docker and containerd end as Bento's own do (rule S31)."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import leaks, procs
from support.cli import BentoCli, Roots
from support.engines import DEAF, WORLDS, EngineWorld, PodmanWorld, Work

CRASH_AT = Path(__file__).parents[1] / "support/crash_at.py"
IDLE = "sleep 1000; echo went on > /w/went-on"
LEAVING = """
/usr/bin/python3 -u /w/server.py &
trap 'exit 7' TERM
while :; do sleep 1000 & wait $!; done
"""
"""A PID 1 that leaves at once when it is signalled, and leaves the server behind."""


@pytest.fixture
def podman(leak_check: leaks.LeakWatch) -> Iterator[PodmanWorld]:
    with PodmanWorld(leak_check.base / "podman") as world:
        yield world


def deaf(world: EngineWorld, name: str, *options: str) -> Work:
    work = world.run(name, DEAF, *options)
    work.wait_until_ready()
    return work


def report_of(bento: BentoCli, world: EngineWorld, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bento("report", "--engine", world.name, "--format", "json", name).stdout)
    return found


def plain_stop_s(world: EngineWorld, name: str, grace_s: int) -> float:
    began = time.monotonic()
    world.plain_stop(name, grace_s)
    return time.monotonic() - began


@pytest.mark.parametrize("name", WORLDS)
def test_s31_a_deaf_wrapper_of_another_engine_ends_gracefully(
    name: str, leak_check: leaks.LeakWatch, roots: Roots
) -> None:
    with WORLDS[name](leak_check.base / "engine") as world:
        bento = world.bento(roots)
        work = deaf(world, "web")
        done = bento("stop", "--engine", name, "--strict", "-v", "web")
        assert done.stdout.split() == ["web"]
        report = report_of(bento, world, "web")
        assert (report["verdict"], report["exit_code"], report["signal"]) == ("forwarded", 0, "SIGTERM")
        assert [one["comm"] for one in report["signalled"]] == ["python3"]
        assert any(note.startswith(f"{name} was asked first") for note in report["notes"])
        assert report["duration_s"] < 5.0  # the engine itself takes 10, or for ever
        assert (work.has("saved"), work.has("went-on")) == (True, False)
        assert world.status("web")[0] in ("exited", "stopped")

        work = deaf(world, "plain")
        seconds = plain_stop_s(world, "plain", 1)
        assert not work.has("saved"), "its own stop has told the server, and this test shows nothing"
        assert seconds > 1.0 or name == "containerd"  # which only signals, and leaves it running


def test_s31_the_engine_knows_of_a_stop_that_was_wanted(podman: PodmanWorld, roots: Roots) -> None:
    bento = podman.bento(roots)
    deaf(podman, "web", "--restart", "always")
    podman.run("idle", IDLE, "--restart", "always")
    done = bento("stop", "--engine", "podman", "web", "idle", "nobody", check=False)
    assert (done.returncode, sorted(done.stdout.split())) == (1, ["idle", "web"])
    assert "podman knows no container nobody" in done.stderr
    time.sleep(0.5)  # a restart would come within this
    assert podman.status("web")[0] == podman.status("idle")[0] == "exited"
    assert report_of(bento, podman, "idle")["verdict"] == "forwarded"


def test_s31_what_pid_1_leaves_behind_is_signalled_and_waited_for(podman: PodmanWorld, roots: Roots) -> None:
    bento = podman.bento(roots)
    work = podman.run("web", LEAVING)
    work.wait_until_ready()
    bento("stop", "--engine", "podman", "web")
    report = report_of(bento, podman, "web")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 7)
    assert work.has("saved")
    assert podman.status("web") == ("exited", 7)


def test_s31_the_engine_kills_what_outlives_its_grace(podman: PodmanWorld, roots: Roots) -> None:
    bento = podman.bento(roots)
    podman.run("web", "trap '' TERM; sleep 1000")
    done = bento("stop", "--engine", "podman", "--strict", "-t", "1", "web", check=False)
    assert done.returncode == 4
    report = report_of(bento, podman, "web")
    assert (report["verdict"], report["exit_code"], report["grace_s"]) == ("killed", 137, 1.0)
    assert "after the grace of 1 s" in report["cause"]
    assert 1.0 <= report["duration_s"] < 8.0

    podman.run("now", "trap '' TERM; sleep 1000", "--restart", "always")
    bento("stop", "--engine", "podman", "--force", "now")
    assert report_of(bento, podman, "now")["cause"] == "a kill was asked for"
    assert podman.status("now")[0] == "exited"


def test_s31_what_cannot_be_stopped_is_said_in_a_line(podman: PodmanWorld, roots: Roots, tmp_path: Path) -> None:
    bento = podman.bento(roots)
    podman.run("host", "sleep 1000", "--pid", "host")
    podman.run("web", "sleep 1000")
    podman.run("guest", "sleep 1000", "--pid", "container:web")
    podman.run("paused", "sleep 1000")
    podman.call("podman", "pause", "paused")
    refused = {
        "host": "shares the PID namespace of this host (use: podman stop host)",
        "guest": "runs in the PID namespace of another",
        "paused": "is paused and would not get the signal (use: podman unpause paused",
    }
    for name, words in refused.items():
        done = bento("stop", "--engine", "podman", name, check=False)
        assert (done.returncode, done.stdout) == (1, ""), str(done)
        assert words in done.stderr
        assert podman.status(name)[0] in ("running", "paused")
    assert bento("explain", "--engine", "podman", "web").stdout.startswith("web: forwarded")
    checked = bento("check", "--engine", "podman", "--container", "web", "--format", "json", check=False)
    assert [one["id"] for one in json.loads(checked.stdout)["findings"]] == ["BG002"]
    done = bento("stop", "--engine", "docker", "web", check=False, env={"DOCKER_HOST": f"unix://{tmp_path}/none"})
    assert done.returncode == 1
    assert "docker does not answer" in done.stderr
    podman.call("podman", "unpause", "paused")
    podman.remove("guest")


def test_s31_when_bento_is_killed_nothing_stays_held_and_the_engines_stop_goes_on(
    podman: PodmanWorld, roots: Roots
) -> None:
    bento = podman.bento(roots)
    work = podman.run("web", LEAVING.replace("server.py", "stubborn.py"))
    work.wait_until_ready()
    bento("stop", "--engine", "podman", "--no-wait", "-t", "60", "web")
    procs.wait_until(lambda: work.has("told"), what="PID 1 is held at its exit")
    found = [p for p in procs.descendants() if "--engine" in procs.cmdline(p.pid) and p.is_alive]
    [worker] = [p for p in found if any(other.ppid == p.pid for other in found)]  # the other one is its tracer
    procs.kill(worker)
    procs.wait_until(lambda: podman.status("web")[0] == "exited", what="PID 1 has gone")
    assert podman.status("web")[1] == 7


@pytest.mark.parametrize("when", ["before", "after"])
def test_s31_the_driver_is_killed_where_it_asks_the_engine(
    when: str, podman: PodmanWorld, roots: Roots, tmp_path: Path
) -> None:
    bento = podman.bento(roots)
    work = podman.run("web", LEAVING)
    work.wait_until_ready()
    words = bento.prefix
    at = words.index("-m")
    words[at : at + 2] = [str(CRASH_AT), str(tmp_path / "trace"), when, "AskEngine", "1"]
    killed = subprocess.run([*words, "stop", "--engine", "podman", "web"], capture_output=True, text=True, check=False)
    assert killed.returncode != 0
    assert "AskEngine" in (tmp_path / "trace").read_text(encoding="utf-8")
    if when == "before":
        assert podman.status("web")[0] == "running"
        bento("stop", "--engine", "podman", "web")
        assert work.has("saved")
    procs.wait_until(lambda: podman.status("web") == ("exited", 7), what="the engine's stop has ended PID 1")


def recipe(kind: str, mark: str) -> str:
    """Return the block of docs/other-engines.md that has this text."""
    page = (Path(__file__).parents[2] / "docs/other-engines.md").read_text(encoding="utf-8")
    [found] = [block for block in re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) if mark in block]
    return str(found)


def with_bento(bento: BentoCli, directory: Path) -> dict[str, str]:
    """Return an environment where ``bento`` is this one, and ``sudo``, which would look for another, adds nothing."""
    for name, words in (("bento", shlex.join(bento.prefix)), ("sudo", "")):
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}", "ENGINE": "podman", "READY_S": "0"}


def test_s31_the_recipes_do_what_they_say(podman: PodmanWorld, roots: Roots, tmp_path: Path) -> None:
    bento = podman.bento(roots)
    environment = os.environ | podman.environment | with_bento(bento, tmp_path)
    # The drop-in: what systemctl stop runs.
    work = deaf(podman, "web")
    [line] = re.findall(r"^ExecStop=(/.+)$", recipe("ini", "[Service]"), re.MULTILINE)
    words = shlex.split(line.replace("docker", "podman"))[1:]
    for _ in range(2):  # the second one finds it stopped, as systemd does when the container has ended by itself
        subprocess.run(["bento", *words], env=environment, check=True, timeout=60, stdout=subprocess.DEVNULL)
    assert work.has("saved")
    assert podman.status("web")[0] == "exited"
    # The hook of a pod, as the kubelet runs it: by an exec, before the signal.
    work = deaf(podman, "pod")
    checked = json.loads(
        bento("check", "--engine", "podman", "--container", "pod", "--format", "json", check=False).stdout
    )
    [finding] = checked["findings"]
    [change] = [one["text"] for one in finding["remedy"]["changes"] if one["place"] == "pod"]
    command = json.loads(change.partition("command: ")[2])
    podman.call("podman", "exec", "pod", *command, check=False)  # it may be killed with PID 1
    assert work.has("saved")
    # The job of CI: one that is deaf is refused, one that is not is stopped and let through.
    script = recipe("sh", "check-stops")
    limits = ["--network", "none", "--cgroup-parent", podman.cgroup, "-v", "/usr:/usr:ro", "--stop-timeout", "1"]
    for program, code in (("sleep 1000; true", 1), ("trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done", 0)):
        done = subprocess.run(
            ["sh", "-c", script, "check-stops", *limits, "tiny", "/bin/sh", "-c", program],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr

"""Transfers that are watched, and that do not come to their end: killed, interrupted, on a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress

import pytest

from support import procs, webimages
from support.cli import BentoCli, Roots
from support.registry import Gate, Registry, gate, registry, skopeo
from support.terminal import Terminal
from support.workload import ONE_RUNTIME, assert_clean, ended

pytestmark = ONE_RUNTIME


@pytest.fixture(scope="module")
def place(scratch):
    """A registry with nginx:1, of two layers."""
    with registry(scratch) as made:
        made.push(f"oci:{webimages.layout()}:nginx", "nginx:1")
        yield made


@pytest.fixture
def door(place: Registry):
    """What stands between it and Bento."""
    with gate(place) as made:
        yield made


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.close()


def layers(place: Registry) -> list[str]:
    manifest = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{place.name('nginx:1')}"))
    return [layer["digest"] for layer in manifest["layers"]]


def skopeos() -> list[procs.Process]:
    return [each for each in procs.descendants() if each.is_alive and each.comm in ("skopeo", "setpriv")]


def has_blob(bento: BentoCli, digest: str) -> bool:
    return (bento.roots.root / "blobs" / digest.replace(":", "/")).exists()


def drafts(bento: BentoCli) -> list[str]:
    return [path.name for path in (bento.roots.root / "layers").glob("tmp-*")]


def begin(bento: BentoCli, door: Gate, held: str, arrived: str, **options):
    """Begin a pull that stands still in the middle of one layer while the other one has come."""
    door.hold(held)
    process = bento.start("pull", f"{door.host}/nginx:1", **options)
    assert door.waits.wait(60)
    procs.wait_until(lambda: has_blob(bento, arrived), timeout_s=60, what="the other layer")
    return process


@pytest.mark.parametrize("held", [0, 1], ids=["first", "second"])
def test_a_killed_pull_leaves_a_store_that_works_and_is_gone_on_with(bento: BentoCli, place, door, held: int) -> None:
    names = layers(place)
    with ended(begin(bento, door, names[held], names[1 - held])) as process:
        process.kill()
        process.wait()
    procs.wait_until(lambda: skopeos() == [], timeout_s=30, what="the end of skopeo")
    assert bento("images", "-q").stdout == ""
    assert bento("run", "--rm", "host", "echo", "works").stdout == "works\n"
    assert "pull never" in bento.fails("run", "--rm", "--pull", "never", f"{door.host}/nginx:1", code=125)
    door.held.pop(names[held]).set()
    door.fetched.clear()
    again = bento("pull", f"{door.host}/nginx:1")
    assert "is here already" in again.stderr
    assert names[1 - held] not in door.fetched
    assert names[held] in door.fetched
    assert drafts(bento) == []
    assert bento("run", "--rm", f"{door.host}/nginx:1", "nginx", "-v").returncode == 0
    assert_clean(bento)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_an_interrupted_pull_tidies_up(bento: BentoCli, place, door, number: int) -> None:
    names = layers(place)
    with ended(begin(bento, door, names[1], names[0])) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert skopeos() == []
    assert drafts(bento) == []
    assert bento("images", "-q").stdout == ""
    assert has_blob(bento, names[0])  # for the next time
    assert f"blob: {names[0]} (kept for the next pull)" in bento("doctor").stdout
    pruned = bento("image", "prune", "-f").stdout  # or for no container
    assert "parts of interrupted pulls, " in pruned
    assert "sha256:" not in pruned
    assert not has_blob(bento, names[0])
    assert_clean(bento)


def test_credentials_are_on_no_command_line_and_on_no_disk(bento: BentoCli, place, door, tmp_path) -> None:
    names = layers(place)
    door.hold(names[1])
    flags = ("--creds", "somebody:opensesame", "--tls-verify=false")
    with ended(bento.start("pull", *flags, f"{door.host}/nginx:1")) as process:
        assert door.waits.wait(60)
        told = [procs.cmdline(each.pid) for each in skopeos()]
        # /proc shows environments too.
        for each in skopeos():
            # One that has just ended has said nothing.
            with suppress(OSError), open(f"/proc/{each.pid}/environ", encoding="utf-8") as file:
                told.append(file.read())
        found = subprocess.run(
            ["grep", "-rlE", "opensesame|c29tZWJvZHk6b3BlbnNlc2FtZQ", bento.roots.root, bento.roots.run_root],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        door.held[names[1]].set()
        assert process.wait(60) == 0
    assert told
    assert not any("opensesame" in text for text in told)
    assert found.stdout == ""


def test_a_person_sees_how_far_each_layer_is(bento: BentoCli, place, door, terminal: Terminal) -> None:
    names = layers(place)
    short = [name.removeprefix("sha256:")[:12] for name in names]
    env = os.environ | {"TERM": "xterm"}
    process = begin(bento, door, names[1], names[0], stdout=terminal.slave, stderr=terminal.slave, env=env)
    with ended(process):
        terminal.read_until(f"{short[1]}  [")
        door.held[names[1]].set()
        terminal.read_until_end(process)
    shown = terminal.screen()
    assert [line.split()[0] for line in shown[:2]] == sorted(short, key=lambda each: short.index(each))
    assert all("done, " in line for line in shown[:2])
    assert shown[-1] == f"{door.host}/nginx:1"


def test_a_disk_that_is_too_small_is_told_and_nothing_is_recorded(bento: BentoCli, place, tmp_path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    there = BentoCli(Roots(small / "root", bento.roots.run_root), bento.runtime)
    script = (
        'mount -t tmpfs -o size=9m tmpfs "$0" && "$@" pull -q "$NAME" 2>"$OUT/err"; echo $? >"$OUT/code"; '
        '"$@" images -q >"$OUT/images"; ls "$0/root/layers" >"$OUT/layers"'
    )
    subprocess.run(
        ["unshare", "-m", "--propagation", "slave", "/bin/sh", "-c", script, small, *there.prefix],
        env=os.environ | {"NAME": place.name("nginx:1"), "OUT": str(tmp_path)}, check=True, timeout=120,
    )  # fmt: skip
    assert (tmp_path / "code").read_text() == "1\n"
    said = (tmp_path / "err").read_text()
    assert said.count("\n") == 1
    assert "free" in said
    assert (tmp_path / "images").read_text() == ""
    assert "tmp-" not in (tmp_path / "layers").read_text()

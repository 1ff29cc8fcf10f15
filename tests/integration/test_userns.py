"""Containers with ids of their own: root there is another user of the machine; on the disk their files are as ever."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.procs import wait_until
from support.workload import busybox_rootfs, masks

SH = ("/bin/sh", "-c")
FIRST, COUNT = 1_000_000, 200_000
SCRIPT = """
trap 'exit 3' TERM
touch /f /v/made /w/made
chown 5:6 /f /v/made
echo ready >/dev/stdout
while :; do sleep 1; done
"""


@pytest.fixture
def image(bento: BentoCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) < (6, 3):
        pytest.skip("an older kernel has no idmapped mounts of tmpfs, where a test may lie")
    monkeypatch.setenv("BENTO_USERNS_IDS", f"{FIRST}:{COUNT}")
    monkeypatch.setenv("BENTO_NETWORK", "none")
    rootfs = busybox_rootfs(tmp_path / "fs")
    for applet in ("chown", "stat"):
        (rootfs / "bin" / applet).symlink_to("busybox")
    (rootfs / "v").mkdir()
    (rootfs / "v" / "of-image").write_text("x")
    os.chown(rootfs / "v" / "of-image", 1234, 1235)
    bento("import", rootfs, "bb")
    return "bb"


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def test_from_its_start_to_the_image_that_is_made_of_it(bento: BentoCli, image: str, tmp_path: Path) -> None:
    outside = tmp_path / "w"
    outside.mkdir()
    bento("run", "-d", "--name", "c", "--userns", "auto", "-v", "vol:/v", "-v", f"{outside}:/w", image, *SH, SCRIPT)
    bento.wait_for_log("c", "ready")
    looked = bento.inspect("c")
    pid = looked["State"]["Pid"]
    assert looked["HostConfig"]["UsernsMode"] == "auto"
    assert looked["HostConfig"]["IDMappings"]["UidMap"] == [f"0:{FIRST}:65536"]
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(FIRST), "65536"]
    assert masks(pid)["Uid"].split() == [str(FIRST)] * 4
    assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")

    # What it has made, and what the image has, is the container's own on the disk.
    volume = bento.roots.root / "volumes/vol/_data"
    assert owner(bento.roots.root / "containers" / looked["Id"] / "upper/f") == (5, 6)
    assert [owner(volume / name) for name in ("made", "of-image")] == [(5, 6), (1234, 1235)]
    assert owner(outside / "made") == (0, 0)

    # Commands, and files in and out.
    said = bento("exec", "-u", "ann", "c", *SH, "id -u; echo out >/dev/stdout; stat -c %u:%g /f /v/of-image").stdout
    assert said.split() == ["1234", "out", "5:6", "1234:1235"]
    bento("cp", "-a", "c:/f", tmp_path / "f")
    assert owner(tmp_path / "f") == (5, 6)
    bento("cp", "-a", tmp_path / "f", "c:/v/back")
    bento("cp", tmp_path / "f", "c:/etc/plain")
    assert bento("exec", "c", "stat", "-c", "%u:%g", "/v/back", "/etc/plain").stdout.split() == ["5:6", "0:0"]
    exported = subprocess.run([*bento.prefix, "export", "c"], capture_output=True, check=True).stdout
    listed = subprocess.run(["tar", "-tv", "--numeric-owner"], input=exported, capture_output=True, check=True).stdout
    assert {line.split()[1] for line in listed.decode().splitlines()} == {"0/0", "5/6", "1234/1235"}

    bento("stop", "c")
    assert bento.state("c")["ExitCode"] == 3
    bento("commit", "c", "made")
    again = ("run", "--rm", "--userns", "auto", "made", "stat", "-c", "%u:%g", "/f", "/etc/plain", "/dev/null")
    assert bento(*again).stdout.split() == ["5:6", "0:0", "65534:65534"]  # the machine's own /dev/null
    bento("start", "c")
    assert bento("exec", "c", "stat", "-c", "%u:%g", "/f").stdout == "5:6\n"
    bento("rm", "-f", "-t", "0", "c")


def test_two_have_no_id_in_common_and_what_cannot_be_leaves_nothing(bento: BentoCli, image: str) -> None:
    words = ("--userns", "auto", image, "cat", "/proc/self/uid_map")
    first = bento("create", *words).stdout.strip()
    second = bento("run", "--rm", *words).stdout.split()
    assert second == ["0", str(FIRST + 65536), "65536"]
    bento("rm", first)
    assert bento("run", "--rm", *words).stdout.split() == ["0", str(FIRST), "65536"]
    said = bento.fails("run", "--rm", "--userns", f"auto:size={COUNT + 1}", image, "true", code=125)
    assert "ids left" in said
    assert "no id 70000" in bento.fails("run", "--rm", "-u", "70000", "--userns", "auto", image, "true", code=125)
    proc = ("-v", "/proc/self:/w", "--userns", "auto", image, "stat", "-c", "%u", "/w/status")
    assert "noidmap" in bento.fails("run", "--rm", *proc, code=125)
    assert bento("ps", "-aq").stdout == ""


def test_the_end_of_a_run_is_cleaned_up_in_the_monitors_namespace(bento: BentoCli, image: str) -> None:
    again = "n=$(cat /n 2>/dev/null); echo x$n >/n; test ${#n} = 2 && exec sleep 60; exit 4"
    kept = bento("run", "-d", "--userns", "auto", "--restart", "on-failure:6", image, *SH, again).stdout.strip()
    gone = bento("run", "-d", "--rm", "--userns", "auto", image, *SH, "exit 0").stdout.strip()
    wait_until(lambda: gone not in bento("ps", "-aq", "--no-trunc").stdout, what="--rm")
    assert not (bento.roots.root / "containers" / gone).exists()
    wait_until(lambda: bento.inspect(kept)["RestartCount"] == 2, what="two restarts")
    wait_until(lambda: bento.state(kept)["Running"], what="the last start")
    bento("rm", "-f", "-t", "0", kept)

"""On a host with cgroup v2 alone: a private view in which only cgroup2 is mounted, as on most machines of today."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.workload import COUNTER, PYTHON, Share, assert_released

VIEW = """
umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
exec "$@"
"""


class PureV2:
    """Runs ``bento`` where /sys/fs/cgroup is a cgroup2 mount. The host's own mounts are not touched."""

    def __init__(self, bento: BentoCli) -> None:
        self.bento = bento

    def __call__(self, *words: str | Path) -> str:
        argv = ["unshare", "-m", "--propagation", "private", "/bin/sh", "-ec", VIEW, "sh", *self.bento.prefix]
        done = subprocess.run(
            [*argv, *map(str, words)], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def inspect(self, name: str) -> dict:
        return json.loads(self("inspect", name))[0]


@pytest.fixture
def pure(bento: BentoCli) -> PureV2:
    return PureV2(bento)


def test_run_and_stop(pure: PureV2, bento: BentoCli, share: Share) -> None:
    path = share.script("count.py", COUNTER)
    identifier = pure("run", "-d", "--name", "w", *share.flags, "host", PYTHON, path, "0").strip()
    share.wait_for("ready")
    assert json.loads(pure("info", "--format", "json"))["CgroupMode"] == "v2"
    found = pure.inspect("w")
    assert found["Cgroups"] == {"": f"/sys/fs/cgroup/bento-{identifier}"}
    assert pure("stop", "w") == "w\n"
    report = pure.inspect("w")["Stop"]
    assert (report["verdict"], report["exit_code"]) == ("graceful", 0)
    assert share.lines("told") == ["15"]
    assert_released(bento, identifier)


def test_kill_reaches_the_whole_tree(pure: PureV2, bento: BentoCli, share: Share) -> None:
    script = "trap '' TERM; for i in 1 2 3; do setsid sleep 1000 & done; touch /s/ready; wait"
    identifier = pure("run", "-d", "--name", "w", *share.flags, "host", "/bin/sh", "-c", script).strip()
    share.wait_for("ready")
    pure("stop", "-t", "0.3", "w")
    report = pure.inspect("w")["Stop"]
    assert (report["verdict"], report["exit_code"]) == ("killed", 137)
    assert report["duration_s"] < 9
    assert_released(bento, identifier)


def test_pause_stop_thaw(pure: PureV2, bento: BentoCli, share: Share) -> None:
    path = share.script("count.py", COUNTER)
    identifier = pure("run", "-d", "--name", "w", *share.flags, "host", PYTHON, path, "0").strip()
    share.wait_for("ready")
    pure("pause", "w")
    assert pure.inspect("w")["State"]["Paused"] is True
    pure("stop", "--paused", "thaw", "w")
    assert pure.inspect("w")["Stop"]["verdict"] == "graceful"
    assert_released(bento, identifier)


def test_sandbox_sees_a_read_only_cgroup2_of_its_own(pure: PureV2) -> None:
    script = "cat /proc/self/cgroup | tail -1; mkdir /sys/fs/cgroup/x 2>&1; ls /sys/fs/cgroup/cgroup.procs"
    lines = pure("run", "--rm", "host", "/bin/sh", "-c", script).splitlines()
    assert lines[0] == "0::/"
    assert "Read-only" in lines[1]
    assert lines[2] == "/sys/fs/cgroup/cgroup.procs"

"""Limits of a container as a whole: read from its own cgroups, and felt by what runs in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.workload import ONE_RUNTIME, Share

SH = ("/bin/sh", "-c")


def control(bento: BentoCli, name: str, *files: str) -> str:
    """Return the first of these control files of a container that there is."""
    for directory in dict.fromkeys(bento.inspect(name)["Cgroups"].values()):
        for file in files:
            path = Path(directory, file)
            if path.exists():
                return path.read_text().strip()
    pytest.skip(f"kernel: no {files}")


def test_limits_are_in_the_containers_own_cgroups(bento: BentoCli) -> None:
    words = (
        "--cpu-shares", "512", "--cpu-period", "50000", "--cpu-quota", "20000", "--cpuset-cpus", "0", "-m", "64m",
        "--memory-reservation", "32m", "--pids-limit", "50", "--oom-score-adj", "300",
    )  # fmt: skip
    bento.run("--name", "w", *words, "host", "sleep", "1000")
    assert control(bento, "w", "cpu.shares") == "512"
    assert control(bento, "w", "cpu.cfs_quota_us") == "20000"
    assert control(bento, "w", "cpu.cfs_period_us") == "50000"
    assert control(bento, "w", "cpuset.cpus") == "0"
    assert control(bento, "w", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert control(bento, "w", "memory.memsw.limit_in_bytes") == str(128 << 20)
    assert control(bento, "w", "memory.soft_limit_in_bytes") == str(32 << 20)
    assert control(bento, "w", "pids.max") == "50"
    state = bento.inspect("w")["State"]
    assert Path(f"/proc/{state['Pid']}/oom_score_adj").read_text() == "300\n"
    host = bento.inspect("w")["HostConfig"]
    assert host | {
        "CpuShares": 512, "CpuPeriod": 50_000, "CpuQuota": 20_000, "CpusetCpus": "0", "Memory": 64 << 20,
        "MemorySwap": 128 << 20, "MemoryReservation": 32 << 20, "PidsLimit": 50, "OomScoreAdj": 300, "NanoCpus": 0,
    } == host  # fmt: skip
    assert bento("exec", "w", "nproc").stdout.strip() == "1"


@ONE_RUNTIME
def test_what_cannot_be_had_is_refused_in_one_line(bento: BentoCli) -> None:
    most = os.cpu_count() or 1
    for words, said in (
        (("-m", "1m"), "6m is the least"),
        (("--memory-swap", "64m"), "needs --memory"),
        (("--cpus", "1", "--cpu-quota", "5000"), "--cpus excludes"),
        (("--cpuset-cpus", f"0-{most}"), "bad set of cpus"),
        (("--device-read-bps", "/dev/null:1mb"), "not a block device"),
        (("--oom-score-adj", "1001"), "-1000 to 1000"),
    ):
        assert said in bento.fails("run", *words, "host", "true", code=125)
    assert bento("ps", "-aq").stdout == ""


def test_an_update_is_in_the_kernel_and_in_the_record(bento: BentoCli) -> None:
    bento.run("--name", "w", "-m", "64m", "--pids-limit", "20", "--cpus", "0.5", "host", "sleep", "1000")
    bento("create", "--name", "idle", "host", "true")
    words = ("-m", "96m", "--pids-limit", "-1", "-c", "256", "--cpuset-cpus", "0", "--cpus", "0.25")
    assert bento("update", *words, "w", "idle").stdout == "w\nidle\n"
    assert control(bento, "w", "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    assert control(bento, "w", "memory.memsw.limit_in_bytes") == str(128 << 20)
    assert control(bento, "w", "pids.max") == "max"
    assert control(bento, "w", "cpu.shares") == "256"
    assert control(bento, "w", "cpu.cfs_quota_us") == "25000"
    said = {"Memory": 96 << 20, "PidsLimit": None, "CpuShares": 256, "CpusetCpus": "0", "NanoCpus": 250_000_000}
    for name, swap in (("w", 128 << 20), ("idle", 192 << 20)):
        host = bento.inspect(name)["HostConfig"]
        assert host | said | {"MemorySwap": swap} == host
    quota = "--cpu-quota=30000"
    assert "--cpus excludes" in bento.fails("update", "-m", "80m", quota, "w", code=2)
    assert "nothing to change" in bento.fails("update", "w", code=2)


def test_an_update_that_the_runtime_cannot_carry_out_leaves_all_as_it_was(bento: BentoCli, tmp_path: Path) -> None:
    bento.run("--name", "w", "-m", "64m", "--pids-limit", "20", "host", "sleep", "1000")
    before = bento.inspect("w")
    directory = Path(before["Cgroups"].get("memory") or before["Cgroups"][""])
    files = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max")
    limits = {file: (directory / file).read_text() for file in files if (directory / file).exists()}
    # More tasks at once than the kernel ever counts: refused by pids.max, which crun sets after the memory.
    assert "limit" in bento.fails("update", "-m", "80m", "--pids-limit", str(1 << 40), "w")
    assert {file: (directory / file).read_text() for file in limits} == limits
    assert control(bento, "w", "pids.max") == "20"
    assert bento.inspect("w")["HostConfig"] == before["HostConfig"]


def test_what_the_kernel_kills_for_want_of_memory_is_told_apart(bento: BentoCli, share: Share) -> None:
    hungry = "exec tail /dev/zero"
    was_there = Path("/oom").exists()
    finished = bento("run", "--name", "w", "-m", "16m", "host", *SH, hungry, check=False)
    assert finished.returncode == 137
    assert "the kernel has killed container w for want of memory (-m 16m)" in finished.stderr
    assert bento.inspect("w")["State"]["OOMKilled"] is True
    assert Path("/oom").exists() == was_there  # where conmon leaves its mark when it is started in /
    # Its program goes on without what was killed: a running container says so as well, and so does its stop.
    script = "sh -c 'exec tail /dev/zero'; touch /s/ready; exec sleep 1000"
    bento.run("--name", "child", "-m", "16m", *share.flags, "host", *SH, script)
    share.wait_for("ready")
    assert bento.inspect("child")["State"]["OOMKilled"] is True
    bento("stop", "child")
    ended = bento.inspect("child")
    assert ended["State"]["OOMKilled"] is True
    assert any("want of memory before the stop" in note for note in ended["Stop"]["notes"])
    bento("run", "--name", "calm", "-m", "16m", "host", *SH, "exit 137", check=False)
    assert bento.inspect("calm")["State"]["OOMKilled"] is False

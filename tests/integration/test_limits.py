"""Limits of a container as a whole: read from its own cgroups, and felt by what runs in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.workload import ONE_RUNTIME

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

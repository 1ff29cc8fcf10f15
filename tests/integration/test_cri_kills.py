"""Some of ``make node-kills`` in each run of the suite: the server is killed at named steps, and started again."""

from __future__ import annotations

from load.node_kills import NodeKiller
from load.world import IMAGE

from support.cli import BentoCli
from support.leaks import LeakWatch
from support.workload import ONE_RUNTIME, assert_clean, busybox_rootfs

pytestmark = ONE_RUNTIME

STEPS = [
    ("RunPodSandbox", 5), ("CreateContainer", 2), ("StartContainer", 4), ("StopContainer", 0), ("RemoveContainer", 2),
    ("StopPodSandbox", 4), ("RemovePodSandbox", 5),
]  # fmt: skip


def test_a_killed_server_harms_nothing_and_leaves_nothing(bento: BentoCli, leak_check: LeakWatch) -> None:
    bento("import", busybox_rootfs(leak_check.base / "fs"), IMAGE)
    with NodeKiller(bento, leak_check.base, None, print) as killer:
        killer.steps(STEPS)
    assert_clean(bento)

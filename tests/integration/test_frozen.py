"""What Bento freezes for a time is thawed when it is killed in the middle; a pause of the user's stays (rule S11)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bento import Engine, Settings
from bento.kernel.cgroup import Cgroups

from support import procs
from support.cli import BentoCli
from support.workload import ONE_RUNTIME, assert_clean, busybox_rootfs, ended

MANY_BYTES = 32 << 20
"""So much takes a commit long enough to be met in the middle."""
SERVER = ("/bin/sh", "-c", "trap 'exit 7' TERM; sleep 1000 & wait")


@pytest.fixture
def pid(bento: BentoCli, tmp_path: Path) -> int:
    """PID 1 of a container ``w`` that has changed much."""
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    bento.run("--name", "w", "bb", *SERVER)
    with Engine(Settings(root=bento.roots.root, run_root=bento.roots.run_root)) as engine:
        upper = engine.drivers.storage.upper(engine.get("w").id)
    (upper / "much").write_bytes(os.urandom(MANY_BYTES))
    found = bento.state("w")["Pid"]
    assert isinstance(found, int)
    return found


def is_frozen(pid: int) -> bool:
    return Cgroups.of_process(pid).is_frozen()


def stands_without_lock(bento: BentoCli, commit: subprocess.Popen[str]) -> bool:
    """Stop a process by SIGSTOP; have it go on when it has an operation lock just then."""
    commit.send_signal(signal.SIGSTOP)
    procs.wait_until(lambda: (now := procs.read(commit.pid)) is not None and now.state == "T", what="state T")
    if not list((bento.roots.run_root / "locks").glob("*.op")):
        return True
    commit.send_signal(signal.SIGCONT)
    return False


@contextmanager
def stopped_commit(bento: BentoCli, pid: int) -> Iterator[subprocess.Popen[str]]:
    """A commit that was stopped by SIGSTOP while it had the container frozen."""
    with ended(bento.start("commit", "w", "made")) as commit:
        procs.wait_until(lambda: is_frozen(pid), every_s=0.001, what="the freeze")
        procs.wait_until(lambda: stands_without_lock(bento, commit), every_s=0.001, what="no lock")
        assert is_frozen(pid)
        yield commit
        if commit.poll() is None:
            commit.send_signal(signal.SIGCONT)


def killed_commit(bento: BentoCli, pid: int) -> None:
    with stopped_commit(bento, pid) as commit:
        commit.kill()
        commit.wait()
    assert is_frozen(pid)


def test_s11_what_a_killed_commit_has_frozen_is_thawed_by_the_next_command(bento: BentoCli, pid: int) -> None:
    for verb in (("ps",), ("exec", "w", "true")):
        killed_commit(bento, pid)
        bento(*verb)
        assert not is_frozen(pid), verb
    killed_commit(bento, pid)
    bento("pause", "w")
    assert is_frozen(pid)  # it is its user's by now, as every command sees
    assert bento.state("w")["Status"] == "paused"
    bento("unpause", "w")
    killed_commit(bento, pid)
    bento("stop", "w")
    assert bento.state("w")["ExitCode"] == 7
    assert "made" not in bento("images").stdout
    bento("doctor", "--fix", check=False)  # of what the commits had begun to write
    bento("rm", "w")
    assert_clean(bento)


@ONE_RUNTIME
def test_s11_a_stop_waits_for_no_commit_and_that_makes_no_image(bento: BentoCli, pid: int) -> None:
    with stopped_commit(bento, pid) as commit:
        bento("stop", "w")
        commit.send_signal(signal.SIGCONT)
        _, said = commit.communicate(timeout=60)
    assert commit.returncode == 1
    assert "container w" in said
    assert bento.state("w")["ExitCode"] == 7
    assert "made" not in bento("images").stdout


@ONE_RUNTIME
def test_s11_a_pause_that_is_its_users_outlives_a_commit(bento: BentoCli, pid: int) -> None:
    for last in (signal.SIGCONT, signal.SIGKILL):
        with stopped_commit(bento, pid) as commit:
            bento("pause", "w")
            commit.send_signal(last)
            commit.communicate(timeout=60)
        assert bento.state("w")["Status"] == "paused"
        assert is_frozen(pid)
        assert "paused" in bento.fails("stop", "w")
        if last == signal.SIGCONT:
            bento("commit", "w", "another")
            assert is_frozen(pid)
        bento("unpause", "w")
        assert not is_frozen(pid)


@ONE_RUNTIME
def test_s11_what_freezes_is_named(bento: BentoCli, pid: int) -> None:
    with stopped_commit(bento, pid) as commit:
        assert f"frozen by process {commit.pid} (bento commit, for " in bento.fails("exec", "w", "true", code=125)
        bento("unpause", "w")
        assert not is_frozen(pid)
        commit.send_signal(signal.SIGCONT)
        _, said = commit.communicate(timeout=60)
        assert "was thawed, or has ended" in said


@ONE_RUNTIME
def test_s11_a_pause_that_was_killed_half_way_has_paused_nothing(bento: BentoCli, pid: int) -> None:
    with Engine(Settings(root=bento.roots.root, run_root=bento.roots.run_root)) as engine:
        container = engine.get("w")
    assert container.run is not None
    code = (
        "import os, sys; from pathlib import Path; from bento.locks import ContainerLocks;"
        "locks = ContainerLocks(Path(sys.argv[1]), 'pause'); op = locks.hold(sys.argv[2], 0);"
        "mark = locks.try_freeze(sys.argv[2], int(sys.argv[3])); os.kill(os.getpid(), 9)"
    )
    words = [str(bento.roots.run_root), container.id, str(container.run.number)]
    subprocess.run([bento.prefix[0], "-c", code, *words], check=False)
    Cgroups(container.run.cgroups).freeze()
    assert bento.state("w")["Status"] == "running"
    assert not is_frozen(pid)

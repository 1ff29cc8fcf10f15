"""Stop rules S18 and S19 on real processes: the kill reaches everything, and what cannot be killed is named."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.drivers.state.sqlite import SqliteStore
from bento.model.container import Status

from support import fuse, leaks, procs
from support.cli import BentoCli, Roots
from support.workload import (
    ONE_RUNTIME,
    Share,
    assert_released,
    ended,
    run_ignoring,
    run_script,
    stop_report,
    wait_for_status,
)

BOMB = """
import os, time
open("/s/ready", "w").close()
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.001)
"""
LIMIT = 40


ONLY_CGROUP2 = 'umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'


class ElsewhereCli(BentoCli):
    """The same command line in another mount namespace than the host's."""

    def __init__(self, roots: Roots, runtime: str, *enter: str) -> None:
        super().__init__(roots, runtime)
        self.enter = enter

    @property
    def prefix(self) -> list[str]:
        return [*self.enter, *super().prefix]


@pytest.fixture
def on_cgroup2(roots: Roots, runtime: str) -> Iterator[BentoCli]:
    """A host that has nothing but cgroup2: in a private view, which the real one does not see."""
    view = ("unshare", "-m", "--propagation", "private", "/bin/sh", "-c", ONLY_CGROUP2, "sh")
    cli = ElsewhereCli(roots, runtime, *view)
    yield cli
    removed = cli.remove_all()
    assert removed is None or removed.returncode == 0, str(removed)


def members(bento: BentoCli, name: str) -> list[int]:
    """The pids in a container's cgroup, from whichever hierarchy has one."""
    identifier = bento.inspect(name)["Id"]
    for path in leaks.bento_cgroups():
        if identifier in path and (pids := leaks._members(path)):
            return sorted(pids)
    return []


def gone(pids: list[int]) -> bool:
    return not any(process.pid in pids and process.is_alive for process in procs.all_processes())


ENDINGS = [("stop", "-t", "0.5"), ("stop", "-t", "0"), ("kill",), ("rm", "-f")]


@pytest.mark.parametrize("verb", ENDINGS, ids=" ".join)
def test_s18_fork_bomb_within_a_pids_limit_is_killed_to_the_last_process(
    bento: BentoCli, share: Share, verb: tuple[str, ...]
) -> None:
    identifier = run_script(bento, share, BOMB, "--pids-limit", str(LIMIT))
    procs.wait_until(lambda: len(members(bento, "w")) >= LIMIT - 5, what="the bomb to go off")
    bomb = members(bento, "w")
    assert len(bomb) <= LIMIT

    assert bento(*verb, "w").seconds < 20
    assert gone(bomb)
    assert_released(bento, identifier)


def test_s18_fork_bomb_on_cgroup2_is_killed_to_the_last_process(on_cgroup2: BentoCli, share: Share) -> None:
    """There is no pids controller in the view, so a user's limit has to bound it."""
    share.path.chmod(0o777)
    user = str(20_000 + os.getpid() % 40_000)  # the limit counts what a user has on the whole machine
    identifier = run_script(on_cgroup2, share, BOMB, "-u", user, "--ulimit", f"nproc={LIMIT}")
    procs.wait_until(lambda: len(members(on_cgroup2, "w")) >= LIMIT - 5, what="the bomb to go off")
    assert set(on_cgroup2.inspect("w")["Cgroups"]) == {""}

    assert on_cgroup2("stop", "-t", "0.5", "w").seconds < 20
    assert_released(on_cgroup2, identifier)


STRAY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    os.wait()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
    open("/s/ready", "w").close()
    while True:
        signal.pause()
os.setsid()
if os.fork():
    os._exit(0)
time.sleep(1000)
"""
"""Its grandchild ignores SIGTERM in a session of its own, and is no process's child any more."""


@pytest.mark.parametrize("where", ["own", "host", "container"])
def test_s18_processes_that_left_the_tree_of_pid_1_are_killed_too(bento: BentoCli, share: Share, where: str) -> None:
    if where == "container":
        bento.run("--name", "other", "host", "sleep", "1000")
    flags = {"own": (), "host": ("--pid", "host"), "container": ("--pid", "container:other")}[where]
    identifier = run_script(bento, share, STRAY, *flags)
    before = members(bento, "w")
    assert len(before) == 2

    report = stop_report(bento, "-t", "1", "w")

    assert report["exit_code"] == 5
    assert report["verdict"] == "graceful"  # what PID 1 left does not receive the signal: nothing more could be saved
    assert gone(before)
    assert_released(bento, identifier)
    if where == "container":
        assert bento.state("other")["Status"] == "running"


# -- shared PID namespaces --------------------------------------------------------------------------


@ONE_RUNTIME
def test_s18_a_shared_pid_namespace_is_shared_and_its_other_processes_are_left_alone(bento: BentoCli) -> None:
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        try:
            bento.run("--name", "w", "--pid", "host", "host", "sleep", "1000")
            pid = bento.state("w")["Pid"]
            assert os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
            report = stop_report(bento, "w")
            assert (report["verdict"], report["exit_code"], report["disposition"]) == ("graceful", 143, "default")
            assert {end["pid"] for end in report["processes"]} == {pid}
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_s18_those_left_behind_in_a_shared_namespace_are_signalled_and_get_their_time(
    bento: BentoCli, share: Share
) -> None:
    script = """
import os, signal, sys, time
if os.fork():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while not os.path.exists("/s/armed"):
        time.sleep(0.01)
    open("/s/ready", "w").close()
    while True:
        signal.pause()
def leave(*_):
    time.sleep(0.7)
    open("/s/left", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
open("/s/armed", "w").close()
while True:
    signal.pause()
"""
    identifier = run_script(bento, share, script, "--pid", "host")
    report = stop_report(bento, "w")
    assert (share.path / "left").exists()
    assert report["exit_code"] == 0
    assert {end["how"] for end in report["processes"]} == {"exited"}
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s18_what_pid_1_leaves_behind_in_a_shared_namespace_ends_with_it(bento: BentoCli) -> None:
    identifier = bento.run(
        "--name", "w", "--pid", "host", "host", "/bin/sh", "-c", "setsid sleep 1000 & sleep 0.3; exit 6"
    )
    assert bento("wait", "w").stdout.strip() == "6"
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s18_the_end_of_the_owner_of_a_namespace_ends_those_that_share_it(bento: BentoCli) -> None:
    bento.run("--name", "owner", "host", "sleep", "1000")
    guest = bento.run("--name", "w", "--pid", "container:owner", "host", "sleep", "1000")
    assert bento.inspect("w")["HostConfig"]["Requires"] == [bento.inspect("owner")["Id"]]
    bento("kill", "owner")
    assert wait_for_status(bento, "w", "stopped")["ExitCode"] == 137
    assert_released(bento, guest)


@ONE_RUNTIME
def test_s18_only_a_running_container_can_share_its_pid_namespace(bento: BentoCli) -> None:
    bento("create", "--name", "made", "host", "true")
    assert "does not run" in bento.fails("create", "--pid", "container:made", "host", "true")
    assert "nobody" in bento.fails("create", "--pid", "container:nobody", "host", "true")
    for word in ("container:", "hosts", "1"):
        assert "container:NAME" in bento.fails("create", "--pid", word, "host", "true", code=2)
    bento.run("--name", "owner", "host", "sleep", "1000")
    bento("create", "--name", "w", "--pid", "container:owner", "host", "true")
    bento("kill", "owner")
    bento("start", "w")  # it requires the other one, which is started first
    assert bento.state("owner")["Status"] == "running"


# -- limits -----------------------------------------------------------------------------------------


@ONE_RUNTIME
@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("--pids-limit", ["x", "1.5", ""]),
        ("--memory", ["1k", "x", "-1", "1q", "", "1e9"]),
        ("--cpus", ["-1", "x", "nan", "inf", "0.001"]),
    ],
)
def test_nonsense_for_a_limit_is_a_usage_error_and_makes_nothing(bento: BentoCli, flag: str, values: list[str]) -> None:
    for value in values:
        assert bento.fails("create", f"{flag}={value}", "host", "true", code=2)
    assert bento("ps", "-aq").stdout == ""


def test_limits_are_those_of_the_cgroup(bento: BentoCli) -> None:
    bento.run("--name", "w", "--pids-limit", "50", "-m", "64m", "--cpus", "0.5", "host", "sleep", "1000")
    paths = bento.inspect("w")["Cgroups"]
    read = {name: Path(paths[where], name).read_text().strip() for where, name in [
        ("pids", "pids.max"), ("memory", "memory.limit_in_bytes"), ("cpu", "cpu.cfs_quota_us"),
    ]}  # fmt: skip
    assert read == {"pids.max": "50", "memory.limit_in_bytes": str(64 << 20), "cpu.cfs_quota_us": "50000"}
    shown = bento.inspect("w")["HostConfig"]
    assert (shown["PidsLimit"], shown["Memory"], shown["NanoCpus"]) == (50, 64 << 20, 500_000_000)


@ONE_RUNTIME
def test_a_limit_whose_controller_is_not_there_is_refused(on_cgroup2: BentoCli) -> None:
    assert "cannot limit the number of processes" in on_cgroup2.fails(
        "create", "--pids-limit", "9", "host", "true", code=2
    )
    assert on_cgroup2("ps", "-aq").stdout == ""


def test_s24_the_oom_killer_during_a_stop_is_named_as_the_cause(bento: BentoCli, share: Share) -> None:
    script = """
import signal
def eat(*_):
    held = []
    while True:
        held.append(b"x" * (1 << 20))
signal.signal(signal.SIGTERM, eat)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""
    run_script(bento, share, script, "-m", "48m")
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"]) == ("killed", 137)
    assert "OOM" in report["cause"]
    assert bento.state("w")["OOMKilled"] is True


# -- frozen -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [("stop", "--paused", "kill"), ("kill",), ("rm", "-f")], ids=" ".join)
def test_s18_a_frozen_container_dies(bento: BentoCli, verb: tuple[str, ...]) -> None:
    identifier = run_ignoring(bento)
    bento("pause", "w")
    assert bento(*verb, "w").seconds < 20
    assert_released(bento, identifier)


@pytest.mark.parametrize("verb", [("stop", "--paused", "kill"), ("kill",), ("rm", "-f")], ids=" ".join)
def test_s18_a_frozen_container_dies_on_cgroup2(on_cgroup2: BentoCli, verb: tuple[str, ...]) -> None:
    identifier = run_ignoring(on_cgroup2)
    on_cgroup2("pause", "w")
    assert on_cgroup2.state("w")["Status"] == "paused"
    assert on_cgroup2(*verb, "w").seconds < 20
    assert_released(on_cgroup2, identifier)


# -- stuck ------------------------------------------------------------------------------------------


@pytest.fixture
def hanging(share: Share) -> Iterator[fuse.HangingFile]:
    with fuse.HangingFile(share.path.parent / "f") as file:
        yield file


@pytest.fixture
def stuck(roots: Roots, runtime: str, hanging: fuse.HangingFile) -> Iterator[BentoCli]:
    """The command line where the hanging file is."""
    cli = ElsewhereCli(roots, runtime, *hanging.enter)
    yield cli
    hanging.answer()
    cli.remove_all()


@pytest.mark.parametrize("which", ["main", "child", "left"])
def test_s19_a_process_in_state_d_is_named_and_a_later_stop_goes_on(
    stuck: BentoCli, hanging: fuse.HangingFile, which: str
) -> None:
    script = {
        "main": "exec cat /f/hang",
        "child": "cat /f/hang & exec sleep 1000",
        "left": "cat /f/hang & exec sleep 1000",  # PID 1 dies at once, in the host's PID namespace
    }[which]
    flags = ("--pid", "host") if which == "left" else ()
    identifier = stuck.run("--name", "w", "-v", f"{hanging.directory}:/f", *flags, "host", "/bin/sh", "-c", script)
    assert hanging.taken.wait(30)
    (reader,) = (pid for pid in members(stuck, "w") if procs.cmdline(pid).startswith("cat"))

    said = stuck.fails("stop", "-t", "0", "--kill-timeout", "1", "w")

    assert f"{reader} cat (state D, in " in said
    assert "fuse" in said or "request_wait_answer" in said
    assert "read" in said.split("state D", 1)[1]
    is_left_behind = which == "child"  # PID 1 is dead and waits for its namespace to be empty
    assert ("sleep (state S, in " in said) == is_left_behind
    assert "stop it again" in said
    store = SqliteStore(stuck.roots.root / "bento.db")  # any command that meets it would go on with the stop
    assert store.get(identifier).status is Status.STOPPING
    store.close()
    assert leaks.mounts_naming(identifier) != []
    assert not gone([reader])

    hanging.answer()
    assert stuck("stop", "w").seconds < 10
    assert stuck.state("w")["Status"] == "stopped"
    assert stuck.state("w")["ExitCode"] == 137
    assert_released(stuck, identifier)


def test_s19_a_stuck_container_is_not_removed_by_force(stuck: BentoCli, hanging: fuse.HangingFile) -> None:
    stuck.run("--name", "w", "-v", f"{hanging.directory}:/f", "host", "cat", "/f/hang")
    assert hanging.taken.wait(30)
    stuck.fails("stop", "-t", "0", "--kill-timeout", "0.5", "w")
    with ended(stuck.start("rm", "-f", "w")) as removing:
        procs.wait_until(lambda: stuck.state("w")["Status"] == "stopping", what="the record to stay")
        hanging.answer()
        assert removing.wait(20) == 0
    assert stuck("ps", "-aq").stdout == ""

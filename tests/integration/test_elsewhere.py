"""A live container is never taken for dead by a look from another namespace, or at a copy of its root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from support import procs
from support.cli import BentoCli, Roots
from support.workload import ONE_RUNTIME, assert_clean

IN_PID_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
IN_TIME_NAMESPACE = ("unshare", "--time", "--fork", "--boottime", "1000")
WAYS = {
    "pid": (IN_PID_NAMESPACE, "another PID namespace"),
    "time": (IN_TIME_NAMESPACE, "another time namespace"),
    "pid-without-proc": (("unshare", "--pid", "--fork", "--kill-child"), "another PID namespace"),
}
LOOP = ("host", "sh", "-c", "sleep 0.1; exit 1")


class Elsewhere(BentoCli):
    """The same roots, by a command that first goes elsewhere."""

    def __init__(self, bento: BentoCli, way: tuple[str, ...]) -> None:
        super().__init__(bento.roots, bento.runtime)
        self._way = way

    @property
    def prefix(self) -> list[str]:
        return [*self._way, *super().prefix]


def copy_of(bento: BentoCli, *, own_run_root: bool = True) -> BentoCli:
    """Copy the root, by a run root of its own or by the same one."""
    base = bento.roots.root.parent
    subprocess.run(["cp", "-a", bento.roots.root, base / "c"], check=True)
    return BentoCli(Roots(base / "c", base / "rc" if own_run_root else bento.roots.run_root), bento.runtime)


def lives(pid: int) -> bool:
    process = procs.read(pid)
    return process is not None and process.is_alive


def told(bento: BentoCli, name: str) -> tuple[int, str, str]:
    """Return which process it is, its state, and all that is recorded of its run."""
    document = bento.inspect(name)
    return document["State"]["Pid"], document["State"]["Status"], str(document["State"]["StartedAt"])


@pytest.mark.parametrize(
    ("runtime", "way"),
    [("crun", "pid"), ("runc", "pid"), ("crun", "time"), ("runc", "pid-without-proc")],
    indirect=["runtime"],
)
def test_a2_another_namespace_changes_nothing_and_says_so(bento: BentoCli, way: str) -> None:
    bento.run("--name", "w", "--init", "host", "sleep", "1000")
    before = told(bento, "w")
    command, where = WAYS[way]
    there = Elsewhere(bento, command)
    # Where every process of the machine is to be seen by its right number, one verb stands for all.
    verbs = ("ps -a", "stop -t 1 w", "rm -f w", "doctor --fix") if way == "pid" else ("ps -a", "rm -f w")
    for verb in verbs:
        finished = there(*verb.split(), check=False)
        assert finished.returncode == 1, str(finished)
        [line] = finished.stderr.strip().splitlines()
        assert where in line, verb
    assert told(bento, "w") == before
    assert lives(before[0])
    assert bento("stop", "--format", "json", "w").returncode == 0  # from where it was started, as ever
    assert bento.state("w")["ExitCode"] == 143
    bento("rm", "w")
    assert_clean(bento)


@ONE_RUNTIME
def test_a2_a_container_that_has_the_roots_mounted_changes_nothing(bento: BentoCli, roots: Roots) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    before = told(bento, "w")
    here = Path(__file__).parents[2]
    words = ["run", "--rm", "-v", f"{roots.root.parent}:{roots.root.parent}", "-v", f"{here}:{here}:ro", "host"]
    inside = bento(*words, *bento.prefix, "rm", "-f", "w", check=False)
    assert inside.returncode == 1, str(inside)
    assert "another PID namespace" in inside.stderr
    assert told(bento, "w") == before
    bento("rm", "-f", "w")


@pytest.mark.parametrize(("runtime", "run_root"), [("crun", "gone"), ("runc", "kept")], indirect=["runtime"])
def test_a2_what_ended_with_its_pid_namespace_is_not_locked(bento: BentoCli, roots: Roots, run_root: str) -> None:
    """As in a system container that was started again: the boot is the same, the PID namespace is another one."""
    there = Elsewhere(bento, IN_PID_NAMESPACE)
    script = " && ".join(
        " ".join([*bento.prefix, *words])
        for words in (
            ("run", "-d", "--name", "web", "host", "sleep", "1000"),
            ("run", "-d", "--name", "always", "--restart", "always", "host", "sleep", "1000"),
            ("run", "-d", "--name", "gone", "--rm", "host", "sleep", "1000"),
            ("run", "-d", "--name", "endless", "host", "sh", "-c", "'trap : TERM; while :; do sleep 1; done'"),
            ("stop", "--no-wait", "-t", "1000", "endless"),
        )
    )
    subprocess.run([*IN_PID_NAMESPACE, "sh", "-c", script], check=True, capture_output=True, timeout=120)
    if run_root == "gone":
        shutil.rmtree(roots.run_root)
    assert there("start", "web").stdout == "web\n"  # it ended at once with the namespace of this command
    bento("stop", "--ignore", "always")
    procs.wait_until(
        lambda: bento("ps", "-q").stdout == "", timeout_s=60.0, what="an end of all that ran there", every_s=0.1
    )
    states = bento("ps", "-a", "--format", "{{.Names}} {{.State}}").stdout.split()
    assert dict(zip(states[::2], states[1::2], strict=True)) == dict.fromkeys(("web", "always", "endless"), "stopped")
    bento("start", "web")
    bento("rm", "-f", "web", "always", "endless")
    assert_clean(bento)


@pytest.mark.parametrize(("runtime", "own_run_root"), [("crun", True), ("runc", False)], indirect=["runtime"])
def test_a3_a_copied_root_leaves_the_originals_containers_alone(bento: BentoCli, own_run_root: bool) -> None:
    bento.run("--name", "w", "--init", "host", "sleep", "1000")
    bento("run", "--name", "late", "host", "true")
    before = told(bento, "w")
    copy = copy_of(bento, own_run_root=own_run_root)
    for verb in ("ps -a", "stop -t 1 w", "rm -f w", "start w"):
        finished = copy(*verb.split(), check=False)
        assert finished.returncode == 1, str(finished)
        assert f"by the root {bento.roots.root}, of which this is a copy" in finished.stderr, verb
    assert copy("doctor", "--fix").stdout == "nothing is left over\n"
    assert told(bento, "w") == before

    assert copy("run", "--rm", "host", "echo", "mine").stdout == "mine\n"
    bento("start", "late")
    copy("rm", "late")  # what had stopped is the copy's
    bento("stop", "w")
    assert bento.state("w")["ExitCode"] == 143
    assert copy.state("w")["Status"] == "stopped"  # nothing lives of it any more
    copy("rm", "w")
    copy.remove_all()


@ONE_RUNTIME
def test_a3_two_copies_do_not_run_a_container_of_one_id_at_once(bento: BentoCli) -> None:
    bento("create", "--name", "w", "host", "sleep", "1000")
    copy = copy_of(bento)
    bento("start", "w")
    before = told(bento, "w")
    assert "run already, started from a copy of this root" in copy.fails("start", "w")
    assert copy.state("w")["Status"] == "created"
    copy("rm", "w")
    assert told(bento, "w") == before
    assert lives(before[0])


@ONE_RUNTIME
def test_a3_a_copy_does_not_restart_what_the_original_will(bento: BentoCli) -> None:
    bento.run("--name", "loop", "--restart", "always", *LOOP)
    # The pauses grow: one so long that the copy is made within it.
    procs.wait_until(
        lambda: bento.inspect("loop")["RestartCount"] >= 5 and bento.state("loop")["Status"] == "restarting",
        timeout_s=60.0, what="a long pause between restarts",
    )  # fmt: skip
    copy = copy_of(bento)
    for verb in (("ps", "-a"), ("stop", "loop"), ("rm", "-f", "loop")):
        assert copy(*verb, check=False).returncode == 1
    bento("stop", "loop")
    os.rename(bento.roots.root, bento.roots.root.with_name("away"))
    try:  # moved, as far as the copy can see: what waits is its own
        copy("rm", "-f", "loop")
    finally:
        os.rename(bento.roots.root.with_name("away"), bento.roots.root)


@ONE_RUNTIME
def test_a3_a_root_that_was_moved_keeps_what_runs(bento: BentoCli) -> None:
    bento.run("--name", "w", "--init", "host", "sleep", "1000")
    before = told(bento, "w")
    base = bento.roots.root.parent
    os.rename(bento.roots.root, base / "m")
    moved = BentoCli(Roots(base / "m", bento.roots.run_root), bento.runtime)
    assert told(moved, "w") == before
    moved("stop", "w")
    assert moved.state("w")["ExitCode"] == 143
    moved("rm", "w")
    assert_clean(moved)


def test_a2_a_populated_cgroup_is_alive_though_pid_1_is_not_to_be_found(bento: BentoCli) -> None:
    """Neither its monitor nor a pidfd has seen it end."""
    bento.run("--name", "w", "host", "sleep", "1000")
    document = bento.inspect("w")
    pid, monitor = document["State"]["Pid"], document["Monitor"]["Pid"]
    with subprocess.Popen(["sleep", "1000"]) as left:
        for directory in document["Cgroups"].values():
            Path(directory, "cgroup.procs").write_text(str(left.pid))
        os.kill(monitor, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        assert bento("ps", "-a", "--format", "{{.State}}").stdout == "running\n"
        assert left.poll() is None
        bento("stop", "-t", "0.1", "w")
        assert left.wait(30) == -9  # it was asked for, and it had its time
    assert bento.state("w")["Status"] == "stopped"


@pytest.mark.parametrize(("runtime", "lost"), [("crun", "root"), ("runc", "both")], indirect=["runtime"])
def test_a2_doctor_ends_what_runs_without_a_record(bento: BentoCli, roots: Roots, lost: str) -> None:
    identifier = bento.run("--name", "w", "--network", "bridge", "--init", "host", "sleep", "1000")
    pid = bento.state("w")["Pid"]
    shutil.rmtree(roots.root)
    if lost == "both":
        shutil.rmtree(roots.run_root)
    assert bento("ps", "-a", "-q").stdout == ""
    found = bento("doctor", check=False)
    assert found.stdout == f"container: {identifier[:12]} runs and has no record\n"
    assert found.returncode == 1
    assert lives(pid)
    fixed = bento("doctor", "--fix")
    assert fixed.stdout == f"container: {identifier[:12]} runs and has no record (ended)\n"
    assert f"container {identifier[:12]} runs and has no record: it is ended" in fixed.stderr
    assert not lives(pid)
    assert bento("doctor").stdout == "nothing is left over\n"
    assert_clean(bento)


@ONE_RUNTIME
def test_a2_doctor_leaves_the_containers_of_another_root_alone(bento: BentoCli, roots: Roots) -> None:
    """Two roots may have one run root."""
    bento.run("--name", "w", "host", "sleep", "1000")
    before = told(bento, "w")
    other = BentoCli(Roots(roots.root.with_name("other"), roots.run_root), bento.runtime)
    other("ps")
    finished = other("doctor", "--fix", check=False)
    assert "no record" not in finished.stdout
    assert told(bento, "w") == before
    assert lives(before[0])

"""Health checks on real runtimes, by the keeper: what starts it, what it leaves, and what a stop does with a check."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from support import procs
from support.cli import BentoCli, Roots
from support.workload import MARKER, ONE_RUNTIME, Share, busybox_rootfs, run_script, stop_report

QUICK = ("--health-interval", "100ms")


def keeper_pid(roots: Roots) -> int:
    """The process that has the keeper's lock, by what it has written into it; 0: none."""
    try:
        return int(json.loads((roots.run_root / "health" / "keeper").read_bytes())["process"]["pid"])
    except (FileNotFoundError, ValueError):  # it has just been made
        return 0


def health(bento: BentoCli, name: str) -> dict[str, Any]:
    found: dict[str, Any] = bento.state(name)["Health"]
    return found


def wait_for_health(bento: BentoCli, name: str, status: str) -> dict[str, Any]:
    procs.wait_until(lambda: health(bento, name)["Status"] == status, what=f"{name} to be {status}", every_s=0.1)
    return health(bento, name)


def until_gone(pid: int) -> None:
    procs.wait_until(lambda: not (found := procs.read(pid)) or not found.is_alive, what=f"the end of {pid}")


def test_a_container_becomes_healthy_and_unhealthy_and_healthy_again(
    bento: BentoCli, roots: Roots, share: Share
) -> None:
    """As the user, with the variables and in the directory of the container, and with what it sees."""
    check = "id -u; pwd; echo $WORD >&2; test -e /s/ok"
    (share.path / "ok").touch()
    bento.run(
        "--name", "w", "-v", f"{share.path}:/s", "-u", "65534", "-w", "/tmp", "-e", "WORD=w-o-r-d",
        "--health-cmd", check, *QUICK, "--health-retries", "2", "host", "sleep", "1000",
    )  # fmt: skip
    found = wait_for_health(bento, "w", "healthy")
    assert found["FailingStreak"] == 0
    assert sorted(found["Log"][0]["Output"].split()) == ["/tmp", "65534", "w-o-r-d"]
    assert "(healthy)" in bento("ps", "-f", "health=healthy").stdout
    assert bento("ps", "-q", "-f", "health=unhealthy").stdout == ""
    (share.path / "ok").unlink()
    found = wait_for_health(bento, "w", "unhealthy")
    assert found["FailingStreak"] >= 2
    assert found["Log"][-1]["ExitCode"] == 1
    (share.path / "ok").touch()
    assert len(wait_for_health(bento, "w", "healthy")["Log"]) == 5
    pid = keeper_pid(roots)
    bento("stop", "-t", "0", "w")
    until_gone(pid)
    assert health(bento, "w")["Status"] == "unhealthy"  # as Docker has it: it does not run
    bento("start", "w")
    assert health(bento, "w")["Log"] == [] or health(bento, "w")["Status"] == "healthy"


@ONE_RUNTIME
def test_the_keeper_belongs_to_no_command_and_is_small(bento: BentoCli, roots: Roots, tmp_path: Path) -> None:
    started = bento.start("run", "-d", "--health-cmd", "true", "host", "sleep", "1000", cwd=tmp_path)
    with started:
        started.communicate()
    procs.wait_until(lambda: keeper_pid(roots), what="the keeper")
    pid = keeper_pid(roots)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    own = Path(f"/proc/{pid}/cgroup").read_text().split()
    assert all(line.endswith(":/") or "bento-" not in line for line in own)
    procs.wait_until(lambda: "ep" in Path(f"/proc/{pid}/wchan").read_text(), what="the keeper to sleep")
    open_files = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    own_files = (str(roots.root), str(roots.run_root), "anon_inode:", "/dev/null")
    assert [path for path in open_files if not path.startswith(own_files)] == []
    switches = procs_switches(pid)
    time.sleep(1.5)
    assert procs_switches(pid) == switches
    assert resident_kib(pid) <= 12 * 1024


def resident_kib(pid: int) -> int:
    rollup = dict(line.split()[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(rollup["Rss:"])


def procs_switches(pid: int) -> str:
    return next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("voluntary"))


@ONE_RUNTIME
def test_a_keeper_that_was_killed_is_replaced_and_its_check_ended(bento: BentoCli, roots: Roots) -> None:
    bento.run("--name", "w", "--health-cmd", "sleep 98731", *QUICK, "host", "sleep", "1000")
    procs.wait_until(lambda: procs.with_word("98731"), what="the check")
    first, check = keeper_pid(roots), procs.with_word("98731")
    assert resident_kib(first) <= 18 * 1024  # at a check, and as it was while it started
    os.kill(first, signal.SIGKILL)
    until_gone(first)
    bento("ps")
    procs.wait_until(lambda: keeper_pid(roots) not in (0, first), what="another keeper")
    for process in check:
        until_gone(process.pid)
    procs.wait_until(lambda: procs.with_word("98731"), what="another check")
    os.kill(keeper_pid(roots), signal.SIGSTOP)
    assert "which carries out health checks, is stopped (removed)" in bento("doctor", "--fix").stdout
    second = keeper_pid(roots)
    os.kill(second, signal.SIGTERM)  # as another version of Bento does
    until_gone(second)
    procs.wait_until(lambda: not procs.with_word("98731"), what="the check's end")
    bento("rm", "-f", "w")


@ONE_RUNTIME
def test_a_check_that_takes_too_long_is_ended_with_what_it_has_begun(bento: BentoCli) -> None:
    check = "echo begun; sleep 98741 & trap '' TERM HUP; sleep 98742"
    bento.run(
        "--name", "w", "--health-cmd", check, *QUICK, "--health-timeout", "300ms", "--health-retries", "1",
        "host", "sleep", "1000",
    )  # fmt: skip
    found = wait_for_health(bento, "w", "unhealthy")
    assert found["Log"][0]["ExitCode"] == -1
    assert found["Log"][0]["Output"] == "Health check exceeded timeout (300ms): begun\n"
    bento("rm", "-f", "w")
    procs.wait_until(lambda: not procs.with_word("98741") and not procs.with_word("98742"), what="the check's end")


def test_s16_a_check_under_way_is_ended_with_the_stop_and_is_no_session(bento: BentoCli, share: Share) -> None:
    """It receives the signal, and would keep PID 1 at its exit for the whole grace."""
    check = "trap '' HUP; trap 'sleep 98751' TERM; touch /s/checking; sleep 98752"
    run_script(bento, share, MARKER, "--health-cmd", check, *QUICK, "--stop-timeout", "60")
    procs.wait_until((share.path / "checking").exists, what="the check")
    report = stop_report(bento, "w")
    assert report["verdict"] == "graceful"
    assert report["duration_s"] < 20
    assert not [process for process in report["processes"] if process["session"]]
    assert share.lines("marker") == ["done"]
    assert procs.with_word("98751") + procs.with_word("98752") == []
    assert health(bento, "w")["Log"] == []


@ONE_RUNTIME
def test_a_container_restarts_and_is_renamed_and_removed_while_it_is_checked(bento: BentoCli, roots: Roots) -> None:
    bento.run("--name", "w", "--health-cmd", "sleep 98761", *QUICK, "host", "sleep", "1000")
    procs.wait_until(lambda: procs.with_word("98761"), what="the check")
    bento("rename", "w", "v")
    bento("restart", "-t", "0", "v")
    procs.wait_until(lambda: procs.with_word("98761"), what="the check")
    pid = keeper_pid(roots)
    bento("rm", "-f", "v")
    until_gone(pid)
    assert procs.with_word("98761") == []


@ONE_RUNTIME
def test_the_check_of_an_image_is_run_and_kept_by_commit(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", "-c", "HEALTHCHECK --interval=100ms --retries=7 CMD test -e /none", "-c", "CMD sleep 1000",
          busybox_rootfs(tmp_path / "fs"), "checked")  # fmt: skip
    config = json.loads(bento("image", "inspect", "checked").stdout)[0]["Config"]
    wanted = {"Test": ["CMD-SHELL", "test -e /none"], "Interval": 100_000_000, "Retries": 7}
    assert config["Healthcheck"] == wanted
    bento.run("--name", "w", "--health-retries", "1", "checked")
    wait_for_health(bento, "w", "unhealthy")
    bento("commit", "w", "again")
    assert json.loads(bento("image", "inspect", "again").stdout)[0]["Config"]["Healthcheck"] == wanted | {"Retries": 1}
    bento.run("--name", "n", "--no-healthcheck", "checked")
    assert "Health" not in bento.state("n")
    assert bento.inspect("n")["Config"]["Healthcheck"] == {"Test": ["NONE"]}


@ONE_RUNTIME
def test_run_and_start_wait_for_it_and_so_do_dependants(bento: BentoCli) -> None:
    ready = ("--health-cmd", "test -e /tmp/ready", "--health-interval", "50ms", "--health-retries", "1000")
    bento("run", "--wait", "--name", "db", *ready, "host", "sh", "-c", "sleep 0.3; touch /tmp/ready; sleep 1000")
    assert health(bento, "db")["Status"] == "healthy"
    bento("stop", "-t", "0", "db")
    bento("create", "--name", "web", "--requires", "db:healthy", "host", "sleep", "1000")
    bento("start", "--wait", "web")
    assert health(bento, "db")["Status"] == "healthy"
    assert "no health check" in bento.fails("create", "--requires", "web:healthy", "host", "true", code=2)
    never = ("--health-cmd", "echo no way; exit 1", "--health-interval", "50ms", "--health-retries", "1")
    assert "never is unhealthy: no way" in bento.fails("run", "--wait", "--name", "never", *never, "host", "sleep", "9")
    late = ("--wait", "--wait-timeout", "0.1", "--name", "late", "--health-cmd", "true")
    assert "late has not become healthy in time" in bento.fails("run", *late, "host", "sleep", "1000")
    assert bento.state("late")["Status"] == "running"


@ONE_RUNTIME
def test_what_is_unhealthy_is_killed_or_restarted(bento: BentoCli) -> None:
    bad = ("--health-cmd", "test ! -e /tmp/ran || exit 1", "--health-interval", "100ms", "--health-retries", "1")
    program = ("host", "sh", "-c", "touch /tmp/ran; exec sleep 1000")
    bento.run("--name", "k", *bad, "--health-on-failure", "kill", *program)
    bento.run("--name", "r", *bad, "--health-on-failure", "restart", "--stop-timeout", "0", *program)
    procs.wait_until(lambda: bento.state("k")["Status"] == "stopped", what="its end", every_s=0.1)
    assert bento.state("k")["ExitCode"] == 137
    procs.wait_until(lambda: bento.inspect("r")["Run"] >= 2, what="its restart", every_s=0.1)
    bento("rm", "-f", "r")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--no-healthcheck", "--health-cmd", "true"), "exclude each other"),
        (("--health-interval", "5s"), "no health check"),
        (("--health-on-failure", "kill"), "needs a health check"),
        (("--health-timeout", "soon", "--health-cmd", "true"), "bad --health-timeout 'soon'"),
    ],
)
@ONE_RUNTIME
def test_what_makes_no_sense_is_refused(bento: BentoCli, words: tuple[str, ...], error: str) -> None:
    assert error in bento.fails("run", *words, "host", "true", code=125)
    assert bento("ps", "-aq").stdout == ""

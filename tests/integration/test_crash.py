"""The command line is killed at every stage of its work: afterwards everything can be listed, removed, and is clean."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

from support import leaks, procs
from support.cli import BentoCli
from support.workload import ONE_RUNTIME, assert_clean, ended, engine_processes, wait_for_status

POINTS_MS = range(0, 125, 5)
FEWER_POINTS_MS = range(0, 125, 10)


def kill_after(bento: BentoCli, delay_s: float, *words: str) -> int:
    """Start a command and SIGKILL it after so long; return its exit status (-9: it was not ready before)."""
    begun = time.monotonic()
    with ended(bento.start(*words, start_new_session=True)) as process:
        rest_s = begun + delay_s - time.monotonic()
        if rest_s > 0:
            time.sleep(rest_s)  # the very point of the test
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return int(process.returncode)


def assert_settled(bento: BentoCli) -> None:
    """What was left can be listed and removed, and then nothing is left."""
    listed = bento("ps", "-a", "-q").stdout.split()
    for container in listed:
        assert bento.state(container)["Status"] in ("created", "running", "stopped")
    if listed:
        bento("rm", "-f", *listed)
    bento("doctor", "--fix", check=False)  # a directory made before its record, or after it went
    assert_clean(bento)


def test_run_killed_at_any_time_can_be_listed_and_removed(bento: BentoCli) -> None:
    bento("ps")
    statuses = set()
    for point_ms in POINTS_MS:
        kill_after(bento, point_ms / 1000, "run", "-d", "--name", f"w{point_ms}", "host", "sleep", "1000")
        listed = bento("ps", "-a", "-q").stdout.split()
        for container in listed:
            statuses.add(bento.state(container)["Status"])
        if listed:
            bento("rm", "-f", *listed)
        procs.wait_until(lambda: not engine_processes(bento, "conmon"), what="the monitor to go")
    assert statuses <= {"created", "running", "stopped"}
    assert_settled(bento)
    assert leaks.mounts_naming(str(bento.roots.root)) == []


@ONE_RUNTIME
def test_start_killed_at_any_time_can_be_done_again(bento: BentoCli) -> None:
    bento("create", "--name", "w", "host", "sleep", "1000")
    for point_ms in FEWER_POINTS_MS:
        kill_after(bento, point_ms / 1000, "start", "w")
        bento("start", "w")
        assert bento.state("w")["Status"] == "running"
        bento("kill", "w")
    assert bento.state("w")["ExitCode"] == 137
    bento("rm", "w")
    assert_settled(bento)


@ONE_RUNTIME
def test_stop_killed_with_its_worker_at_any_time_is_finished_by_the_next(bento: BentoCli) -> None:
    for point_ms in FEWER_POINTS_MS:
        bento.run("--name", "w", "host", "sleep", "1000")
        with ended(bento.start("stop", "--start-window", "0", "w", start_new_session=True)):
            time.sleep(point_ms / 1000)
            for process in engine_processes(bento, "stop"):
                procs.kill(process)
        bento("stop", "--ignore", "--start-window", "0", "w")
        state = wait_for_status(bento, "w", "stopped")
        assert state["ExitCode"] == 137
        assert bento("doctor").returncode == 0
        bento("rm", "w")
    assert_settled(bento)


@ONE_RUNTIME
def test_removal_killed_with_its_worker_at_any_time_can_be_done_again(bento: BentoCli) -> None:
    for point_ms in FEWER_POINTS_MS:
        bento.run("--name", "w", "host", "sleep", "1000")
        with ended(bento.start("rm", "-f", "w", start_new_session=True)):
            time.sleep(point_ms / 1000)
            for process in engine_processes(bento, "rm"):
                procs.kill(process)
        bento("rm", "-f", "w", check=False)
        assert bento("ps", "-aq").stdout == ""
    assert_settled(bento)


@ONE_RUNTIME
def test_import_killed_at_any_time_leaves_no_image_or_a_whole_one(bento: BentoCli, tmp_path: Path) -> None:
    source = tmp_path / "fs"
    (source / "bin").mkdir(parents=True)
    for number in range(300):
        (source / "bin" / f"f{number}").write_bytes(bytes(4096))
    for point_ms in FEWER_POINTS_MS:
        kill_after(bento, point_ms / 1000, "import", str(source), "im")
        names = bento("images", "-q").stdout.split()
        if names:
            bento("rmi", "im")
    bento("doctor", "--fix", check=False)
    assert_clean(bento)


@ONE_RUNTIME
def test_reboot_is_survived(bento: BentoCli) -> None:
    """After a reboot the run root is empty, and no process of the record lives."""
    bento.run("--name", "w", "host", "sleep", "1000")
    pid, monitor = bento.state("w")["Pid"], bento.inspect("w")["Monitor"]["Pid"]
    for victim in (monitor, pid):
        found = procs.read(victim)
        if found is not None:
            procs.kill(found)
    shutil.rmtree(bento.roots.run_root)
    assert bento.state("w")["Status"] == "stopped"
    bento("start", "w")
    assert bento.state("w")["Status"] == "running"
    bento("rm", "-f", "w")
    assert_clean(bento)

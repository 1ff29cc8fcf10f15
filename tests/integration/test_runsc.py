"""Rule S20 with a runtime whose processes the host does not see: gVisor's runsc, by ptrace and without a network."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import leaks, procs
from support.cli import BentoCli, Roots
from support.workload import (
    Share,
    assert_clean,
    assert_released,
    ended,
    engine_processes,
    stop_report,
    wait_for_status,
)

pytestmark = pytest.mark.skipif(shutil.which("runsc") is None, reason="runsc is not installed")

LOOP = "while :; do sleep 0.05; done"
POLITE = f"trap 'echo told; exit 7' TERM; echo ready; {LOOP}"
STUBBORN = f"trap '' TERM; echo ready; {LOOP}"
SLOW = f"trap 'sleep 2; echo left; exit 0' TERM; echo ready; {LOOP}"


@pytest.fixture
def bento(roots: Roots) -> Iterator[BentoCli]:
    cli = BentoCli(roots, "runsc")
    yield cli
    removed = cli.remove_all()
    assert removed is None or removed.returncode == 0, str(removed)
    assert leaks.device_damage() == []


def run(bento: BentoCli, script: str, *flags: str) -> str:
    identifier = bento.run("--name", "w", *flags, "host", "/bin/sh", "-c", script)
    bento.wait_for_log("w", "ready")
    return identifier


def assert_gone(bento: BentoCli, identifier: str) -> None:
    assert_released(bento, identifier)
    assert [path.name for path in (bento.roots.run_root / "runtime/runsc").glob(f"*{identifier}*")] == []


def test_read_only_bind_mounts(bento: BentoCli, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "file").write_text("text\n")
    script = "cat /m/file; touch /m/x; touch /m/below/x; cat /f; echo x >>/f"
    flags = ("-v", f"{tmp_path}:/m:ro", "-v", f"{tmp_path}/file:/f:ro")
    finished = bento("run", "--rm", *flags, "host", "/bin/sh", "-c", script, check=False)
    assert finished.stdout == "text\ntext\n", str(finished)
    assert finished.stderr.count("Read-only") == 3
    assert sorted(os.listdir(tmp_path)) == ["below", "file"]
    assert_clean(bento)


def test_later_mounts_of_the_host_are_refused(bento: BentoCli, tmp_path: Path) -> None:
    line = bento.fails("run", "-v", f"{tmp_path}:/m:rslave", "host", "true", code=125)
    assert "runsc cannot show later mounts" in line


def test_cp_both_ways_while_it_runs(bento: BentoCli, tmp_path: Path) -> None:
    run(bento, f"mkdir -p /data/sub; echo inside >/data/sub/file; ln -s /etc /data/link; echo ready; {LOOP}")
    bento("cp", "w:/data", tmp_path / "out")
    assert (tmp_path / "out/sub/file").read_text() == "inside\n"
    assert os.readlink(tmp_path / "out/link") == "/etc"
    (tmp_path / "out/sub/file").write_text("outside\n")
    bento("cp", f"{tmp_path}/out/.", "w:/data")
    bento("cp", tmp_path / "out/sub/file", "w:/data/new")
    assert bento("exec", "w", "cat", "/data/sub/file", "/data/new").stdout == "outside\noutside\n"
    archive = subprocess.run([*bento.prefix, "cp", "w:/data/sub/.", "-"], capture_output=True, check=True).stdout
    subprocess.run([*bento.prefix, "cp", "-", "w:/tmp"], input=archive, check=True)
    bento("cp", "w:/tmp/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "outside\n"
    assert "no such file in container w: /nosuch" in bento.fails("cp", "w:/nosuch", tmp_path)
    bento("rm", "-f", "w")
    assert_clean(bento)


@pytest.mark.parametrize("code", [0, 3])
def test_run_passes_output_and_exit_code_on(bento: BentoCli, code: int) -> None:
    finished = bento("run", "--rm", "host", "/bin/sh", "-c", f"echo out; echo err >&2; exit {code}", check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (code, "out\n", "err\n")
    assert_clean(bento)


def test_s20_stop_goes_through_the_runtime_and_the_trap_runs(bento: BentoCli) -> None:
    identifier = run(bento, POLITE)
    assert bento("top", "w").stdout.split()[:2] == ["UID", "PID"]
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"], report["disposition"]) == ("graceful", 7, "unknown")
    assert report["errors"] == []
    assert [note for note in report["notes"] if "PID 1 is not held at its exit" not in note] == []
    assert len(report["notes"]) == 1  # rule S13a: without the hold, and that is said
    assert bento("logs", "w").stdout == "ready\ntold\n"
    assert bento.state("w")["ExitCode"] == 7
    assert_gone(bento, identifier)


def test_s20_a_program_that_ignores_the_signal_is_killed_when_the_grace_is_over(bento: BentoCli) -> None:
    identifier = run(bento, STUBBORN)
    begun = time.monotonic()
    report = stop_report(bento, "-t", "1", "w")
    assert 1.0 <= time.monotonic() - begun < 6
    assert (report["verdict"], report["exit_code"]) == ("killed", 137)
    assert [telling["comm"] for telling in report["signalled"]] == ["sh"]
    assert_gone(bento, identifier)


def test_s18_a_sandbox_that_does_not_answer_is_killed_itself(bento: BentoCli) -> None:
    identifier = run(bento, STUBBORN)
    sandbox = bento.state("w")["Pid"]
    os.kill(sandbox, signal.SIGSTOP)
    assert bento("stop", "-t", "0", "w").seconds < 10
    assert bento.state("w")["ExitCode"] == 137
    assert_gone(bento, identifier)


@pytest.mark.parametrize("verb", [("stop", "--paused", "kill"), ("kill",), ("rm", "-f")], ids=" ".join)
def test_s18_a_paused_one_dies(bento: BentoCli, verb: tuple[str, ...]) -> None:
    identifier = run(bento, STUBBORN)
    bento("pause", "w")
    assert bento.state("w")["Status"] == "paused"
    assert bento(*verb, "w").seconds < 10
    assert_gone(bento, identifier)


def test_s11_a_paused_one_is_signalled_and_thawed(bento: BentoCli) -> None:
    identifier = run(bento, POLITE)
    bento("pause", "w")
    report = stop_report(bento, "--paused", "thaw", "w")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 7)
    assert_gone(bento, identifier)


def test_kill_sends_any_signal_to_the_program(bento: BentoCli) -> None:
    run(bento, f"trap 'echo usr1' USR1; echo ready; {LOOP}")
    bento("kill", "-s", "USR1", "w")
    bento.wait_for_log("w", "usr1")
    bento("kill", "w")
    assert bento.state("w")["ExitCode"] == 137


def test_it_starts_again_and_goes_with_rm(bento: BentoCli) -> None:
    identifier = run(bento, POLITE)
    bento("restart", "w")
    assert bento.inspect("w")["Run"] == 2
    bento("rm", "-f", "w")
    assert_gone(bento, identifier)
    assert_clean(bento)


def inside(bento: BentoCli, identifier: str) -> str:
    """What runs inside, as the runtime tells."""
    words = ["runsc", "--root", str(bento.roots.run_root / "runtime/runsc"), "ps", identifier]
    return subprocess.run(words, capture_output=True, text=True, check=True, stdin=subprocess.PIPE).stdout


def test_s09_hooks_inside_and_the_host_keeps_its_dev_null(bento: BentoCli, share: Share) -> None:
    identifier = run(bento, POLITE, *share.flags)
    report = stop_report(bento, "--pre-stop", "cat; echo $BENTO_CONTAINER_NAME > /s/name", "--pre-stop", "exit 3", "w")
    assert [hook["error"] for hook in report["hooks"]] == ["", "exit status 3"]
    assert share.lines("name") == ["w"]
    assert (report["verdict"], report["exit_code"]) == ("graceful", 7)
    assert leaks.device_damage() == []
    assert_gone(bento, identifier)


def test_s09_a_hook_inside_that_takes_too_long_is_ended_inside_too(bento: BentoCli, share: Share) -> None:
    """By the container's own pid: the host has none for it."""
    identifier = run(bento, POLITE, *share.flags)
    hook = "sh -c 'touch /s/begun; exec sleep 98771' & trap '' TERM HUP; wait"
    with ended(bento.start("stop", "--hook-timeout", "2", "--pre-stop", hook, "--pre-stop-sleep", "1000", "w")) as stop:
        share.wait_for("begun")
        assert "sleep" in inside(bento, identifier)
        procs.wait_until(lambda: inside(bento, identifier).count("\n") <= 3, timeout_s=30, what="its end")
        assert stop.wait(timeout=30) == 0
    report = bento.inspect("w")["Stop"]
    assert [hook["error"] for hook in report["hooks"]] == ["took too long and was ended"] * 2
    assert_gone(bento, identifier)


def test_s06_a_hook_inside_whose_stopper_was_killed_is_ended_inside_too(bento: BentoCli, share: Share) -> None:
    identifier = run(bento, POLITE, *share.flags)
    hook = "touch /s/begun; trap '' TERM HUP; sleep 1000"
    with ended(bento.start("stop", "-t", "600", "--pre-stop", hook, "--pre-stop-sleep", "500", "w")):
        share.wait_for("begun")
        for process in engine_processes(bento, "stop"):
            procs.kill(process)
    bento("ps")  # another process meets it, and its stop goes on
    procs.wait_until(
        lambda: inside(bento, identifier).count("\n") <= 3, timeout_s=30, what="the end of the hook inside"
    )
    bento("stop", "-t", "5", "w")
    report = bento.inspect("w")["Stop"]
    assert [hook["error"] for hook in report["hooks"]] == [
        "interrupted: the process that ran it died",
        "took too long and was ended",
    ]
    assert_gone(bento, identifier)


def test_s06_worker_killed_in_the_middle_the_next_command_goes_on(bento: BentoCli) -> None:
    identifier = run(bento, SLOW)
    with ended(bento.start("stop", "w")):
        wait_for_status(bento, "w", "stopping")
        time.sleep(0.3)
        for process in engine_processes(bento, "stop"):
            procs.kill(process)
    assert bento("stop", "w").stdout == "w\n"
    report = bento.inspect("w")["Stop"]
    assert (report["verdict"], report["exit_code"]) == ("graceful", 0)
    assert len(report["signalled"]) == 1
    assert_gone(bento, identifier)


def test_s20_the_exit_code_is_unknown_when_the_monitor_died(bento: BentoCli) -> None:
    identifier = run(bento, POLITE)
    monitor = procs.read(bento.inspect("w")["Monitor"]["Pid"])
    assert monitor is not None
    procs.kill(monitor)
    report = stop_report(bento, "w")
    assert report["exit_code"] in (None, 7)
    assert_gone(bento, identifier)


def test_what_it_cannot_do_is_refused_at_once(bento: BentoCli) -> None:
    for flags in (("--pid", "host"), ("--pids-limit", "9"), ("--network", "host")):
        assert "runsc" in bento.fails("create", *flags, "host", "true", code=2)
    assert_clean(bento)


def test_what_does_not_exist_or_cannot_be_executed_has_its_exit_code(bento: BentoCli) -> None:
    assert "nosuch" in bento.fails("run", "host", "nosuch", code=127)
    assert "/etc/passwd" in bento.fails("run", "host", "/etc/passwd", code=126)
    assert_clean(bento)


def test_arguments_of_ones_own_take_the_place_of_bentos(bento: BentoCli) -> None:
    own = {"BENTO_RUNTIME_ARGS": "--platform=no-such"}
    assert "no-such" in bento.fails("run", "host", "true", code=125, env=own)
    own = {"BENTO_RUNTIME_ARGS": "--platform=ptrace --network=host"}
    bento("run", "--rm", "--network", "host", "host", "true", env=own)
    assert_clean(bento)

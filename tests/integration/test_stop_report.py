"""Stop rules S20 to S25 on real runtimes: what is released, what is told, and the exit status."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bento import Engine, Settings
from bento.errors import StuckProcess
from bento.kernel import mount
from bento.model.container import Status
from bento.model.stop import Verdict
from bento.stop import cleaning
from bento.stop.states import Step

from support import leaks, procs
from support.cli import BentoCli, Roots
from support.workload import (
    MARKER,
    ONE_RUNTIME,
    POLITE,
    PYTHON,
    Share,
    assert_one_line,
    assert_released,
    kill_pid,
    run_ignoring,
    run_script,
    stop_report,
    wait_for_status,
)

PHASES = ["signal", "reaction", "exit", "log drain", "runtime", "cgroup", "network", "unmount", "record"]


def run_polite(bento: BentoCli, name: str = "w") -> str:
    identifier = bento.run("--name", name, "host", PYTHON, "-c", POLITE)
    bento.wait_for_log(name, "ready")
    return identifier


# -- S20 to S22: released means released ----------------------------------------------------------


def test_s22_nothing_is_held_at_the_moment_stop_returns(bento: BentoCli) -> None:
    for attempt in range(3):
        identifier = run_polite(bento, f"w{attempt}")
        bento("stop", f"w{attempt}")
        assert not mount.is_upper_in_use(bento.roots.root / "containers" / identifier / "upper")
        assert_released(bento, identifier)


@ONE_RUNTIME
def test_s22_changes_of_the_container_stay_until_it_is_removed(bento: BentoCli) -> None:
    identifier = bento.run("--name", "w", "host", "/bin/sh", "-c", "echo kept >/var/tmp/bento-kept; exec sleep 1000")
    upper = bento.roots.root / "containers" / identifier / "upper"
    procs.wait_until((upper / "var/tmp/bento-kept").exists, what="the container's file")
    bento("stop", "-t", "0", "w")
    assert (upper / "var/tmp/bento-kept").read_text() == "kept\n"
    assert not Path("/var/tmp/bento-kept").exists()
    bento("start", "w")
    bento("rm", "-f", "w")
    assert not upper.exists()


def test_s20_exit_code_is_the_monitors(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, MARKER.replace("sys.exit(0)", "sys.exit(42)"))
    assert stop_report(bento, "w")["exit_code"] == 42
    assert bento.state("w")["ExitCode"] == 42


@ONE_RUNTIME
def test_s20_code_is_said_to_be_unknown_when_the_monitor_died_or_comes_from_the_kernel(
    bento: BentoCli, share: Share
) -> None:
    run_script(bento, share, MARKER.replace("sys.exit(0)", "sys.exit(42)"))
    kill_pid(bento.inspect("w")["Monitor"]["Pid"])
    finished = bento("stop", "-v", "w", check=False)
    assert finished.returncode == 0, str(finished)
    state = bento.state("w")
    assert state["Status"] == "stopped"
    assert state["ExitCode"] in (42, -1)
    assert state["ExitCode"] == 42 or "unknown" in state["Error"]
    assert share.lines("marker") == ["done"]


def test_s21_last_words_are_in_the_log_before_stop_returns(bento: BentoCli, share: Share) -> None:
    talkative = POLITE.replace('print("told", flush=True)', 'print("told\\n" * 20000, end="", flush=True)')
    run_script(bento, share, talkative.replace('print("ready", flush=True)', 'open("/s/ready", "w").close()'))
    bento("stop", "w")
    assert bento("logs", "w").stdout.count("told\n") == 20000


@ONE_RUNTIME
def test_s22_doctor_names_what_still_holds_the_root_filesystem(bento: BentoCli) -> None:
    """A process entered the container's mount namespace from outside and stays there."""
    identifier = run_polite(bento)
    pid = bento.state("w")["Pid"]
    with subprocess.Popen(["nsenter", "-m", "-t", str(pid), "sleep", "1000"]) as intruder:
        try:
            procs.wait_until(lambda: getattr(procs.read(intruder.pid), "comm", "") == "sleep", what="the intruder")
            finished = bento("stop", "w", check=False, timeout_s=30)
            assert finished.returncode == 1, str(finished)
            assert str(intruder.pid) in finished.stderr
            assert bento.state("w")["Status"] == "stopped"
            doctor = bento("doctor", check=False)
            assert doctor.returncode == 1
            assert str(intruder.pid) in doctor.stdout
            assert str(intruder.pid) in bento.fails("rm", "w", code=1)
        finally:
            intruder.kill()
    procs.wait_until(lambda: bento("doctor", check=False).returncode == 0, timeout_s=20, what="doctor to be clean")
    assert_released(bento, identifier)


@contextmanager
def intruder(pid: int) -> Iterator[procs.Process]:
    """A process that has entered a container's mount namespace from outside, and stays there."""
    with subprocess.Popen(["nsenter", "-m", "-t", str(pid), "sleep", "1000"]) as entered:
        try:
            procs.wait_until(lambda: getattr(procs.read(entered.pid), "comm", "") == "sleep", what="the intruder")
            found = procs.read(entered.pid)
            assert found is not None
            yield found
        finally:
            entered.kill()


def test_s21_a_held_root_filesystem_is_not_handed_to_the_next_start(bento: BentoCli) -> None:
    identifier = run_polite(bento)
    with intruder(bento.state("w")["Pid"]) as holder:
        which = f"sleep ({holder.pid})"
        finished = bento("stop", "w", check=False, timeout_s=30)
        assert finished.returncode == 1
        assert_one_line(finished, identifier, "unmount: not done after 5 s", which)
        before = bento.inspect("w")
        report = before["Stop"]
        assert report["verdict"] == "stuck"
        assert "it was signalled and ended by itself, but its clean-up failed" in report["cause"]
        assert any(which in note for note in report["notes"])
        for words in (("start", "w"), ("restart", "w"), ("rm", "w"), ("rm", "-f", "w"), ("cp", "w:/etc/passwd", "-")):
            said = bento.fails(*words)
            assert identifier in said, said
            assert which in said, said
        assert bento.inspect("w") == before
        assert [path for path in leaks.bento_cgroups() if identifier in path] == []
        assert not (bento.roots.run_root / "containers" / identifier).exists()
    bento("start", "w")
    bento.wait_for_log("w", "ready")
    assert stop_report(bento, "w")["verdict"] == "graceful"
    bento("rm", "w")


@ONE_RUNTIME
def test_s20_a_runtime_that_never_says_stopped_is_quoted_and_a_later_stop_goes_on(
    bento: BentoCli, roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cleaning.STEP_LIMIT_S, Step.RUNTIME, 1.0)
    words, wrapper = "container `w` is not in `created` or `stopped` state", tmp_path / "crun"
    refuse = f'case " $* " in *" delete "*) [ -e {tmp_path}/off ] && {{ echo \'{words}\' >&2; exit 1; }};; esac'
    wrapper.write_text(f'#!/bin/sh\n{refuse}\nexec {shutil.which("crun")} "$@"\n')
    wrapper.chmod(0o755)
    (tmp_path / "off").touch()
    bento.runtime = str(wrapper)
    identifier = run_polite(bento)
    with Engine(Settings(root=roots.root, run_root=roots.run_root)) as engine:
        with pytest.raises(StuckProcess) as raised:
            engine.stop("w")
        (tmp_path / "off").unlink()
        assert raised.value.message == (
            f"container w ({identifier}) has ended, but its clean-up is stuck: runtime: not done after 1 s: {words}"
        )
        stuck = engine.get("w")
        assert stuck.status is Status.STOPPING
        assert stuck.report is not None
        assert (stuck.report.verdict, stuck.report.exit_code) == (Verdict.STUCK, 0)
        report = engine.stop("w")
        assert report is not None
        assert report.verdict is Verdict.GRACEFUL
    assert_released(bento, identifier)


def test_s21_nor_to_a_restart_by_its_policy(bento: BentoCli) -> None:
    bento.run("--name", "w", "--restart", "always", "host", "/bin/sh", "-c", "echo up; sleep 1; exit 3")
    bento.wait_for_log("w", "up")
    with intruder(bento.state("w")["Pid"]):
        wait_for_status(bento, "w", "restarting")
        time.sleep(1.5)  # for several tries
        assert bento("logs", "w").stdout.count("up") == 1
    procs.wait_until(lambda: bento("logs", "w").stdout.count("up") > 1, what="the restart", every_s=0.2)
    bento("rm", "-f", "w")


# -- S23, S24: the report -------------------------------------------------------------------------


def test_s23_report_has_phases_signals_and_how_each_process_ended(bento: BentoCli, share: Share) -> None:
    share.script("server.py", MARKER)
    script = share.script("start.sh", f"sleep 1000 &\n{PYTHON} /s/server.py\nexit 5\n")
    bento.run("--name", "w", *share.flags, "host", "/bin/sh", script)
    share.wait_for("ready")
    report = stop_report(bento, "w")
    assert (report["asked_by"], report["method"], report["signal"], report["grace_s"]) == (
        "user",
        "signal",
        "SIGTERM",
        10,
    )
    names = [phase["name"] for phase in report["phases"]]
    assert [name for name in PHASES if name in names] == PHASES
    starts = [phase["start_s"] for phase in report["phases"]]
    assert starts == sorted(starts)
    assert all(phase["duration_s"] >= 0 for phase in report["phases"])
    told = report["signalled"][0]
    assert (told["comm"], told["receives"], told["occasion"]) == ("python3", "handled", "program")
    assert [(one["comm"], one["why"]) for one in report["held"]] == [("sh", "it only waits for what is signalled")]
    assert report["is_graceful"]
    ends = {end["comm"]: (end["how"], end["code"]) for end in report["processes"]}
    assert set(ends) == {"sh", "python3", "sleep"}
    if ends["python3"][0] != "unknown":  # Linux 6.15: every process's exit status is read from its pidfd
        assert ends["sh"] == ("killed-by-us", 9)  # it was held, and went no further
        assert ends["python3"] == ("exited", 0)
        assert ends["sleep"] == ("killed-with-pid-1", 9)
    assert report["errors"] == []


@ONE_RUNTIME
def test_s23_slow_is_said(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, MARKER.replace("    with open", "    time.sleep(0.8)\n    with open", 1))
    finished = bento("stop", "-v", "-t", "1.2", "w")
    assert "slow" in finished.stderr
    assert bento.inspect("w")["Stop"]["is_slow"] is True


@ONE_RUNTIME
def test_s23_a_new_run_keeps_the_last_stops_report_until_its_own(bento: BentoCli) -> None:
    run_polite(bento)
    first = stop_report(bento, "w")
    bento("start", "w")
    assert bento.inspect("w")["Stop"] == first
    bento("kill", "w")
    assert bento.inspect("w")["State"]["ExitCode"] == 137


def test_s24_oom_during_the_stop_is_the_cause_not_bento(bento: BentoCli, share: Share) -> None:
    hungry = """
import signal
def told(number, frame):
    bytearray(512 << 20)
signal.signal(signal.SIGTERM, told)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""
    run_script(bento, share, hungry)
    cgroups = bento.inspect("w")["Cgroups"]
    if "memory" in cgroups:
        (Path(cgroups["memory"]) / "memory.limit_in_bytes").write_text(str(64 << 20))
    elif (Path(cgroups[""]) / "memory.max").exists():
        (Path(cgroups[""]) / "memory.max").write_text(str(64 << 20))
    else:
        pytest.skip("kernel: no memory controller")
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"]) == ("killed", 137)
    assert "OOM" in report["cause"]
    assert report["duration_s"] < 9
    assert bento.state("w")["OOMKilled"] is True


@ONE_RUNTIME
def test_s24_sigkill_by_another_process_during_the_stop_is_said_to_be_so(bento: BentoCli) -> None:
    run_ignoring(bento)
    bento("stop", "--no-wait", "-t", "30", "w")
    kill_pid(bento.state("w")["Pid"])
    bento("wait", "w")
    report = bento.inspect("w")["Stop"]
    assert (report["verdict"], report["exit_code"]) == ("killed", 137)
    assert "another process sent SIGKILL" in report["cause"]
    assert bento.state("w")["OOMKilled"] is False


# -- S25: the exit status -------------------------------------------------------------------------


@ONE_RUNTIME
def test_s25_strict_exits_with_4_when_it_was_not_graceful(bento: BentoCli) -> None:
    run_ignoring(bento)
    finished = bento("stop", "--strict", "-t", "0.2", "w", check=False)
    assert finished.returncode == 4, str(finished)
    assert finished.stdout == "w\n"


@ONE_RUNTIME
def test_s25_strict_exits_with_0_when_it_was_graceful(bento: BentoCli) -> None:
    run_polite(bento)
    bento("stop", "--strict", "w")


@ONE_RUNTIME
def test_s25_not_graceful_without_strict_is_success(bento: BentoCli) -> None:
    run_ignoring(bento)
    bento("stop", "-t", "0.2", "w")


@ONE_RUNTIME
def test_s23_person_at_a_terminal_gets_a_line_on_stderr(bento: BentoCli) -> None:
    run_ignoring(bento)
    ours, theirs = pty.openpty()
    with bento.start("stop", "-t", "0.2", "w", stderr=theirs) as stopper:
        os.close(theirs)
        out, _ = stopper.communicate(timeout=40)
    said = os.read(ours, 4096).decode()
    os.close(ours)
    assert out == "w\n"
    for word in ("w: stopped in", "137", "killed", "to do:"):
        assert word in said, said
    assert said.count("\n") == 1


@ONE_RUNTIME
def test_s23_json_has_the_report_and_goes_through_a_parser(bento: BentoCli) -> None:
    run_polite(bento)
    reports = json.loads(bento("stop", "--format", "json", "w").stdout)
    container = bento.inspect("w")
    assert reports == [{"id": container["Id"], "name": "w", "report": container["Stop"], "error": None}]

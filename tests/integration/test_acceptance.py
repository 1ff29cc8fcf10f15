"""The nine cases that the first users asked for, on real runtimes."""

from __future__ import annotations

import os
import signal
import time

import pytest

from support import procs
from support.cli import BentoCli
from support.workload import (
    COUNTER,
    MARKER,
    POLITE,
    PYTHON,
    Share,
    assert_released,
    ended,
    kill_pid,
    run_ignoring,
    run_script,
    stop_report,
    wait_for_status,
)

INITS = {"tini": ("tini", "--"), "dumb-init": ("dumb-init", "--"), "catatonit": ("catatonit", "--")}


# -- 1: start, stop, state ------------------------------------------------------------------------


def test_s21_stopped_container_has_no_pid_keeps_its_exit_code_and_is_released(bento: BentoCli) -> None:
    script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    identifier = bento.run("--name", "w", "host", "/bin/sh", "-c", script)
    bento.wait_for_log("w", "ready")
    running = bento.state("w")
    assert running["Status"] == "running"
    assert running["Pid"] > 1

    finished = bento("stop", "w")

    assert finished.stdout == "w\n"
    assert finished.stderr == ""
    assert_released(bento, identifier)
    state = bento.state("w")
    assert (state["Status"], state["Pid"], state["ExitCode"]) == ("stopped", 0, 3)
    assert procs.read(running["Pid"]) is None
    assert bento.inspect("w")["Stop"]["verdict"] == "graceful"


# -- 2: stop of a stopped container ---------------------------------------------------------------


def test_s01_stop_of_a_stopped_container_says_so_and_changes_nothing(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "true")
    bento("wait", "w")
    before = bento.inspect("w")

    assert "already stopped" in bento.fails("stop", "w", code=1)

    assert bento.inspect("w") == before


# -- 3: what does not receive the signal is killed -------------------------------------------------------------


def test_s18_program_that_ignores_sigterm_is_killed_after_the_grace_and_the_report_says_why(bento: BentoCli) -> None:
    identifier = run_ignoring(bento)

    begun = time.monotonic()
    finished = bento("stop", "-v", "-t", "1", "w")
    took_s = time.monotonic() - begun

    assert 1.0 <= took_s < 5, str(finished)
    assert "137" in finished.stderr
    assert "killed" in finished.stderr
    report = bento.inspect("w")["Stop"]
    assert report["verdict"] == "killed"
    assert "ignores SIGTERM" in report["cause"]
    assert report["remedy"]
    assert bento.state("w")["ExitCode"] == 137
    assert_released(bento, identifier)


# -- 4: the process has gone already --------------------------------------------------------------


@pytest.mark.parametrize("also_monitor", [False, True], ids=["process", "process-and-monitor"])
def test_s02_process_killed_from_outside_is_cleaned_up_and_said_to_have_gone(
    bento: BentoCli, also_monitor: bool
) -> None:
    identifier = bento.run("--name", "w", "host", "sleep", "1000")
    found = bento.inspect("w")
    if also_monitor:
        kill_pid(found["Monitor"]["Pid"])
    kill_pid(found["State"]["Pid"])

    finished = bento("stop", "-v", "w")

    assert "already exited" in finished.stderr
    assert finished.seconds < 9
    assert_released(bento, identifier)
    state = bento.state("w")
    assert (state["Status"], state["Pid"]) == ("stopped", 0)
    assert bento.inspect("w")["Stop"]["verdict"] == "already-exited"
    if also_monitor:
        assert state["ExitCode"] in (137, -1)  # no process, or only the kernel, saw it
        assert state["ExitCode"] != -1 or "unknown" in state["Error"]
    else:
        assert state["ExitCode"] == 137


# -- 5: the shell wrapper -------------------------------------------------------------------------


def test_s13_wrapper_that_does_not_pass_signals_on_ends_at_once_with_its_child(bento: BentoCli, share: Share) -> None:
    script = share.script("start.sh", "/bin/sleep 600\n")
    identifier = bento.run("--name", "w", *share.flags, "host", "/bin/sh", script)
    pid = bento.state("w")["Pid"]
    procs.wait_until(lambda: any(p.comm == "sleep" for p in procs.descendants(pid)), what="the sleep")
    finished = bento("stop", "w")
    report = bento.inspect("w")["Stop"]
    assert report["verdict"] == "forwarded"
    assert report["exit_code"] == 143
    assert bento.state("w")["ExitCode"] == 143
    assert "exec" in report["remedy"]
    assert_released(bento, identifier)
    held = [(one["comm"], one["why"]) for one in report["held"]]
    assert held == [("sh", "it only waits for what is signalled")]
    assert finished.seconds < 9  # of a grace of 10: no timer was waited for


# -- 6: a program that needs its time -------------------------------------------------------------


def test_s07_program_that_needs_two_seconds_gets_them_and_stop_returns_right_after(
    bento: BentoCli, share: Share
) -> None:
    slow = """
import signal, sys, time
def leave(number, frame):
    time.sleep(2)
    with open("/s/left", "w") as file:
        file.write(str(time.clock_gettime(time.CLOCK_BOOTTIME)))
    sys.exit(5)
signal.signal(signal.SIGTERM, leave)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""
    late_s = []
    for _ in range(5):  # a busy machine may be late
        run_script(bento, share, slow)
        finished = bento("stop", "w")
        late_s.append(time.clock_gettime(time.CLOCK_BOOTTIME) - float(share.text("left")))
        assert finished.seconds >= 2.0
        report = bento.inspect("w")["Stop"]
        assert (report["verdict"], report["exit_code"], report["is_slow"]) == ("graceful", 5, False)
        if late_s[-1] < 0.2:
            break
        bento("rm", "w")
        (share.path / "ready").unlink()
    assert min(late_s) < 1.0, late_s


# -- 7: what receives no signal yet, and what never will ---------------------------------------------------


def test_s14_handler_that_appears_two_seconds_after_the_start_still_gets_the_signal(
    bento: BentoCli, share: Share
) -> None:
    late = """
import signal, sys, time
open("/s/ready", "w").close()
end = time.monotonic() + 2
while time.monotonic() < end:
    time.sleep(0.1)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    signal.pause()
"""
    run_script(bento, share, late)
    begun = time.monotonic()
    report = stop_report(bento, "w")
    assert 1.0 < time.monotonic() - begun < 9.0
    assert (report["verdict"], report["exit_code"]) == ("graceful", 0)
    assert report["disposition"] == "dropped"  # at first
    assert [one["occasion"] for one in report["signalled"]] == ["init"]


def test_s14_sleep_older_than_the_start_window_ends_at_once(bento: BentoCli) -> None:
    identifier = bento.run("--name", "w", "host", "sleep", "600")
    finished = bento("stop", "-v", "--start-window", "0", "w")
    assert finished.seconds < 9
    report = bento.inspect("w")["Stop"]
    assert report["verdict"] == "default-action"
    assert report["disposition"] == "dropped"
    assert "--init" in report["remedy"]
    assert_released(bento, identifier)


def test_s14_deaf_wait_keeps_the_whole_grace(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "600")
    finished = bento("stop", "--start-window", "0", "--deaf", "wait", "-t", "1.5", "w")
    assert 1.5 <= finished.seconds < 20
    assert bento.inspect("w")["Stop"]["verdict"] == "killed"


# -- 8: the inits, and others that are hard to read -----------------------------------------------


@pytest.mark.parametrize("init", INITS)
def test_s12_init_over_a_program_is_seen_to_receive_it(bento: BentoCli, share: Share, init: str) -> None:
    path = share.script("server.py", MARKER)
    bento.run("--name", "w", *share.flags, "host", *INITS[init], PYTHON, path)
    share.wait_for("ready")
    report = stop_report(bento, "--start-window", "0", "w")
    assert report["disposition"] in ("handled", "blocked", "waiting")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 0)
    assert share.lines("marker") == ["done"]
    assert report["duration_s"] < 9


@pytest.mark.parametrize("init", INITS)
def test_s13_init_over_a_shell_wrapper_ends_the_wrapped_program_properly(
    bento: BentoCli, share: Share, init: str
) -> None:
    share.script("server.py", MARKER)
    script = share.script("start.sh", f"{PYTHON} /s/server.py\nexit $?\n")
    bento.run("--name", "w", *share.flags, "host", *INITS[init], "/bin/sh", script)
    share.wait_for("ready")
    report = stop_report(bento, "w")
    # The shell dies of the signal that the init passes on, and the init leaves with its status: held at its exit.
    assert (report["verdict"], report["exit_code"]) == ("graceful", 143)
    occasions = [one["occasion"] for one in report["signalled"]]
    if init == "dumb-init":  # it signals the whole group itself, and once more when it leaves
        assert set(share.lines("marker")) == {"done"}
        assert occasions[0] == "init"
    else:
        assert share.lines("marker") == ["done"]
        assert occasions == ["init", "exit-hold"]
    assert report["duration_s"] < 9


def test_s17_init_flag_over_a_shell_wrapper_ends_the_wrapped_program_properly(bento: BentoCli, share: Share) -> None:
    share.script("server.py", MARKER)
    script = share.script("start.sh", f"{PYTHON} /s/server.py\nexit $?\n")
    bento.run("--name", "w", "--init", *share.flags, "host", "/bin/sh", script)
    share.wait_for("ready")
    report = stop_report(bento, "w")
    assert share.lines("marker") == ["done"]
    assert (report["verdict"], report["exit_code"]) == ("graceful", 143)


def test_s12_sigwait_in_another_thread_receives_nothing_because_only_the_leader_counts(
    bento: BentoCli, share: Share
) -> None:
    threads = """
import signal, threading, time
def listen():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    open("/s/ready", "w").close()
    signal.sigwait({signal.SIGTERM})
    open("/s/received", "w").close()
threading.Thread(target=listen).start()
while True:
    time.sleep(0.5)
"""
    run_script(bento, share, threads)
    report = stop_report(bento, "--start-window", "0", "-t", "2", "w")  # it wakes, and so may be at work
    assert report["disposition"] == "dropped"
    assert report["duration_s"] > 1.3  # until its last sleep outlasts what is left of the grace
    bento("start", "w")
    report = stop_report(bento, "--start-window", "0", "--deaf", "end", "w")
    assert (report["disposition"], report["verdict"]) == ("dropped", "default-action")
    assert not (share.path / "received").exists()
    assert report["duration_s"] < 9


def test_s12_leader_in_sigwait_receives_it(bento: BentoCli, share: Share) -> None:
    waiting = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
open("/s/ready", "w").close()
signal.sigwait({signal.SIGTERM})
sys.exit(9)
"""
    run_script(bento, share, waiting)
    report = stop_report(bento, "--start-window", "0", "w")
    assert report["disposition"] in ("blocked", "waiting")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 9)


def test_s12_node_without_a_handler_turns_out_not_to_receive_it(bento: BentoCli, share: Share) -> None:
    script = share.script(
        "app.js",
        """
require('net').createServer().listen(0, () => require('fs').writeFileSync('/s/ready', ''))
""",
    )
    bento.run("--name", "w", *share.flags, "host", "node", script)
    share.wait_for("ready")
    report = stop_report(bento, "--start-window", "0", "w")
    assert report["disposition"] == "handled"
    assert report["verdict"] == "default-action"
    assert "lived on" in report["cause"]
    assert report["duration_s"] < 9


def test_s12_node_with_a_handler_ends_gracefully(bento: BentoCli, share: Share) -> None:
    script = share.script(
        "app.js",
        "process.on('SIGTERM', () => setTimeout(() => process.exit(6), 300));"
        "require('fs').writeFileSync('/s/ready', ''); setInterval(() => {}, 1000)\n",
    )
    bento.run("--name", "w", *share.flags, "host", "node", script)
    share.wait_for("ready")
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 6)


def test_s12_polite_program_is_signalled_once(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", PYTHON, "-c", POLITE)
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"], report["disposition"]) == ("graceful", 0, "handled")
    assert bento("logs", "w").stdout == "ready\ntold\n"


# -- 9: the stopper is killed ---------------------------------------------------------------------


@pytest.mark.parametrize("whole_group", [False, True], ids=["process", "group"])
def test_s06_killing_the_stopper_one_second_into_the_grace_changes_nothing(bento: BentoCli, whole_group: bool) -> None:
    identifier = run_ignoring(bento)
    begun = time.monotonic()
    with ended(bento.start("stop", "-t", "3", "w", start_new_session=True)) as stopper:
        wait_for_status(bento, "w", "stopping")
        procs.wait_until(lambda: time.monotonic() > begun + 1.0, what="one second of the grace")
        assert stopper.poll() is None
        (os.killpg if whole_group else os.kill)(stopper.pid, signal.SIGKILL)

    wait_for_status(bento, "w", "stopped")

    assert 3.0 <= time.monotonic() - begun < 9
    state = bento.state("w")
    assert (state["Pid"], state["ExitCode"]) == (0, 137)
    assert bento.inspect("w")["Stop"]["verdict"] == "killed"
    assert_released(bento, identifier)


def test_s06_killing_the_stopper_does_not_disturb_a_program_that_shuts_down(bento: BentoCli, share: Share) -> None:
    path = share.script("count.py", COUNTER)
    identifier = bento.run("--name", "w", *share.flags, "host", PYTHON, path, "2")
    share.wait_for("ready")
    with ended(bento.start("stop", "-t", "3", "w", start_new_session=True)) as stopper:
        share.wait_for("told")
        os.killpg(stopper.pid, signal.SIGKILL)
    wait_for_status(bento, "w", "stopped")
    assert share.lines("told") == ["15"]
    assert bento.state("w")["ExitCode"] == 0
    assert bento.inspect("w")["Stop"]["verdict"] == "graceful"
    assert_released(bento, identifier)

"""``bento exec`` on real runtimes, and rule S16: what becomes of exec sessions in a stop."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from bento import Engine, ExecOptions, Settings
from bento.errors import WrongState

from support import procs
from support.cli import BentoCli, Roots
from support.workload import (
    IGNORING,
    MARKER,
    ONE_RUNTIME,
    Share,
    assert_clean,
    assert_released,
    ended,
    run_script,
    stop_report,
)

SLOW = """
import os, signal, sys, time
def leave(number, frame):
    time.sleep(0.5)
    with open("/s/exec-marker", "a") as file:
        file.write("done\\n")
    sys.exit(5)
signal.signal(signal.SIGTERM, leave)
open("/s/exec-ready", "w").close()
while True:
    signal.pause()
"""
"""Needs half a second for its end once it is told."""


def wait_for(share: Share, name: str) -> None:
    procs.wait_until(lambda: (share.path / name).exists(), timeout_s=30.0, what=name)


def test_exec_passes_streams_status_and_settings(bento: BentoCli) -> None:
    bento.run("--name", "w", "-e", "A=1", "host", "sleep", "1000")
    done = bento("exec", "w", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)
    words = ["-i", "-e", "B=2", "-w", "/tmp", "-u", "nobody", "w", "sh", "-c", "cat; echo $A $B; pwd; id -u"]
    assert bento("exec", *words, stdin="in\n").stdout.splitlines() == ["in", "1 2", "/tmp", "65534"]
    assert bento("container", "exec", "w", "cat").stdout == ""  # without -i it has nothing to read
    assert bento("exec", "w", "sh", "-c", "kill -9 $$", check=False).returncode == 137
    big = "x" * 3_000_000
    assert bento("exec", "-i", "w", "cat", stdin=big).stdout == big
    assert bento("exec", "-i", "w", "true", stdin=big).returncode == 0
    assert bento.inspect("w")["ExecIDs"] is None


@ONE_RUNTIME
def test_exec_does_not_wait_for_what_the_command_leaves_behind(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    assert bento("exec", "w", "sh", "-c", "sleep 1000 & echo left").stdout == "left\n"


BAD: list[tuple[list[str], int, str]] = [
    (["w", "nosuch"], 127, "command not found: nosuch"),
    (["w", "/etc/passwd"], 126, "cannot execute"),
    (["-w", "/nosuch", "w", "pwd"], 125, "working directory /nosuch"),
    (["-w", "tmp", "w", "pwd"], 125, "not an absolute path"),
    (["-u", "nosuch", "w", "id"], 125, "unknown user 'nosuch'"),
    (["-u", "0:0:", "w", "id"], 125, "bad user"),
    (["-e", "=x", "w", "env"], 125, "bad environment variable"),
    (["--env-file", "/nosuch", "w", "env"], 125, "env file /nosuch"),
    (["w"], 125, "no command"),
    ([], 125, "required"),
    (["-it", "--detach-keys", "ctrl-", "-d", "w", "sh"], 125, "bad detach keys"),
    (["nobody", "true"], 125, "nobody"),
]


@ONE_RUNTIME
def test_exec_bad_input_is_one_line_and_leaves_nothing(bento: BentoCli) -> None:
    identifier = bento.run("--name", "w", "host", "sleep", "1000")
    for words, code, said in BAD:
        assert said in bento.fails("exec", *words, code=code), words
    left = bento.roots.run_root / "containers" / identifier / "exec"
    procs.wait_until(lambda: not os.listdir(left), what="the end of the sessions' directories")


@ONE_RUNTIME
def test_exec_needs_a_container_that_runs(bento: BentoCli) -> None:
    bento("create", "--name", "w", "host", "sleep", "1000")
    assert "is created" in bento.fails("exec", "w", "true", code=125)
    bento("start", "w")
    bento("pause", "w")
    assert "is paused" in bento.fails("exec", "w", "true", code=125)
    bento("unpause", "w")
    bento("exec", "w", "true")
    bento("stop", "-t", "0", "w")
    assert "is stopped" in bento.fails("exec", "w", "true", code=125)


@ONE_RUNTIME
def test_exec_passes_signals_on(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    with bento.start("exec", "w", "sh", "-c", script) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        client.send_signal(signal.SIGTERM)
        assert client.wait(30.0) == 7


@ONE_RUNTIME
def test_exec_detached_is_listed_until_it_ends(bento: BentoCli) -> None:
    identifier = bento.run("--name", "w", "host", "sleep", "1000")
    session = bento("exec", "-d", "w", "sh", "-c", "head -c 1000000 /dev/zero; exec sleep 4321").stdout.strip()
    assert bento.inspect("w")["ExecIDs"] == [session]
    procs.wait_until(lambda: procs.with_word("4321"), what="the end of what it writes")
    for process in procs.with_word("4321"):
        procs.kill(process)
    procs.wait_until(lambda: bento.inspect("w")["ExecIDs"] is None, what="the end of the session")
    (ended,) = bento.listing("events", "--until", "0s", "-f", "event=exec_die")
    assert ended["Actor"]["Attributes"]["execID"] == session
    assert ended["Actor"]["Attributes"]["exitCode"] == "137"
    assert os.listdir(bento.roots.run_root / "containers" / identifier / "exec") == []


@ONE_RUNTIME
def test_doctor_finds_what_a_killed_monitor_of_a_session_has_left(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    session = bento("exec", "-d", "w", "sleep", "4322").stdout.strip()
    for process in procs.with_word(session):
        if process.comm == "conmon":
            procs.kill(process)
    for process in procs.with_word("4322"):
        procs.kill(process)
    assert session in bento("doctor", check=False).stdout
    assert bento("doctor", "--fix").returncode == 0
    assert bento("doctor").stdout == "nothing is left over\n"


@ONE_RUNTIME
def test_exec_by_the_library(roots: Roots, runtime: str) -> None:
    cli = BentoCli(roots, runtime)
    cli.run("--name", "w", "host", "sleep", "1000")
    with Engine(Settings(root=roots.root, run_root=roots.run_root, runtime=runtime)) as engine:
        running = engine.exec("w", ExecOptions(command=("cat",), has_input=True))
        assert [one.id for one in engine.exec_sessions("w")] == [running.session.id]
        assert running.stdin_fd is not None
        os.write(running.stdin_fd, b"hello")
        assert os.read(running.stdout_fd, 100) == b"hello"
        running.end_input()
        assert select.select([running.status_fd], [], [], 30.0)[0]
        assert engine.wait_exec(running) == 0
        session = engine.exec_detached("w", ExecOptions(command=("sleep", "1000")))
        engine.signal_exec(session, 15)
        procs.wait_until(lambda: not engine.exec_sessions("w"), what="the end of the session")
        engine.remove("w", force=True)


# -- in a stop -----------------------------------------------------------------------------------


def test_s16_sessions_are_left_alone_until_pid_1_is_at_its_exit_and_then_signalled(
    bento: BentoCli, share: Share
) -> None:
    identifier = run_script(bento, share, MARKER.replace("sys.exit(0)", "time.sleep(0.7); sys.exit(0)"))
    script = share.script("slow.py", SLOW)
    with bento.start("exec", "w", "python3", script) as client:
        wait_for(share, "exec-ready")
        bento("exec", "-d", "w", "sleep", "1000")
        report = stop_report(bento, "-t", "60", "w")
        assert client.wait(30.0) == 5
    assert share.lines("exec-marker") == ["done"]
    assert share.lines("marker") == ["done"]
    assert (report["verdict"], report["is_graceful"]) == ("graceful", True)
    told = [(one["occasion"], one["session"]) for one in report["signalled"]]
    assert told == [("init", False), ("exit-hold", True)]
    assert report["signalled"][1]["at_s"] > 0.6
    ends = {process["comm"]: process for process in report["processes"] if process["session"]}
    assert ends["sleep"]["how"] in ("killed-with-pid-1", "unknown")  # it does not receive the signal
    assert_released(bento, identifier)


@ONE_RUNTIME
@pytest.mark.parametrize(("session_s", "is_saved"), [(0.2, True), (600.0, False)], ids=["shorter", "longer"])
def test_s16_session_without_a_handler_gets_the_time_that_pid_1_needs(
    bento: BentoCli, share: Share, session_s: float, is_saved: bool
) -> None:
    """As in the plain stop: it is neither signalled nor waited for."""
    run_script(bento, share, MARKER.replace("sys.exit(0)", "time.sleep(1.5); sys.exit(0)"))
    dump = f"touch /s/exec-ready; sleep {session_s}; echo whole > /s/dump"
    bento("exec", "-d", "w", "/bin/sh", "-c", dump)
    wait_for(share, "exec-ready")
    report = stop_report(bento, "w")
    assert share.lines("dump") == (["whole"] if is_saved else [])
    assert [one["session"] for one in report["signalled"]] == [False]
    assert report["verdict"] == "graceful"
    assert 1.4 < report["duration_s"] < 9


@ONE_RUNTIME
def test_s16_a_session_at_work_beside_a_pid_1_that_does_not_receive_the_signal_is_waited_for(
    bento: BentoCli, share: Share
) -> None:
    bento.run("--name", "w", *share.flags, "host", "sleep", "1000")
    dump = "touch /s/exec-ready; until test -e /s/go; do sleep 0.05; done; "
    dump += "for i in 1 2 3 4 5 6 7; do sleep 0.2; echo $i >> /s/dump; done"
    bento("exec", "-d", "w", "/bin/sh", "-c", dump)
    wait_for(share, "exec-ready")
    assert "exec session" in bento("explain", "--start-window", "0", "w").stdout
    (share.path / "go").touch()
    report = stop_report(bento, "--start-window", "0", "-t", "60", "w")
    assert report["verdict"] == "default-action"
    assert len(share.lines("dump")) == 7
    assert report["signalled"] == []


@ONE_RUNTIME
def test_s16_where_nothing_is_held_a_session_is_signalled_at_the_last_call(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", *share.flags, "host", *IGNORING)
    script = share.script("slow.py", SLOW)
    bento("exec", "-d", "w", "python3", script)
    wait_for(share, "exec-ready")
    report = stop_report(bento, "-t", "2", "--last-call", "1.2", "w")
    assert share.lines("exec-marker") == ["done"]
    assert report["verdict"] == "killed"
    assert [(one["occasion"], one["session"]) for one in report["signalled"]] == [("last-call", True)]
    assert report["signalled"][0]["at_s"] > 0.7


@ONE_RUNTIME
def test_s16_no_exec_once_the_kill_has_begun(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", *IGNORING)
    bento.wait_for_log("w", "ready")
    bento("stop", "-t", "1000", "--no-wait", "w")
    assert bento("exec", "w", "echo", "in the grace").stdout == "in the grace\n"
    bento("stop", "-t", "0", "w")
    assert "is stopped" in bento.fails("exec", "w", "true", code=125)


@ONE_RUNTIME
def test_s16_killing_the_command_line_leaves_nothing_after_the_stop(bento: BentoCli) -> None:
    identifier = bento.run("--name", "w", "host", "sleep", "1000")
    with bento.start("exec", "w", "sleep", "4323") as client:
        procs.wait_until(lambda: [one for one in procs.with_word("4323") if one.comm == "sleep"], what="the command")
        client.kill()
        client.wait(10.0)
    assert [one.comm for one in procs.with_word("4323")] == ["sleep"]
    assert len(bento.inspect("w")["ExecIDs"]) == 1
    bento("stop", "--start-window", "0", "w")
    assert not procs.with_word("4323")
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s16_a_command_line_that_is_killed_while_it_begins_leaves_a_session(bento: BentoCli, tmp_path: Path) -> None:
    """Its monitor has still to say that the command runs, and must not give up because nothing reads that."""
    os.mkfifo(gate := tmp_path / "gate")
    runtime = tmp_path / "crun"  # says late that it has begun the command
    lines = ["#!/bin/sh", '/usr/bin/crun "$@"; code=$?', f'case " $* " in *" exec "*) read -r line <{gate};; esac']
    runtime.write_text("\n".join([*lines, "exit $code", ""]), encoding="utf-8")
    runtime.chmod(0o755)
    identifier = BentoCli(bento.roots, str(runtime)).run("--name", "w", "host", "sleep", "1000")
    with bento.start("exec", "w", "sleep", "4324") as client:
        procs.wait_until(lambda: [one for one in procs.with_word("4324") if one.comm == "sleep"], what="the command")
        client.kill()
        client.wait(10.0)
    gate.write_bytes(b"\n")
    procs.wait_until(
        lambda: "crun" not in [one.comm for one in procs.with_word(str(runtime))], what="the end of the runtime"
    )
    assert len(bento.inspect("w")["ExecIDs"]) == 1
    bento("stop", "--start-window", "0", "w")
    assert not procs.with_word("4324")
    assert_released(bento, identifier)


def test_s16_a_command_line_that_stands_still_holds_nothing_up(bento: BentoCli) -> None:
    """No process reads what the command writes: the process that reaps it must not be waiting for that."""
    identifier = bento.run("--name", "w", "host", "sleep", "1000")
    with bento.start("exec", "w", "sh", "-c", "echo begun; exec yes") as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "begun\n"
        client.send_signal(signal.SIGSTOP)
        # It waits to write to a pipe that leads out, which may be work: it gets the whole grace.
        report = stop_report(bento, "--start-window", "0", "-t", "1", "--kill-timeout", "5", "w")
        client.kill()
    assert report["verdict"] == "killed"
    assert_released(bento, identifier)


def test_s16_sessions_in_the_hosts_pid_namespace(bento: BentoCli, share: Share) -> None:
    identifier = run_script(bento, share, MARKER, "--pid", "host")
    script = share.script("slow.py", SLOW)
    with bento.start("exec", "w", "python3", script) as client:
        wait_for(share, "exec-ready")
        report = stop_report(bento, "-t", "60", "w")
        assert client.wait(30.0) == 5
    assert share.lines("exec-marker") == ["done"]
    assert [telling["session"] for telling in report["signalled"]] == [False, True]
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s16_hooks_and_stop_commands_are_no_sessions(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, MARKER, "--stop-command", "kill -TERM 1; sleep 0.3; echo over > /s/over")
    report = stop_report(bento, "--pre-stop", "touch /s/hooked", "w")
    assert not [telling for telling in report["signalled"] if telling["session"]]
    assert not [process for process in report["processes"] if process["session"]]
    assert (share.path / "hooked").exists()


@ONE_RUNTIME
def test_s19_a_process_from_outside_that_is_not_reaped_is_named_and_the_stop_goes_on(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    main = bento.state("w")["Pid"]
    command = ["nsenter", "-t", str(main), "-p", "-m", "sh", "-c", "echo $$; exec sleep 4324"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        parent.send_signal(signal.SIGSTOP)  # it reaps no process now
        said = bento.fails("stop", "--start-window", "0", "--kill-timeout", "1", "w")
        assert "zap_pid_ns_processes" in said
        assert f"its parent {parent.pid} nsenter (state T), outside of the container, does not reap it" in said
        assert "is ending" in bento.fails("exec", "w", "true", code=125)
        assert bento.state("w")["Status"] == "stopping"
        parent.send_signal(signal.SIGCONT)
        parent.wait(30.0)
    bento("stop", "--ignore", "w")  # the process that looked at it meanwhile may have gone on with it already
    assert bento.state("w")["Status"] == "stopped"


@pytest.mark.skipif(shutil.which("runsc") is None, reason="runsc is not installed")
def test_s16_sessions_under_runsc(roots: Roots) -> None:
    bento = BentoCli(roots, "runsc")
    bento.run("--name", "w", "host", "sleep", "1000")
    try:
        done = bento("exec", "-i", "w", "sh", "-c", "cat; echo err >&2; exit 3", stdin="in", check=False)
        assert (done.stdout, done.stderr, done.returncode) == ("in", "err\n", 3)
        assert "command not found" in bento.fails("exec", "w", "nosuch", code=127)
        assert "cannot execute /etc/passwd" in bento.fails("exec", "w", "/etc/passwd", code=126)
        assert "working directory /nosuch" in bento.fails("exec", "-w", "/nosuch", "w", "pwd", code=125)
        with bento.start("exec", "w", "sleep", "1000") as client:
            procs.wait_until(lambda: bento.inspect("w")["ExecIDs"], what="the session")
            report = json.loads(bento("stop", "--format", "json", "w").stdout)[0]["report"]
            assert client.wait(30.0) in (137, 143)  # nothing can be held there: it ends with PID 1
        assert [telling["session"] for telling in report["signalled"]] == [False]
    finally:
        bento.remove_all()


def test_s16_an_exec_that_races_with_a_kill_is_refused_or_gone(roots: Roots, runtime: str) -> None:
    bento = BentoCli(roots, runtime)
    identifier = bento.run("--name", "w", "--pid", "host", "host", *IGNORING)
    bento.wait_for_log("w", "ready")
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(bento.start("exec", "-d", "w", "sleep", "4325")) for _ in range(4)]
        bento("stop", "-t", "0", "w")
        for other in others:
            assert other.wait(60.0) in (0, 125)
    assert not procs.with_word("4325")
    assert_released(bento, identifier)
    with Engine(Settings(root=roots.root, run_root=roots.run_root, runtime=runtime)) as engine:
        with pytest.raises(WrongState):
            engine.exec("w", ExecOptions(command=("true",)))
        engine.remove("w")


def test_commands_that_are_over_at_once_give_their_status_and_leave_nothing(bento: BentoCli) -> None:
    """Their monitor removes the session's directory while the command that began it is still writing there."""
    container_id = bento.run("--name", "w", "--init", "host", "sleep", "1000")
    for number in range(40):
        done = bento("exec", "w", "/bin/sh", "-c", f"exit {number % 3}", check=False)
        assert (done.returncode, done.stderr) == (number % 3, "")
    sessions = bento.roots.run_root / "containers" / container_id / "exec"
    procs.wait_until(lambda: not os.listdir(sessions), timeout_s=30.0, what="the monitors' end")


@ONE_RUNTIME
def test_reader_that_goes_away_ends_exec_and_its_command_by_sigpipe(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    with ended(bento.start("exec", "w", "yes")) as process:
        assert process.stdout.readline() == "y\n"
        process.stdout.close()
        assert process.wait(30) == 141
        process.stdout = None
    procs.wait_until(lambda: bento.inspect("w")["ExecIDs"] is None, what="the end of the command", every_s=0.05)
    assert bento.state("w")["Status"] == "running"
    bento("rm", "-f", "w")
    assert_clean(bento)

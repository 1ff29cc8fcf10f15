"""Stop rules S12 to S15, S18 and S26 on real process trees: which processes are signalled, in which order."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from support import leaks, procs
from support.cli import BentoCli
from support.workload import (
    ONE_RUNTIME,
    PYTHON,
    WRITER,
    Share,
    assert_released,
    ended,
    occasions,
    run_script,
    run_shell,
    stop_report,
    told,
    wait_for_program,
    wait_for_status,
)

STEADY_S = 0.4
"""After so long what a shell waits for is no step of a loop any more."""
LOOP = """
import time
open("/s/ready", "w").close()
while True:
    time.sleep(0.2)
"""
# -- S13: trees -----------------------------------------------------------------------------------


@ONE_RUNTIME
@pytest.mark.parametrize(
    "shell", [("/bin/dash",), ("/bin/bash",), ("/bin/busybox", "sh")], ids=["dash", "bash", "busybox"]
)
def test_s13_shell_with_a_trap_and_a_mere_waiter_in_front_runs_its_trap(
    bento: BentoCli, share: Share, shell: tuple[str, ...]
) -> None:
    """It has only noted the signal, and runs the trap when the child ends: that is signalled as well."""
    text = "trap 'touch /s/trap; exit 4' TERM\ntouch /s/up\n/bin/sleep 600\n"
    run_shell(bento, share, text, "up", argv=shell)
    wait_for_program(bento, "sleep")
    report = stop_report(bento, "w")
    assert (share.path / "trap").exists()
    assert (report["exit_code"], report["verdict"]) == (4, "graceful")
    assert occasions(report) == ["init", "foreground"]
    assert "runs its trap only when sleep has ended" in report["cause"]
    assert report["duration_s"] < 9


@ONE_RUNTIME
def test_s13_shell_in_its_wait_builtin_signals_its_child_itself(bento: BentoCli, share: Share) -> None:
    text = f"trap 'kill -QUIT $P; wait $P; exit 6' TERM\n{PYTHON} /s/writer.py a 0.3 & P=$!\nwait $P\n"
    run_shell(bento, share, text, "a.ready")
    report = stop_report(bento, "w")
    assert share.lines("a.told") == ["3"]
    assert (share.path / "a.done").exists()
    assert (report["exit_code"], report["verdict"], occasions(report)) == (6, "graceful", ["init"])


@ONE_RUNTIME
def test_s13_shell_with_a_trap_keeps_its_foreground_child_that_is_at_work(bento: BentoCli, share: Share) -> None:
    """``trap stop=1 TERM; while [ -z "$stop" ]; do item; done``: the item under way is done to its end."""
    item = "for i in 1 2 3 4 5 6 7 8; do sleep 0.1; echo $i >> /s/item; done"
    text = f"trap stop=1 TERM\nwhile [ -z \"$stop\" ]; do : > /s/item; touch /s/up; /bin/sh -c '{item}'; done\nexit 3\n"
    run_shell(bento, share, text, "up")
    report = stop_report(bento, "w")
    assert share.lines("item") == list("12345678")
    assert (report["exit_code"], report["verdict"], occasions(report)) == (3, "graceful", ["init"])


@ONE_RUNTIME
def test_s13_shell_with_a_trap_and_a_server_in_front_of_it(bento: BentoCli, share: Share) -> None:
    """One that listens and receives the signal is told; PID 1 goes on to its trap when it has ended."""
    run_shell(bento, share, f"trap 'touch /s/trap; exit 4' TERM\n{PYTHON} /s/writer.py a 0.2 listen\n", "a.ready")
    report = stop_report(bento, "w")
    assert (share.path / "trap").exists()
    assert (share.path / "a.done").exists()
    assert share.lines("a.told") == ["15"]
    assert (report["exit_code"], occasions(report)) == (4, ["init", "foreground"])


@ONE_RUNTIME
def test_s13_producer_and_tee_lose_nothing_of_the_last_words(bento: BentoCli, share: Share) -> None:
    """The reader ends by end-of-file; told at once, it would die before it has written everything."""
    share.script(
        "producer.py",
        """
import signal, sys, time
def told(number, frame):
    time.sleep(0.05)
    for n in range(2000):
        print("last", n, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
open("/s/ready", "w").close()
while True:
    signal.pause()
""",
    )
    run_shell(bento, share, f"{PYTHON} /s/producer.py | tee /s/out\n", "ready")
    report = stop_report(bento, "w")
    assert len(share.lines("out")) == 2000
    assert told(report) == ["python3"]
    assert (report["verdict"], report["exit_code"]) == ("forwarded", 0)


@ONE_RUNTIME
def test_s13_supervisor_answers_for_its_children(bento: BentoCli, share: Share) -> None:
    share.script(
        "supervisor.py",
        f"""
import os, signal, subprocess, sys
children = [subprocess.Popen(["{PYTHON}", "/s/writer.py", name, "0.1"]) for name in "ab"]
children.append(subprocess.Popen(["sleep", "1000"]))
def told(number, frame):
    with open("/s/order", "a") as file:
        for child in children:
            child.terminate()
            file.write(f"{{child.wait()}}\\n")
    sys.exit(8)
signal.signal(signal.SIGTERM, told)
open("/s/ready", "w").close()
while True:
    signal.pause()
""",
    )
    run_shell(bento, share, f"exec {PYTHON} /s/supervisor.py\n", "ready", "a.ready", "b.ready")
    report = stop_report(bento, "w")
    assert share.lines("order") == ["0", "0", "-15"]
    assert share.lines("a.told") == share.lines("b.told") == ["15"]
    assert len(report["signalled"]) == 1
    assert (report["verdict"], report["exit_code"]) == ("graceful", 8)


@ONE_RUNTIME
def test_s13_two_servers_behind_a_wrapper_are_both_signalled(bento: BentoCli, share: Share) -> None:
    run_shell(
        bento, share, f"{PYTHON} /s/writer.py a 0.3 &\n{PYTHON} /s/writer.py b 0.1 &\nwait\n", "a.ready", "b.ready"
    )
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert (share.path / "b.done").exists()
    assert share.lines("a.told") == share.lines("b.told") == ["15"]
    assert report["verdict"] == "forwarded"


@ONE_RUNTIME
def test_s13_service_that_another_one_needs_is_signalled_after_it(bento: BentoCli, share: Share) -> None:
    """The newest first: it was started when the other was there already."""
    share.script(
        "app.py",
        """
import os, signal, sys, time
def told(number, frame):
    time.sleep(0.4)
    open("/s/app.done", "w").write("too late" if os.path.exists("/s/db.told") else "in time")
    os._exit(0)
signal.signal(signal.SIGTERM, told)
open("/s/app.ready", "w").close()
while True:
    signal.pause()
""",
    )
    text = (
        f"{PYTHON} /s/writer.py db 0.1 &\nwhile [ ! -e /s/db.ready ]; do sleep 0.02; done\n{PYTHON} /s/app.py &\nwait\n"
    )
    run_shell(bento, share, text, "db.ready", "app.ready")
    time.sleep(STEADY_S)
    report = stop_report(bento, "w")
    assert share.text("app.done") == "in time"
    assert (share.path / "db.done").exists()
    assert report["verdict"] == "forwarded"
    assert occasions(report) == ["program", "program"]
    assert report["duration_s"] < 9


@ONE_RUNTIME
def test_s13_helper_without_a_handler_outlives_the_server_that_uses_it(bento: BentoCli, share: Share) -> None:
    """And ends with PID 1: nothing in it could wake before the deadline."""
    run_shell(bento, share, f"/bin/sleep 1000 &\n{PYTHON} /s/writer.py a 0.6\nkill $!\n", "a.ready")
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert told(report) == ["python3"]
    assert report["duration_s"] < 9


@ONE_RUNTIME
@pytest.mark.parametrize("wrapper", ["hold", "continue"])
def test_s13_command_after_the_program_in_the_script(bento: BentoCli, share: Share, wrapper: str) -> None:
    """It was written for a program that had finished its work: only --wrapper continue lets the script go on to it."""
    text = f"{PYTHON} /s/writer.py a 0.1\n/bin/sleep 0.3\ntouch /s/after\nexit 5\n"
    run_shell(bento, share, text, "a.ready")
    report = stop_report(bento, "--wrapper", wrapper, "w")
    assert (share.path / "a.done").exists()
    assert (share.path / "after").exists() == (wrapper == "continue")
    assert (report["verdict"], report["exit_code"]) == ("forwarded", 5 if wrapper == "continue" else 0)
    assert told(report) == ["python3"]
    assert [one["comm"] for one in report["held"]] == ([] if wrapper == "continue" else ["sh"])


@ONE_RUNTIME
def test_s13_program_of_a_loop_is_signalled_and_not_started_again(bento: BentoCli, share: Share) -> None:
    run_shell(bento, share, f"while true; do echo x >> /s/starts; {PYTHON} /s/writer.py a 0.1; done\n", "a.ready")
    time.sleep(STEADY_S)
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert share.lines("a.told") == ["15"]
    assert share.lines("starts") == ["x"]
    assert report["verdict"] == "forwarded"
    assert report["duration_s"] < 9


@ONE_RUNTIME
@pytest.mark.parametrize("wrapper", [("env", "A=1"), ("setpriv", "--no-new-privs"), ("nice",)])
def test_s13_launchers_over_a_shell_are_looked_through(bento: BentoCli, share: Share, wrapper: tuple[str, ...]) -> None:
    text = f"{PYTHON} /s/writer.py a 0.1\nexit $?\n"
    run_shell(bento, share, text, "a.ready", argv=(*wrapper, "/bin/sh"))
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert share.lines("a.told") == ["15"]
    assert (report["verdict"], report["exit_code"]) == ("forwarded", 0)


@ONE_RUNTIME
def test_s13_timeout_over_a_shell_signals_the_whole_group_itself(bento: BentoCli, share: Share) -> None:
    run_shell(bento, share, f"{PYTHON} /s/writer.py a 0.3\nexit $?\n", "a.ready", argv=("timeout", "900", "/bin/sh"))
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert share.lines("a.told") == ["15"]
    assert report["verdict"] == "graceful"
    assert occasions(report)[0] == "init"


# -- S12, S14: a signal that is dropped ------------------------------------------------------------


@ONE_RUNTIME
def test_s14_young_one_that_sleeps_past_the_deadline_is_not_waited_for(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    report = stop_report(bento, "w")
    assert report["verdict"] == "default-action"
    assert report["duration_s"] < 9
    assert any("nothing in the container could wake" in note for note in report["notes"])


@ONE_RUNTIME
def test_s14_loop_that_wakes_is_waited_for_the_whole_grace(bento: BentoCli, share: Share) -> None:
    """It may be a job that pauses: the plain stop would let it work."""
    run_script(bento, share, LOOP)
    report = stop_report(bento, "--start-window", "0", "-t", "2", "w")
    assert report["disposition"] == "dropped"
    assert report["verdict"] in ("killed", "default-action")  # its last sleep may outlast the grace
    assert report["duration_s"] > 1.7
    assert report["signalled"] == []


@ONE_RUNTIME
def test_s14_deaf_end_does_not_look_but_leaves_the_start_window(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, LOOP)
    report = stop_report(bento, "--start-window", "1.5", "--deaf", "end", "w")
    assert report["verdict"] == "default-action"
    assert 0.3 < report["duration_s"] < 9


@ONE_RUNTIME
def test_s14_listener_at_rest_is_ended_and_one_with_a_client_is_not(bento: BentoCli, share: Share) -> None:
    server = """
import socket
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
open("/s/port", "w").write(str(server.getsockname()[1]))
open("/s/ready", "w").close()
while True:
    client, _ = server.accept()
    client.recv(1)
"""
    run_script(bento, share, server, "--network", "host")
    with socket.create_connection(("127.0.0.1", int(share.text("port")))):
        report = stop_report(bento, "--start-window", "0", "-t", "2.5", "w")
    assert report["verdict"] == "killed"
    bento("start", "w")
    time.sleep(1.0)
    report = stop_report(bento, "--start-window", "0", "w")
    assert report["verdict"] == "default-action"
    assert any("a listener at rest" in note for note in report["notes"])
    assert report["duration_s"] < 9


@ONE_RUNTIME
def test_s07_without_a_deadline_nothing_is_ever_ended(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    bento.run("--name", "v", *share.flags, "host", "/bin/sh", share.script("start.sh", "sleep 1000\ntrue\n"))
    for name in "wv":
        bento("stop", "-t", "-1", "--start-window", "0", "--no-wait", name)
    time.sleep(2.0)
    assert [bento.state(name)["Status"] for name in "wv"] == ["stopping", "stopping"]
    for name in "wv":
        report = stop_report(bento, "-t", "0", name)
        assert (report["verdict"], report["signalled"]) == ("killed", [])


@ONE_RUNTIME
def test_s00_scope_main_is_exactly_the_plain_stop(bento: BentoCli, share: Share) -> None:
    """Neither the program behind the shell nor the one that PID 1 leaves is told, and none is held."""
    run_shell(bento, share, f"{PYTHON} /s/writer.py a 0.1\nexit $?\n", "a.ready")
    report = stop_report(bento, "--scope", "main", "-t", "1", "w")
    assert (report["verdict"], report["held"], occasions(report)) == ("killed", [], ["init"])
    bento("rm", "w")
    run_shell(bento, share, f"trap 'exit 3' TERM\n{PYTHON} /s/writer.py b 0.1 &\nwait\n", "b.ready")
    report = stop_report(bento, "--scope", "main", "w")
    assert (report["verdict"], report["exit_code"], occasions(report)) == ("cut-short", 3, ["init"])
    assert share.lines("a.told") == share.lines("b.told") == []


@ONE_RUNTIME
def test_s14_ignoring_is_a_decision_that_gets_the_whole_grace(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 1000")
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "--start-window", "0", "-t", "1", "w")
    assert (report["verdict"], report["disposition"]) == ("killed", "ignored")
    assert 1.0 <= report["duration_s"] < 20


@ONE_RUNTIME
def test_s12_blocked_signal_that_no_thread_reads_is_reported_as_such(bento: BentoCli, share: Share) -> None:
    blocking = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
open("/s/ready", "w").close()
while True:
    time.sleep(0.2)
"""
    run_script(bento, share, blocking)
    report = stop_report(bento, "-t", "1.5", "w")
    assert (report["verdict"], report["disposition"]) == ("killed", "blocked")
    assert len(report["signalled"]) == 1


# -- S15: the last call ---------------------------------------------------------------------------


STUBBORN = """
import os, signal, subprocess, sys
def told(number, frame):
    open("/s/main.told", "a").write("x")
signal.signal(signal.SIGTERM, told)
child = subprocess.Popen([sys.executable, "/s/writer.py", "a", "0.1"])
signal.signal(signal.SIGCHLD, lambda *_: None)
open("/s/ready", "w").close()
child.wait()
os._exit(6)
"""
"""Is told, goes on waiting for its child, and never tells it."""


@ONE_RUNTIME
def test_s15_last_call_reaches_what_nothing_can_have_signalled(bento: BentoCli, share: Share) -> None:
    share.script("writer.py", WRITER)
    run_script(bento, share, STUBBORN)
    share.wait_for("a.ready")
    report = stop_report(bento, "-t", "6", "--last-call", "4", "w")
    assert (share.path / "a.done").exists()
    assert share.lines("a.told") == ["15"]
    assert occasions(report) == ["init", "last-call"]
    assert 1.9 < report["signalled"][1]["at_s"] < 6
    assert (report["verdict"], report["exit_code"]) == ("last-call", 6)


@ONE_RUNTIME
def test_s15_last_call_of_zero_is_off_and_default_actions_are_never_called(bento: BentoCli, share: Share) -> None:
    share.script("writer.py", WRITER)
    run_script(bento, share, STUBBORN)
    share.wait_for("a.ready")
    report = stop_report(bento, "-t", "1", "--last-call", "0", "w")
    assert (report["verdict"], occasions(report), share.lines("a.told")) == ("killed", ["init"], [])
    bento("rm", "w")
    (share.path / "ready").unlink()
    run_script(bento, share, STUBBORN.replace('[sys.executable, "/s/writer.py", "a", "0.1"]', '["sleep", "1000"]'))
    report = stop_report(bento, "-t", "1", "w")
    assert (report["verdict"], occasions(report)) == ("killed", ["init"])
    bento("rm", "w")
    (share.path / "ready").unlink()
    run_script(bento, share, STUBBORN.replace('[sys.executable, "/s/writer.py", "a", "0.1"]', '["sleep", "1000"]'))
    report = stop_report(bento, "-t", "2", "--last-call-all", "w")
    assert (report["verdict"], occasions(report)) == ("last-call", ["init", "last-call"])


# -- S18: the kill reaches everything -------------------------------------------------------------


def test_s18_whole_tree_is_gone_also_what_left_its_session(bento: BentoCli, share: Share) -> None:
    text = "trap '' TERM\nfor i in 1 2 3 4 5; do setsid sleep 1000 & done\n(sleep 1000 &) ; touch /s/ready\nwait\n"
    identifier = run_shell(bento, share, text, "ready")
    pid = bento.state("w")["Pid"]
    procs.wait_until(lambda: len(procs.descendants(pid)) >= 6, what="the children")
    keys = {process.key for process in procs.descendants(pid)}
    report = stop_report(bento, "-t", "0.3", "w")
    assert report["verdict"] == "killed"
    assert {p.key for p in procs.all_processes() if p.is_alive} & keys == set()
    assert_released(bento, identifier)


def test_s18_processes_that_fork_all_the_time_are_reached(bento: BentoCli, share: Share) -> None:
    """Eight chains: each process forks its successor and leaves. The number of processes stays bounded."""
    hydra = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(8):
    if os.fork() == 0:
        while True:
            if os.fork() != 0:
                os._exit(0)
            time.sleep(0.002)
open("/s/ready", "w").close()
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.1)
"""
    identifier = run_script(bento, share, hydra)
    report = stop_report(bento, "-t", "0.3", "w")
    assert report["verdict"] == "killed"
    assert report["duration_s"] < 20
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s18_kill_of_a_member_of_a_nested_cgroup(bento: BentoCli, share: Share) -> None:
    """A program that was moved to a cgroup below the container's own goes too."""
    identifier = bento.run("--name", "w", "host", "/bin/sh", "-c", "trap '' TERM; sleep 1000 & echo ready; wait; wait")
    bento.wait_for_log("w", "ready")
    found = bento.inspect("w")
    procs.wait_until(lambda: procs.descendants(found["State"]["Pid"]), what="the child")
    child = procs.descendants(found["State"]["Pid"])[0]
    for directory in found["Cgroups"].values():
        nested = Path(directory) / "below"
        nested.mkdir(exist_ok=True)
        if (nested / "cpuset.cpus").exists():
            (nested / "cpuset.cpus").write_text((Path(directory) / "cpuset.cpus").read_text())
            (nested / "cpuset.mems").write_text((Path(directory) / "cpuset.mems").read_text())
        (nested / "cgroup.procs").write_text(str(child.pid))
    stop_report(bento, "-t", "0.2", "w")
    now = procs.read(child.pid)
    assert now is None or now.key != child.key or not now.is_alive
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s18_leak_check_would_notice(bento: BentoCli) -> None:
    """The probes of these tests see what there is while a container runs."""
    identifier = bento.run("--name", "w", "host", "sleep", "1000")
    assert leaks.mounts_naming(identifier)
    assert [path for path in leaks.bento_cgroups() if identifier in path]


# -- S26: many at once ----------------------------------------------------------------------------


@ONE_RUNTIME
def test_s26_several_stops_take_as_long_as_the_slowest(bento: BentoCli, share: Share) -> None:
    share.script("writer.py", WRITER)
    names = [f"w{n}" for n in range(4)]
    for name in names:
        bento.run("--name", name, *share.flags, "host", PYTHON, "/s/writer.py", name, "2.5")
    for name in names:
        share.wait_for(f"{name}.ready")
    finished = bento("stop", *names)
    assert finished.seconds < 4 * 2.5
    assert sorted(finished.stdout.split()) == names
    assert all(bento.inspect(name)["Stop"]["verdict"] == "graceful" for name in names)


@ONE_RUNTIME
def test_s26_container_that_ends_by_itself_during_the_stop_of_another(bento: BentoCli) -> None:
    bento.run("--name", "long", "host", "/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 1000")
    bento.wait_for_log("long", "ready")
    bento.run("--name", "short", "host", "/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 3")
    with ended(bento.start("stop", "-t", "8", "long", "short")) as stopper:
        begun = time.monotonic()
        wait_for_status(bento, "short", "stopped")
        assert time.monotonic() - begun < 7.5
        assert stopper.wait(30) == 0
    assert bento.inspect("short")["Stop"]["verdict"] == "graceful"
    assert bento.state("short")["ExitCode"] == 0

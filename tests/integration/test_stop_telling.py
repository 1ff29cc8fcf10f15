"""Stop rules S12 to S18 on real process trees: who is told, in which order, and who is killed in the end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support import leaks, procs
from support.cli import BentoCli
from support.workload import (
    ONE_RUNTIME,
    PYTHON,
    Share,
    assert_released,
    ended,
    run_script,
    stop_report,
    wait_for_status,
)

WRITER = """
import os, signal, sys, time
name, lasts_s = sys.argv[1], float(sys.argv[2])
def told(number, frame):
    with open(f"/s/{name}.told", "a") as file:
        file.write(f"{number}\\n")
    time.sleep(lasts_s)
    open(f"/s/{name}.done", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
open(f"/s/{name}.ready", "w").close()
while True:
    signal.pause()
"""
"""``writer.py NAME SECONDS``: when told, works so long, leaves NAME.done, ends with 0."""


def run_shell(bento: BentoCli, share: Share, text: str, *ready: str, argv: tuple[str, ...] = ("/bin/sh",)) -> str:
    """Run a script as PID 1; return once these files are there."""
    share.script("writer.py", WRITER)
    path = share.script("start.sh", text)
    identifier = bento.run("--name", "w", *share.flags, "host", *argv, path)
    for name in ready:
        share.wait_for(name)
    return identifier


def told_names(report: dict) -> list[str]:
    return [telling["comm"] for telling in report["signalled"]]


# -- S13: trees -----------------------------------------------------------------------------------


@ONE_RUNTIME
def test_s13_shell_with_a_trap_and_a_foreground_child_runs_its_trap(bento: BentoCli, share: Share) -> None:
    """It runs the trap only when the child ends, so after half a second the child is told too."""
    run_shell(bento, share, "trap 'touch /s/trap; exit 4' TERM\ntouch /s/up\n/bin/sleep 600\n", "up")
    procs.wait_until(
        lambda: any(p.comm == "sleep" for p in procs.descendants(bento.state("w")["Pid"])), what="the sleep"
    )
    report = stop_report(bento, "w")
    assert (share.path / "trap").exists()
    assert (report["exit_code"], report["verdict"]) == (4, "forwarded")
    assert told_names(report)[0] in ("sh", "dash")
    assert 0.5 <= report["duration_s"] < 4.5


@ONE_RUNTIME
def test_s13_shell_with_a_trap_and_a_child_that_hears(bento: BentoCli, share: Share) -> None:
    run_shell(bento, share, f"trap 'touch /s/trap; exit 4' TERM\n{PYTHON} /s/writer.py a 0.2\n", "a.ready")
    report = stop_report(bento, "w")
    assert (share.path / "trap").exists()
    assert (share.path / "a.done").exists()
    assert share.lines("a.told") == ["15"]
    assert report["exit_code"] == 4


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
    assert told_names(report) == ["python3"]
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
def test_s13_two_servers_behind_a_wrapper_are_both_told(bento: BentoCli, share: Share) -> None:
    run_shell(
        bento, share, f"{PYTHON} /s/writer.py a 0.3 &\n{PYTHON} /s/writer.py b 0.1 &\nwait\n", "a.ready", "b.ready"
    )
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert (share.path / "b.done").exists()
    assert share.lines("a.told") == share.lines("b.told") == ["15"]
    assert report["verdict"] == "forwarded"


@ONE_RUNTIME
def test_s13_helper_without_a_handler_outlives_the_server_that_uses_it(bento: BentoCli, share: Share) -> None:
    """Wave 2 waits until wave 1 has left."""
    run_shell(bento, share, f"/bin/sleep 1000 &\n{PYTHON} /s/writer.py a 0.6\nkill $!\n", "a.ready")
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert report["signalled"][0]["comm"] == "python3"
    assert all(telling["at_s"] > 0.6 for telling in report["signalled"][1:])
    assert report["duration_s"] < 6


@ONE_RUNTIME
def test_s13_clean_up_command_after_the_server_in_the_script_is_not_killed(bento: BentoCli, share: Share) -> None:
    text = f"{PYTHON} /s/writer.py a 0.1\n/bin/sleep 0.8\ntouch /s/cleaned\nexit 5\n"
    run_shell(bento, share, text, "a.ready")
    report = stop_report(bento, "w")
    assert (share.path / "cleaned").exists()
    assert (report["verdict"], report["exit_code"]) == ("forwarded", 5)
    assert told_names(report) == ["python3"]


@ONE_RUNTIME
def test_s13_respawner_ends_quickly_and_its_server_properly(bento: BentoCli, share: Share) -> None:
    run_shell(bento, share, f"while true; do {PYTHON} /s/writer.py a 0.1; done\n", "a.ready")
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert share.lines("a.told")[0] == "15"
    assert report["duration_s"] < 7


@ONE_RUNTIME
@pytest.mark.parametrize("wrapper", [("timeout", "900"), ("env", "A=1"), ("setpriv", "--no-new-privs"), ("nice",)])
def test_s13_forwarders_over_a_shell_are_looked_through(
    bento: BentoCli, share: Share, wrapper: tuple[str, ...]
) -> None:
    text = f"{PYTHON} /s/writer.py a 0.1\nexit $?\n"
    run_shell(bento, share, text, "a.ready", argv=(*wrapper, "/bin/sh"))
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert share.lines("a.told") == ["15"]
    assert (report["verdict"], report["exit_code"]) == ("forwarded", 0)


@ONE_RUNTIME
def test_s13_bash_wrapper_within_a_wrapper(bento: BentoCli, share: Share) -> None:
    share.script("inner.sh", f"#!/bin/bash\n{PYTHON} /s/writer.py a 0.1\nexit 6\n")
    run_shell(bento, share, "/s/inner.sh\nexit $?\n", "a.ready", argv=("/bin/bash",))
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert (report["verdict"], report["exit_code"]) == ("forwarded", 6)


@ONE_RUNTIME
def test_s13_wrapper_that_does_not_leave_with_its_child_is_ended(bento: BentoCli, share: Share) -> None:
    """After its child it waits for something else."""
    run_shell(bento, share, f"{PYTHON} /s/writer.py a 0\nexec /bin/sleep 1000\n", "a.ready")
    report = stop_report(bento, "--start-window", "0", "-t", "8", "w")
    assert (share.path / "a.done").exists()
    assert report["duration_s"] < 7
    assert report["verdict"] in ("default-action", "forwarded")


# -- S12, S14: the deaf ---------------------------------------------------------------------------


@ONE_RUNTIME
def test_s14_young_and_deaf_is_given_its_start_window(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    report = stop_report(bento, "--start-window", "1.2", "w")
    assert report["verdict"] == "default-action"
    assert 0.5 < report["duration_s"] < 5


@ONE_RUNTIME
def test_s14_ignoring_is_a_decision_that_gets_the_whole_grace(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 1000")
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "--start-window", "0", "-t", "1", "w")
    assert (report["verdict"], report["disposition"]) == ("killed", "ignored")
    assert 1.0 <= report["duration_s"] < 5


@ONE_RUNTIME
def test_s12_blocked_signal_that_nobody_reads_is_told_as_such(bento: BentoCli, share: Share) -> None:
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


@ONE_RUNTIME
def test_s15_last_call_reaches_a_setsid_grandchild_that_nobody_told(bento: BentoCli, share: Share) -> None:
    """The hearing program waits for the grandchild, which has no handler and so is not in wave 1."""
    share.script("far.sh", "/bin/sleep 1000\ntouch /s/far.gone\n")
    share.script(
        "near.py",
        """
import os, signal, sys, time
def told(number, frame):
    while not os.path.exists("/s/far.gone"):
        time.sleep(0.01)
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
open("/s/near.ready", "w").close()
while True:
    signal.pause()
""",
    )
    text = f"(setsid /bin/sh /s/far.sh &)\n{PYTHON} /s/near.py\nexit $?\n"
    run_shell(bento, share, text, "near.ready")
    report = stop_report(bento, "-t", "4", "w")
    assert (share.path / "far.gone").exists()
    assert [(telling["comm"], telling["wave"]) for telling in report["signalled"]] == [("python3", 1), ("sleep", 3)]
    assert 3.1 < report["signalled"][1]["at_s"] < 4
    assert (report["verdict"], report["exit_code"]) == ("last-call", 0)


@ONE_RUNTIME
def test_s15_last_call_of_zero_is_off(bento: BentoCli, share: Share) -> None:
    stubborn = """
import signal, subprocess
signal.signal(signal.SIGTERM, lambda *_: open("/s/told", "a").write("x"))
open("/s/ready", "w").close()
while True:
    signal.pause()
"""
    share.script("stubborn.py", stubborn)
    run_shell(bento, share, f"(setsid /bin/sleep 1000 &)\n{PYTHON} /s/stubborn.py\nexit $?\n", "ready")
    report = stop_report(bento, "-t", "1", "--last-call", "0", "w")
    assert [telling["wave"] for telling in report["signalled"]] == [1]
    assert report["verdict"] == "killed"


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
    assert report["duration_s"] < 6
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
        bento.run("--name", name, *share.flags, "host", PYTHON, "/s/writer.py", name, "1")
    for name in names:
        share.wait_for(f"{name}.ready")
    finished = bento("stop", *names)
    assert finished.seconds < 3.8
    assert sorted(finished.stdout.split()) == names
    assert all(bento.inspect(name)["Stop"]["verdict"] == "graceful" for name in names)


@ONE_RUNTIME
def test_s26_container_that_ends_by_itself_during_the_stop_of_another(bento: BentoCli) -> None:
    bento.run("--name", "long", "host", "/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 1000")
    bento.wait_for_log("long", "ready")
    bento.run("--name", "short", "host", "/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 0.8")
    with ended(bento.start("stop", "-t", "6", "long", "short")) as stopper:
        begun = time.monotonic()
        wait_for_status(bento, "short", "stopped")
        assert time.monotonic() - begun < 5.5
        assert stopper.wait(30) == 0
    assert bento.inspect("short")["Stop"]["verdict"] == "graceful"
    assert bento.state("short")["ExitCode"] == 0

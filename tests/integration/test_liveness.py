"""What lives is never taken for dead: programs without a main thread, and halted ones (rules S3, S11)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.drivers.state.sqlite import SqliteStore

from support import procs
from support.cli import BentoCli, Roots
from support.workload import ONE_RUNTIME, PYTHON, Share, assert_released, run_script, stop_report, told, wait_for_status

LEADERLESS = """
import ctypes, os, signal, sys, threading, time
name, code = [*sys.argv[1:], *("a", "7")[len(sys.argv) - 1 :]]
def leave(*_):
    signal.sigwait({signal.SIGTERM})
    open(f"/s/{name}.told", "w").close()
    os._exit(int(code))
def work():
    me = os.getpid()
    while open(f"/proc/{me}/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    open(f"/s/{name}.ready", "w").close()
    while True:
        time.sleep(0.1)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
threading.Thread(target=leave).start()
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
"""
"""Makes its file once its main thread has ended; another thread takes SIGTERM."""

HALTED = """
import os, signal, sys
name, number = sys.argv[1], getattr(signal, sys.argv[2])
def leave(*_):
    open(f"/s/{name}.told", "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
open(f"/s/{name}.ready", "w").close()
os.setpgid(0, 0)  # the kernel drops SIGTSTP in an orphaned process group
os.kill(os.getpid(), number)
while True:
    signal.pause()
"""
"""Stops itself; continued, it leaves its file when it is told."""


# -- the main thread has ended -------------------------------------------------------------------


def test_a01_a_program_without_its_main_thread_is_up_and_stopped_gracefully(bento: BentoCli, share: Share) -> None:
    identifier = run_script(bento, share, LEADERLESS, "--restart", "always", ready="a.ready")
    assert "Up " in bento("ps", "-a").stdout
    bento("kill", "-s", "CONT", "w")
    bento("cp", "w:/s/w.py", share.path / "copy.py")
    assert share.text("copy.py") == LEADERLESS
    assert "main thread" in bento.fails("exec", "w", "true", code=125)
    assert f"{PYTHON} /s/w.py" in bento("explain", "w").stdout
    with bento.start("wait", "w") as waiting:
        report = stop_report(bento, "w")
        assert waiting.communicate(timeout=60)[0] == "7\n"
    assert (report["verdict"], report["exit_code"]) == ("graceful", 7)
    assert (share.path / "a.told").exists()
    assert bento.inspect("w")["RestartCount"] == 0
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_a01_it_is_ended_by_force_as_any_other(bento: BentoCli, share: Share) -> None:
    identifier = run_script(bento, share, LEADERLESS, ready="a.ready")
    bento("kill", "w")
    assert bento.state("w")["ExitCode"] == 137
    bento("start", "w")
    wait_for_status(bento, "w", "running")
    bento("rm", "-f", "w")
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_a01_a_child_without_its_main_thread_is_told_when_pid_1_leaves(bento: BentoCli, share: Share) -> None:
    share.script("child.py", LEADERLESS)
    parent = (
        "import os, signal, subprocess, sys\n"
        'subprocess.Popen([sys.executable, "/s/child.py", "b"])\n'
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(3))\n"
        "while True:\n    signal.pause()\n"
    )
    run_script(bento, share, parent, ready="b.ready")
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 3)
    assert (share.path / "b.told").exists()


@ONE_RUNTIME
def test_a01_an_exec_session_without_its_main_thread_goes_on_and_is_told(bento: BentoCli, share: Share) -> None:
    share.script("session.py", LEADERLESS)
    run_script(bento, share, "import signal\nopen('/s/ready', 'w').close()\nsignal.sigwait({signal.SIGTERM})\n")
    with bento.start("exec", "w", PYTHON, "/s/session.py", "c", "9") as client:
        share.wait_for("c.ready")
        report = stop_report(bento, "w")
        assert client.wait(60) == 9
    assert report["verdict"] == "graceful"
    assert (share.path / "c.told").exists()


@ONE_RUNTIME
def test_a01_a_lost_record_finds_it_again(bento: BentoCli, roots: Roots, share: Share) -> None:
    identifier = run_script(bento, share, LEADERLESS, ready="a.ready")
    store = SqliteStore(roots.root / "bento.db")
    store.modify(identifier, lambda container: replace(container, run=None))
    store.close()
    assert stop_report(bento, "w")["verdict"] == "graceful"
    assert_released(bento, identifier)


# -- halted --------------------------------------------------------------------------------------


@ONE_RUNTIME
@pytest.mark.parametrize("number", ["SIGSTOP", "SIGTSTP"])
def test_s11_a_child_that_has_stopped_itself_goes_on_once_it_is_told(
    bento: BentoCli, share: Share, number: str
) -> None:
    share.script("child.py", HALTED)
    parent = (
        "import os, signal, subprocess, sys\n"
        f'subprocess.Popen([sys.executable, "/s/child.py", "b", "{number}"])\n'
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(3))\n"
        "while True:\n    signal.pause()\n"
    )
    run_script(bento, share, parent, ready="b.ready")
    child = next(one for one in procs.descendants(bento.state("w")["Pid"]) if "child.py" in procs.cmdline(one.pid))
    procs.wait_until(lambda: (procs.read(child.pid) or child).state == "T", what="a halted child")
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 3)
    assert told(report) == ["python3", "python3"]
    assert (share.path / "b.told").exists()


@ONE_RUNTIME
@pytest.mark.parametrize("shell", ["/s/child.py b SIGSTOP; true", "trap 'exit 3' TERM; /s/child.py b SIGSTOP; true"])
def test_s11_a_halted_child_of_a_shell_goes_on_too(bento: BentoCli, share: Share, shell: str) -> None:
    share.script("child.py", f"#!{PYTHON}\n{HALTED}")
    bento.run("--name", "w", *share.flags, "host", "sh", "-c", shell)
    share.wait_for("b.ready")
    child = next(one for one in procs.descendants(bento.state("w")["Pid"]) if "child.py" in procs.cmdline(one.pid))
    procs.wait_until(lambda: (procs.read(child.pid) or child).state == "T", what="a halted child")
    report = stop_report(bento, "w")
    assert "child.py" in " ".join(told(report)) or "python3" in " ".join(told(report))
    assert (share.path / "b.told").exists()
    assert report["duration_s"] < 9

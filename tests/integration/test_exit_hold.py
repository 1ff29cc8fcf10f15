"""Rule S13a on real containers: nothing that receives the signal goes down with PID 1 unheard."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.tracing import tracer_of
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
    wait_for_status,
)

BEGINS_LATE = """
import os, signal, sys, time
def leave(*_):
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""
"""PID 1 is alone when it gets its signal, and leaves what it begins then."""

SOURCE = str(Path(__file__).parents[2] / "src")
PARENT = """
import ctypes, os, select, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
child = subprocess.Popen([sys.executable, "/s/writer.py", "a", sys.argv[1]])
while not os.path.exists("/s/a.ready"):
    time.sleep(0.01)
{body}
"""
"""Starts the writer and goes on with ``body``, which ends it without a word to its child."""

READY = 'open("/s/ready", "w").close()\n'
LEAVES = "signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n" + READY + "while True:\n    signal.pause()\n"
STAYS = "signal.signal(signal.SIGTERM, leave)\n" + READY + "while True:\n    signal.pause()\n"
THREAD_LEAVES = (
    """
go = threading.Event()
def wait_and_leave():
    go.wait()
    os._exit(7)
for _ in range(3):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
threading.Thread(target=wait_and_leave).start()
def leave(*_):
    go.set()
"""
    + STAYS
)
DEAD_LEADER = (
    """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
def wait_and_leave():
    signal.sigwait({signal.SIGTERM})
    os._exit(7)
threading.Thread(target=wait_and_leave).start()
"""
    + READY
    + "libc.syscall(60, 0)\n"
)
LEADER_LEAVES = (
    """
def wait_and_leave():
    while not os.path.exists("/s/alone"):
        time.sleep(0.01)
    time.sleep(0.3)
    os._exit(7)
threading.Thread(target=wait_and_leave).start()
def leave(*_):
    open("/s/alone", "w").close()
    libc.syscall(60, 0)
"""
    + STAYS
)
STOPS_ITSELF = "def leave(*_):\n    os.kill(os.getpid(), signal.SIGSTOP)\n    os._exit(7)\n" + STAYS
EXECUTES = 'def leave(*_):\n    os.execv("/bin/sh", ["sh", "-c", "sleep 0.1; exit 7"])\n' + STAYS
NO_EINTR = (
    """
poll = libc.epoll_create1(0)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
events = ctypes.create_string_buffer(64)
"""
    + READY
    + """
end, until = None, time.monotonic() + 60
while time.monotonic() < until:
    if signal.SIGTERM in signal.sigpending() and end is None:
        end = time.monotonic() + 0.5
    if end and time.monotonic() > end:
        os._exit(7)
    if os.fork() == 0:
        time.sleep(0.02)
        os._exit(0)
    if libc.epoll_wait(poll, events, 1, 60) != 0:
        os._exit(ctypes.get_errno())
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""
)
"""SIGCHLD is at its default action: nothing may interrupt a wait."""
HOW = {
    "at once": LEAVES,
    "from another thread": THREAD_LEAVES,
    "with a leader that had ended": DEAD_LEADER,
    "after its leader": LEADER_LEAVES,
    "after a SIGSTOP from inside": STOPS_ITSELF,
    "as another program": EXECUTES,
    "with a wait that nothing interrupts": NO_EINTR,
}


def run_parent(bento: BentoCli, share: Share, body: str, *flags: str, lasts_s: float = 0.2) -> str:
    """Start it as PID 1, with a child that takes so long for its shutdown."""
    share.script("writer.py", WRITER)
    path = share.script("parent.py", PARENT.format(body=body))
    identifier = bento.run("--name", "w", *share.flags, *flags, "host", PYTHON, path, str(lasts_s))
    share.wait_for("ready")
    return identifier


@contextmanager
def holding(bento: BentoCli, share: Share, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A stop under way whose PID 1 is at its exit: its child has been told."""
    with ended(bento.start("stop", "-v", *args, "w")) as stopper:
        share.wait_for("a.told")
        yield stopper


# -- how PID 1 leaves ----------------------------------------------------------------------------


@ONE_RUNTIME
@pytest.mark.parametrize("body", HOW.values(), ids=HOW)
def test_s13a_child_of_a_pid_1_that_leaves_is_signalled_once_and_ends(bento: BentoCli, share: Share, body: str) -> None:
    run_parent(bento, share, body)
    report = stop_report(bento, "w")
    assert share.lines("a.told") == ["15"]
    assert (share.path / "a.done").exists()
    assert (report["exit_code"], report["verdict"], report["is_graceful"]) == (7, "graceful", True)
    assert occasions(report) == ["init", "exit-hold"]
    assert report["duration_s"] < 9


def test_s13a_runtimes_and_monitor_see_the_end_as_ever(bento: BentoCli, share: Share) -> None:
    identifier = run_parent(bento, share, LEAVES)
    with bento.start("wait", "w") as waiter:
        report = stop_report(bento, "w")
        assert waiter.communicate(timeout=20)[0] == "7\n"
    assert (report["exit_code"], occasions(report)) == (7, ["init", "exit-hold"])
    assert "exit hold" in [phase["name"] for phase in report["phases"]]
    assert_released(bento, identifier)


def test_s23_what_pid_1_begins_in_its_handler_and_leaves_is_no_graceful_end(
    bento: BentoCli, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lived between two looks only the process events connector tells of."""
    bento = bento.on_the_machine(monkeypatch)
    run_script(bento, share, BEGINS_LATE)
    report = stop_report(bento, "w")
    assert (report["exit_code"], report["verdict"], report["is_graceful"]) == (0, "cut-short", False)
    assert [(end["comm"], end["how"]) for end in report["processes"][1:]] == [("unseen", "killed-with-pid-1")]


@ONE_RUNTIME
def test_s13a_pid_1_that_crashes_in_its_handler_is_let_die(bento: BentoCli, share: Share) -> None:
    """By the fault itself, with its exit code; what went down with it is named."""
    run_parent(bento, share, "import faulthandler\ndef leave(*_):\n    ctypes.string_at(0)\n" + STAYS, lasts_s=20)
    report = stop_report(bento, "w")
    assert report["exit_code"] == 139
    assert report["duration_s"] < 9
    assert report["verdict"] in ("cut-short", "graceful")
    assert report["verdict"] == "cut-short" or (share.path / "a.done").exists()


@ONE_RUNTIME
def test_s13a_shell_that_would_go_on_is_held(bento: BentoCli, share: Share) -> None:
    """A dump in a background shell: its ``mv`` never moves what is only half written over what is whole."""
    job = f"{PYTHON} /s/writer.py a 0.2; echo half > /s/backup"
    run_shell(bento, share, f"trap 'exit 3' TERM\n(trap - TERM; {job}; true) &\nwait\n", "a.ready")
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert not (share.path / "backup").exists()
    assert (report["exit_code"], report["verdict"]) == (3, "graceful")
    assert [one["why"] for one in report["held"]] == ["it would have gone on to its next command"]


@ONE_RUNTIME
def test_s13a_signal_of_pid_1_itself_counts(bento: BentoCli, share: Share) -> None:
    """``trap 'kill $P; exit'``: told by its script, at work on it, and not told once more."""
    run_shell(bento, share, f"trap 'kill $P; exit 3' TERM\n{PYTHON} /s/writer.py a 0.3 & P=$!\nwait\n", "a.ready")
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert share.lines("a.told") == ["15"]
    assert (report["exit_code"], report["verdict"]) == (3, "graceful")


@ONE_RUNTIME
def test_s13a_program_that_has_taken_its_handler_away_is_in_its_shutdown(bento: BentoCli, share: Share) -> None:
    """Python does so before it writes out its files: it is neither let go down with PID 1, nor held, nor signalled."""
    share.script(
        "ending.py",
        """
import os, signal, subprocess, time
def told(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    child.terminate()
    child.wait()
    open("/s/dropped", "w").close()
    time.sleep(0.7)
    open("/s/a.done", "w").close()
    os._exit(0)
child = subprocess.Popen(["sleep", "1000"])
signal.signal(signal.SIGTERM, told)
open("/s/a.ready", "w").close()
while True:
    signal.pause()
""",
    )
    trap = "trap 'kill $P; while [ ! -e /s/dropped ]; do :; done; exit 3' TERM"
    run_shell(bento, share, f"{trap}\n{PYTHON} /s/ending.py & P=$!\nwait\n", "a.ready")
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert (report["exit_code"], report["verdict"], occasions(report)) == (3, "graceful", ["init"])
    assert report["held"] == []


@ONE_RUNTIME
def test_s13a_exit_hold_of_zero_is_off(bento: BentoCli, share: Share) -> None:
    run_parent(bento, share, LEAVES)
    report = stop_report(bento, "--exit-hold", "0", "w")
    assert share.lines("a.told") == []
    assert (report["exit_code"], report["verdict"], occasions(report)) == (7, "cut-short", ["init"])
    assert report["is_graceful"] is False


# -- how the hold ends -----------------------------------------------------------------------------


@ONE_RUNTIME
def test_s13a_it_lasts_no_longer_than_the_grace(bento: BentoCli, share: Share) -> None:
    run_parent(bento, share, LEAVES, lasts_s=60)
    report = stop_report(bento, "-t", "1.5", "w")
    assert share.lines("a.told") == ["15"]
    assert 1.5 <= report["duration_s"] < 20
    assert (report["verdict"], report["is_graceful"]) == ("killed", False)
    assert "python3, which it left behind" in report["cause"]


@ONE_RUNTIME
def test_s13a_without_a_deadline_it_has_its_own_limit(bento: BentoCli, share: Share) -> None:
    run_parent(bento, share, LEAVES, lasts_s=60)
    report = stop_report(bento, "-t", "-1", "--exit-hold", "1", "w")
    assert 1.0 <= report["duration_s"] < 20
    assert (report["exit_code"], report["verdict"]) == (7, "cut-short")


@ONE_RUNTIME
@pytest.mark.parametrize("how", [("kill",), ("stop", "-t", "0"), ("stop", "-t", "1"), ("rm", "-f")], ids=" ".join)
def test_s05_kill_or_a_nearer_deadline_during_the_hold(bento: BentoCli, share: Share, how: tuple[str, ...]) -> None:
    """SIGKILL does not wake a process at its exit: it is let go before."""
    identifier = run_parent(bento, share, LEAVES, lasts_s=60)
    with holding(bento, share, "-t", "50") as stopper:
        finished = bento(*how, "w")
        assert finished.seconds < 20
        stopper.wait(20)
    if how[0] != "rm":
        state = wait_for_status(bento, "w", "stopped")
        assert state["ExitCode"] in (7, 137)
        assert_released(bento, identifier)


@ONE_RUNTIME
def test_s05_joiner_waits_for_the_same_end(bento: BentoCli, share: Share) -> None:
    run_parent(bento, share, LEAVES, lasts_s=1.5)
    with holding(bento, share) as stopper:
        assert bento("stop", "w").stdout == "w\n"
        assert stopper.wait(20) == 0
    assert share.lines("a.told") == ["15"]
    assert (share.path / "a.done").exists()
    assert bento.state("w")["ExitCode"] == 7


@ONE_RUNTIME
def test_s13a_out_of_memory_during_the_hold_ends_it(bento: BentoCli, share: Share) -> None:
    """The kernel kills what it chooses; PID 1 at its exit, or its child; either way it is over."""
    hog = WRITER.replace("time.sleep(lasts_s)", "hog = []\n    while True: hog.append(bytearray(b'x' * (1 << 20)))")
    share.script("writer.py", hog)
    path = share.script("parent.py", PARENT.format(body=LEAVES))
    bento.run("--name", "w", "-m", "80m", *share.flags, "host", PYTHON, path, "1")
    share.wait_for("ready")
    if not any("80" in str(v) or v == 80 << 20 for v in bento.inspect("w")["HostConfig"].values()):
        pytest.skip("kernel: no memory limit can be set here")
    report = stop_report(bento, "-t", "20", "w")
    assert report["exit_code"] in (7, 137)
    assert report["duration_s"] < 15
    assert share.lines("a.told") == ["15"]


# -- beside it -------------------------------------------------------------------------------------


@ONE_RUNTIME
def test_s13a_other_commands_go_on_during_the_hold(bento: BentoCli, share: Share) -> None:
    """Each answers in time; none lets PID 1 go, and no new session comes in (rule S16)."""
    run_parent(bento, share, LEAVES, lasts_s=60)
    with holding(bento, share, "-t", "55") as stopper:
        main = bento.state("w")["Pid"]
        assert tracer_of(main) > 1
        assert "is ending" in bento.fails("exec", "w", "true", code=125)
        for words in (
            ("pause", "w"), ("unpause", "w"), ("logs", "w"), ("inspect", "w"), ("ps",), ("explain", "w"), ("diff", "w"),
            ("port", "w"), ("report", "w"), ("doctor",), ("kill", "-s", "HUP", "w"), ("cp", "w:/etc/hostname", "-"),
        ):  # fmt: skip
            finished = bento(*words, check=False, timeout_s=30)
            assert finished.seconds < 10, str(finished)
        assert bento.state("w")["Status"] == "stopping"
        assert tracer_of(main) > 1
        assert stopper.poll() is None
        bento("stop", "-t", "0", "w")


@ONE_RUNTIME
def test_s13a_client_that_connects_to_a_held_pid_1_is_refused(bento: BentoCli, share: Share) -> None:
    listener = (
        'server = socket.socket()\nserver.bind(("127.0.0.1", 0))\nserver.listen()\n'
        'open("/s/port", "w").write(str(server.getsockname()[1]))\n'
    )
    run_parent(bento, share, listener + LEAVES, "--network", "host", lasts_s=2)
    address = ("127.0.0.1", int(share.text("port")))
    with socket.create_connection(address, 5) as waiting, holding(bento, share) as stopper:
        waiting.settimeout(5)
        with contextlib.suppress(ConnectionResetError):  # not accepted before: it is not left waiting either
            assert waiting.recv(1) == b""
        with pytest.raises(OSError, match=r"refused|reset"):
            socket.create_connection(address, 5).recv(1)
        assert stopper.poll() is None
        assert stopper.wait(20) == 0
    assert (share.path / "a.done").exists()


@ONE_RUNTIME
def test_s11_paused_container_wakes_up_into_the_same(bento: BentoCli, share: Share) -> None:
    run_parent(bento, share, LEAVES)
    bento("pause", "w")
    report = stop_report(bento, "--paused", "thaw", "w")
    assert share.lines("a.told") == ["15"]
    assert (report["exit_code"], report["verdict"], occasions(report)) == (7, "graceful", ["init", "exit-hold"])


@ONE_RUNTIME
def test_s13a_pid_1_that_is_traced_already_is_not_held_and_the_report_says_so(bento: BentoCli, share: Share) -> None:
    tracer = f"""
import os, signal, sys
sys.path.insert(0, {SOURCE!r})
from bento.kernel.process import ptrace
ptrace.seize(int(sys.argv[1]), 0)
print("ready", flush=True)
while True:
    try:
        pid, status = os.waitpid(-1, ptrace.WALL)
    except ChildProcessError:
        break
    if os.WIFSTOPPED(status):
        ptrace.cont(pid, 0 if status >> 16 else os.WSTOPSIG(status))
"""
    run_parent(bento, share, LEAVES)
    words = [sys.executable, "-c", tracer, str(bento.state("w")["Pid"])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            report = stop_report(bento, "w")
        finally:
            other.kill()
    assert any("not held at its exit" in note and f"process {other.pid}" in note for note in report["notes"])
    assert (report["exit_code"], report["verdict"]) == (7, "cut-short")
    assert report["is_graceful"] is False


@ONE_RUNTIME
def test_s13a_sessions_count(bento: BentoCli, share: Share) -> None:
    """One that receives the signal is left alone until PID 1 is at its exit, and is then told (rule S16)."""
    share.script("writer.py", WRITER)
    bento.run(
        "--name",
        "w",
        *share.flags,
        "host",
        "/bin/sh",
        "-c",
        "trap 'sleep 0.5; exit 3' TERM; touch /s/ready; sleep 600 & wait",
    )
    share.wait_for("ready")
    with bento.start("exec", "w", PYTHON, "/s/writer.py", "a", "0.5") as client:
        share.wait_for("a.ready")
        report = stop_report(bento, "w")
        assert client.wait(20) == 0
    assert (share.path / "a.done").exists()
    assert (report["exit_code"], report["verdict"], occasions(report)) == (3, "graceful", ["init", "exit-hold"])
    assert [one["session"] for one in report["signalled"]] == [False, True]
    assert report["signalled"][1]["at_s"] > 0.4


@ONE_RUNTIME
@pytest.mark.parametrize("own", [True, False], ids=["holder", "guest"])
def test_s13a_containers_that_joined_the_namespace_count(bento: BentoCli, share: Share, own: bool) -> None:
    """With the PID namespace of X go the programs of those that joined it: they are told before."""
    share.script("writer.py", WRITER)
    bento.run(
        "--name",
        "x",
        *share.flags,
        "host",
        "/bin/sh",
        "-c",
        "trap 'exit 3' TERM; touch /s/ready; while :; do sleep 0.1; done",
    )
    share.wait_for("ready")
    bento.run("--name", "y", "--pid", "container:x", *share.flags, "host", PYTHON, "/s/writer.py", "a", "0.5")
    share.wait_for("a.ready")
    report = stop_report(bento, "x" if own else "y")
    assert share.lines("a.told") == ["15"]
    assert (share.path / "a.done").exists()
    if own:
        assert (report["exit_code"], report["verdict"], occasions(report)) == (3, "graceful", ["init", "exit-hold"])
        assert wait_for_status(bento, "y", "stopped")["ExitCode"] == 0
    else:
        assert bento.state("x")["Status"] == "running"

"""A process whose leader thread has ended while others run: /proc shows Z, and yet it lives and takes signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bento.drivers.processes.linux import LinuxProcesses
from bento.drivers.tracer import seizing
from bento.kernel.namespace import in_mounts_of
from bento.kernel.net import ports
from bento.kernel.process import pidfd, proc, threads
from bento.model.container import Run
from bento.stop.process import Disposition, Process

from support import procs

PROGRAM = """
import ctypes, os, signal, socket, sys, threading, time
how, term = sys.argv[1], {signal.SIGTERM}
def wait(is_alone=False):
    if is_alone:
        signal.pthread_sigmask(signal.SIG_BLOCK, term)
    signal.sigwait(term)
    os._exit(7)
def rest():
    while True:
        time.sleep(60)
if how in ("all wait", "all block"):
    signal.pthread_sigmask(signal.SIG_BLOCK, term)
if how == "handler":
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=lambda: (os.read(reader, 1), os._exit(7))).start()
if how == "ignores":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=rest).start()
if how in ("all wait", "one waits"):
    threading.Thread(target=wait, args=(how == "one waits",)).start()
if how == "leader blocks":
    signal.pthread_sigmask(signal.SIG_BLOCK, term)
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
"""

LIVES = None
OUTCOMES = {
    # how: (as PID 1, as another process); each what a look says, and the exit status after SIGTERM
    "nothing": ((Disposition.DROPPED, LIVES), (Disposition.DEFAULT, -signal.SIGTERM)),
    "handler": ((Disposition.HANDLED, 7), (Disposition.HANDLED, 7)),
    "ignores": ((Disposition.IGNORED, LIVES), (Disposition.IGNORED, LIVES)),
    "all wait": ((Disposition.WAITING, 7), (Disposition.WAITING, 7)),
    "all block": ((Disposition.BLOCKED, LIVES), (Disposition.BLOCKED, LIVES)),
    "one waits": ((Disposition.DROPPED, LIVES), (Disposition.DEFAULT, -signal.SIGTERM)),
    "leader blocks": ((Disposition.DROPPED, LIVES), (Disposition.DEFAULT, -signal.SIGTERM)),
}


@contextmanager
def leaderless(how: str, *, is_init: bool = False) -> Iterator[tuple[int, int, int]]:
    """Start it; give its pid, its pidfd and the port that it listens on, once its leader has ended."""
    front = ["unshare", "--pid", "--fork", "--kill-child"] if is_init else []
    popen = subprocess.Popen(
        [*front, sys.executable, "-c", PROGRAM, how], stdout=subprocess.PIPE, env={**os.environ, "MARK": how}
    )
    assert popen.stdout is not None
    port = int(popen.stdout.readline())
    pid = popen.pid
    if is_init:
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
    fd = os.pidfd_open(pid)
    try:
        found = Path(f"/proc/{pid}/stat")
        procs.wait_until(lambda: found.read_text().rpartition(")")[2].split()[0] == "Z", what="the leader's end")
        yield pid, fd, port
    finally:
        pidfd.send(fd, signal.SIGKILL)
        popen.stdout.close()
        popen.wait()
        os.close(fd)


def look_at(pid: int) -> Process:
    fd, identity = pidfd.identify(pid)
    os.close(fd)
    (process,) = LinuxProcesses().look(Run(number=1, runtime="", init=identity), signal.SIGTERM)
    return process


@pytest.mark.parametrize("is_init", [True, False], ids=["PID 1", "another"])
@pytest.mark.parametrize("how", OUTCOMES)
def test_a01_a_look_says_what_the_kernel_then_does(how: str, is_init: bool) -> None:
    said, status = OUTCOMES[how][0 if is_init else 1]
    with leaderless(how, is_init=is_init) as (pid, fd, _):
        # A thread in sigwait may only be on its way there: the leader is gone before.
        procs.wait_until(lambda: look_at(pid).disposition is said, timeout_s=10, what=f"{said} in a look")
        pidfd.send(fd, signal.SIGTERM)
        if status is not LIVES:
            assert pidfd.wait(fd, 40)
            assert os.waitstatus_to_exitcode(pidfd.exit_status(fd) or 0) == status
            return
        assert not pidfd.wait(fd, 0.05)
        assert look_at(pid).is_pending == (said is Disposition.BLOCKED)


def test_a01_it_is_identified_and_read_by_a_thread_that_lives() -> None:
    with leaderless("nothing") as (pid, fd, port):
        held, identity = pidfd.identify(pid)
        os.close(held)
        verified = pidfd.open_verified(identity)
        assert verified is not None
        os.close(verified)
        run = Run(number=1, runtime="", init=identity)
        procs.wait_until(lambda: "nanosleep" in LinuxProcesses().name_stuck(run)[0], what="its thread asleep")
        status = proc.read(pid)
        assert status is not None
        assert status.is_alive
        assert (status.pid, status.state, status.start_ticks) == (pid, "S", identity.start_ticks)
        assert proc.session_if_alive(pid) == os.getsid(0)
        assert proc.cmdline(pid)[-1] == "nothing"
        assert proc.variable(pid, "MARK")
        assert proc.exe(pid) == os.path.realpath(sys.executable)
        assert threads.examine([pid], outsiders=[])[pid].threads[0].state == "S"
        assert in_mounts_of(fd, lambda: os.path.isdir("/proc"))
        assert ports.holder(port, "tcp").endswith(f"({pid})")


def test_a01_of_a_thread_alone_it_is_seen_that_it_has_ended() -> None:
    """Else the tracer took a leader that it cannot seize for one that it traces."""
    with leaderless("nothing") as (pid, _, _):
        status = proc.read_thread(pid)
        assert status is not None
        assert not status.is_alive
        assert not seizing._seize_thread(pid, 0)


def test_a01_once_its_last_thread_has_ended_it_is_dead() -> None:
    with leaderless("nothing") as (pid, fd, _):
        _, identity = held = pidfd.identify(pid)
        os.close(held[0])
        pidfd.send(fd, signal.SIGKILL)
        assert pidfd.wait(fd, 40)
        assert pidfd.open_verified(identity) is None
        assert proc.start_ticks_if_alive(pid) is None
        assert proc.session_if_alive(pid) is None
        status = proc.read(pid)
        assert status is not None
        assert not status.is_alive
        assert proc.live_tid(pid) == pid
        assert proc.cmdline(pid) == ()

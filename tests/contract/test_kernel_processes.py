"""Processes on the real kernel: what inits wait for, and how strangers ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from bento import command
from bento.drivers.processes.linux import LinuxProcesses
from bento.kernel.process import pidfd, proc
from bento.model.container import Run

from support import procs
from support.tracing import Program, kept_in_exit

LIMIT_S = 20.0
TERM = signal.SIGTERM


def _eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def start() -> Iterator[Callable[..., int]]:
    children: list[command.Child] = []

    def begin(*argv: str) -> int:
        if shutil.which(argv[0]) is None:
            pytest.skip(f"{argv[0]} is not installed")
        children.append(command.spawn(argv))
        return children[-1].pid

    yield begin
    for child in children:
        pidfd.send(child.pidfd, signal.SIGSTOP)  # else an init could start another one while we look
        below = _children(child.pid)  # what an init has started does not end with it: there is no PID namespace here
        child.kill()
        for fd in below:
            pidfd.send(fd, signal.SIGKILL)
            os.close(fd)


def _children(parent: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (status := proc.read(int(name))) and status.ppid == parent and status.is_alive:
            found.append(pidfd.identify(status.pid)[0])
    return found


def _python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


@pytest.mark.parametrize("argv", [("tini", "--", "sleep", "600"), ("dumb-init", "--single-child", "sleep", "600")])
def test_s12_an_init_in_sigwait_receives_it(start, argv):
    pid = start(*argv)
    assert _eventually(lambda: proc.waits_for_signal(pid, TERM) is True)
    assert proc.wchan(pid) in ("do_sigtimedwait", "")
    assert proc.syscall_name(pid) == "rt_sigtimedwait"


def test_s12_catatonit_receives_it_by_signalfd_not_by_sigwait(start):
    pid = start("catatonit", "--", "sleep", "600")

    def blocks() -> bool:
        status = proc.read(pid)
        return status is not None and bool(status.blocked >> (TERM - 1) & 1)

    assert _eventually(blocks)
    assert proc.waits_for_signal(pid, TERM) is False


def test_s12_waiting_for_another_signal_is_not_receiving_this_one(start):
    pid = start(*_python("import signal; signal.sigwait({signal.SIGUSR1})"))
    assert _eventually(lambda: proc.waits_for_signal(pid, signal.SIGUSR1) is True)
    assert proc.waits_for_signal(pid, TERM) is False


def test_s12_another_threads_sigwait_does_not_count(start):
    program = (
        "import signal, threading, time\nthreading.Thread(target=signal.sigwait, args=({15},)).start()\ntime.sleep(600)"
    )
    pid = start(*_python(program))

    def has_two_threads() -> bool:
        status = proc.read(pid)
        return status is not None and status.threads == 2

    assert _eventually(has_two_threads)
    assert proc.waits_for_signal(pid, TERM) is False


def test_s12_a_plain_sleeper_and_a_busy_one_do_not_receive_it(start):
    sleeper, busy = start("sleep", "600"), start(*_python("while True: pass"))
    assert _eventually(lambda: proc.syscall_name(sleeper) in ("clock_nanosleep", "nanosleep"))
    assert proc.waits_for_signal(sleeper, TERM) is False
    assert _eventually(lambda: proc.waits_for_signal(busy, TERM) is False)


def test_handlers_and_ignored_signals_show_in_the_masks(start):
    pid = start("sh", "-c", "trap : TERM; trap '' HUP; while :; do sleep 600; done")

    def is_ready() -> bool:
        status = proc.read(pid)
        return status is not None and bool(status.caught >> (TERM - 1) & 1 and status.ignored & 1)

    assert _eventually(is_ready)


@pytest.mark.parametrize(("end", "status"), [("exit 7", 7 << 8), ("kill -KILL $$", int(signal.SIGKILL))])
def test_s23_a_strangers_end_is_known_by_its_pidfd(end, status):
    """The stranger is a grandchild, reaped by its own parent."""
    reader, writer = os.pipe()
    parent = command.spawn(["sh", "-c", f"exec 3<&0; sh -c 'read x; {end}' <&3 & echo $!; wait"], stdin_fd=reader)
    os.close(reader)
    try:
        assert parent.stdout_fd is not None
        os.set_blocking(parent.stdout_fd, True)
        fd, _ = pidfd.identify(int(os.read(parent.stdout_fd, 100)))
        os.set_blocking(parent.stdout_fd, False)
        assert pidfd.exit_status(fd) is None
        os.write(writer, b"\n")
        assert pidfd.wait(fd, LIMIT_S)
        assert parent.finish(LIMIT_S).argv  # so it has been reaped
        seen = pidfd.exit_status(fd)
        os.close(fd)
    finally:
        os.close(writer)
        parent.kill()
    if seen is None:
        pytest.skip("kernel: PIDFD_INFO_EXIT needs Linux 6.15")
    assert seen == status


def test_s23_a_zombies_end_is_known_on_every_kernel():
    child = command.spawn(["sh", "-c", "exit 5"])
    assert pidfd.wait(child.pidfd, LIMIT_S)
    assert pidfd.exit_status(child.pidfd) == 5 << 8
    assert child.finish(LIMIT_S).returncode == 5


def test_a_process_is_found_by_its_arguments(start):
    pid = start("sh", "-c", "sleep 1000; true a-part-of-it", "/a/word")
    processes = LinuxProcesses()
    # Between its fork and its exec a child of the shell has the shell's arguments.
    procs.wait_until(lambda: [one.pid for one in processes.find_by_arguments("a-part-of", "/a/word")] == [pid])
    assert processes.find_by_arguments("a-part-of", "/a/wor") == []
    assert processes.find_by_arguments("another-part-of", "/a/word") == []


@pytest.mark.parametrize(("signals", "is_seen"), [("range(1, 65)", True), ("(1, 2, 15)", False)])
def test_s00_a_handler_for_nearly_all_signals_is_seen(signals, is_seen):
    """Go's runtime has 56 in every program: SigCgt is fffffffd7fc1feff."""
    code = (
        "import contextlib, signal, time\n"
        f"for number in {signals}:\n"
        "    with contextlib.suppress(OSError, ValueError): signal.signal(number, print)\n"
        "print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            held, identity = pidfd.identify(child.pid)
            os.close(held)
            (process,) = LinuxProcesses().look(Run(number=1, runtime="", init=identity), signal.SIGTERM)
            assert process.catches_all is is_seen
        finally:
            child.kill()


def test_states_show_zombies_sessions_and_masks_of_one_namespace():
    program = (
        "import os, signal, time\nsignal.signal(10, lambda *_: 0)\n"
        "if os.fork() == 0: os._exit(0)\nif os.fork() == 0: os.setsid(); print('up', flush=True); time.sleep(100)\n"
        "time.sleep(100)"
    )
    words = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", program]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as unshare:
        try:
            assert unshare.stdout
            assert unshare.stdout.readline() == b"up\n"
            (first,) = proc.children(unshare.pid)
            processes = LinuxProcesses()
            assert _eventually(lambda: "Z" in {one.state for one in processes.states(first)})
            main, *others = sorted(processes.states(first), key=lambda one: one.pid != first)
        finally:
            unshare.kill()
    assert main.caught & 1 << (signal.SIGUSR1 - 1)
    zombie, daemon = sorted(others, key=lambda one: one.state != "Z")
    assert (zombie.ppid, zombie.session, daemon.ppid) == (first, 0, first)
    assert daemon.session == daemon.pid != main.session
    assert LinuxProcesses().states(1 << 22) == ()


def test_pid_1_that_waits_for_the_others_of_its_namespace_is_exiting() -> None:
    text = "import os, time\nif os.fork():\n    print('ready', flush=True)\ntime.sleep(1000)"
    with Program.python(text) as program:
        assert program.line() == "ready"
        assert not proc.is_exiting(program.pid)
        with kept_in_exit(program.pid, signal.SIGKILL):
            assert proc.is_exiting(program.pid)
            assert not program.has_ended()
            assert program.state() not in "ZX"
        assert program.has_ended(LIMIT_S)
        assert not proc.is_exiting(program.pid)

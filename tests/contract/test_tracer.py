"""The exit hold on real processes: what is kept, what is let go, and what a program notices (S13a)."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bento.drivers.tracer.base import AtExit, LetGo, Lost, Released, Watched

from support import procs
from support.tracing import Cgroup, Program, let_go, tracer_of, watch

# A leader that leaves at once over a child in a session of its own, which needs 0.5 s to save its work.
LEAVES_ONE_BEHIND = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    def save(*_):
        time.sleep(0.5); open(sys.argv[1], "w").write("saved"); os._exit(0)
    signal.signal(signal.SIGTERM, save)
    os.write(1, b"child %d\\n" % int(os.readlink("/proc/self")))
    while True: time.sleep(1)
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
while True: time.sleep(1)
"""

LIBC = "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"


@pytest.mark.parametrize("is_held", [True, False])
def test_what_a_leader_leaves_behind_is_saved_only_when_its_exit_is_held(tracer, tmp_path, is_held):
    mark = tmp_path / "mark"
    with Program.python(LEAVES_ONE_BEHIND, str(mark)) as program:
        program.line()
        child = procs.descendants(program.pid)[0]
        if is_held:
            assert watch(tracer, program).error == ""
        program.send(signal.SIGTERM)
        if is_held:
            assert tracer.wait_for(AtExit) == AtExit(job=1, pid=program.pid, code=3 << 8, is_frozen=False)
            fd = os.pidfd_open(child.pid)
            os.kill(child.pid, signal.SIGTERM)
            procs.wait_until(lambda: not (now := procs.read(child.pid)) or not now.is_alive)
            os.close(fd)
            assert not program.has_ended()
            let_go(tracer)
        assert program.code() == 3
        assert mark.exists() == is_held


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(
            "import threading, os, sys, time\n"
            "threading.Thread(target=lambda: (sys.stdin.read(), os._exit(7)), daemon=True).start()\n",
            7 << 8,
            id="exit_group from a worker",
        ),
        pytest.param(
            LIBC + "import threading, os, sys, time\n"
            "threading.Thread(target=lambda: (sys.stdin.read(), os._exit(7))).start()\n"
            "os.write(1, b'ready\\n'); libc.syscall(60, 0)\n",
            7 << 8,
            id="a leader that ends first",
        ),
        pytest.param(
            LIBC + "import threading, os, sys, time\n"
            "threading.Thread(target=lambda: (sys.stdin.read(), libc.syscall(60, 9))).start()\n"
            "os.write(1, b'ready\\n'); libc.syscall(60, 0)\n",
            9 << 8,
            id="every thread by itself",
        ),
        pytest.param(
            LIBC + "import threading, os, sys, time\n"
            "for _ in range(8): threading.Thread(target=lambda: libc.syscall(60, 0)).start()\n"
            "def last():\n"
            "    sys.stdin.read(); time.sleep(0.1)\n"
            "    threading.Thread(target=lambda: libc.syscall(60, 0)).start(); time.sleep(0.1); os._exit(7)\n"
            "threading.Thread(target=last).start()\n",
            7 << 8,
            id="workers that end alone",
        ),
    ],
)
def test_threads(tracer, text, code):
    reader, writer = os.pipe()
    text += "os.write(1, b'ready\\n')\nwhile True: time.sleep(1)\n"
    with Program(["python3", "-I", "-S", "-c", text], stdin=reader) as program:
        os.close(reader)
        assert program.line() == "ready"
        assert watch(tracer, program).error == ""
        os.close(writer)
        assert tracer.wait_for(AtExit).code == code
        assert not program.has_ended(0.1)
        let_go(tracer)
        assert program.has_ended(5)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_while_seized(tracer, number):
    with Program.python("import time; print('x', flush=True); time.sleep(60)", own_namespace=False) as program:
        program.line()
        assert watch(tracer, program).error == ""
        program.send(number)
        if number == signal.SIGKILL:
            assert "killed" in tracer.wait_for(LetGo).why
        else:
            assert tracer.wait_for(AtExit).code == number
            let_go(tracer)
        assert program.has_ended(5)
        assert program.code() == 128 + number


@pytest.mark.parametrize("thaws", [True, False])
@pytest.mark.parametrize("hierarchy", ["freezer", ""])
def test_s13a_the_container_is_frozen_at_the_exit(tracer, hierarchy, thaws):
    with (
        Cgroup(hierarchy, f"bento-test-{os.getpid()}-exit") as cgroup,
        Program.python(LEAVES_ONE_BEHIND, "x") as program,
    ):
        program.line()
        for process in (program.pid, procs.descendants(program.pid)[0].pid):
            cgroup.add(process)
        assert watch(tracer, program, cgroups=cgroup.cgroups).error == ""
        program.send(signal.SIGTERM)
        assert tracer.wait_for(AtExit).is_frozen
        assert cgroup.is_frozen()
        if thaws:
            tracer.thaw(1)
            procs.wait_until(lambda: not cgroup.is_frozen())
            assert not program.has_ended(0.1)
        let_go(tracer)
        assert program.code() == 3
        procs.wait_until(lambda: not cgroup.is_frozen())


SECOND = "import os, sys; os.write(1, b'second\\n'); sys.stdin.readline(); os._exit(5)"
FIRST = """
import os, sys, threading, time
sys.stdin.readline()
def again(): os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", sys.argv[2]])
threading.Thread(target=again).start() if sys.argv[1] == "worker" else again()
while True: time.sleep(1)
"""


def test_a_program_that_executes_another_one_stays_watched(tracer):
    for place in ("leader", "worker"):
        reader, writer = os.pipe()
        with Program(["python3", "-I", "-S", "-c", FIRST, place, SECOND], stdin=reader) as program:
            os.close(reader)
            assert watch(tracer, program).error == ""
            os.write(writer, b"\n")
            assert program.line() == "second"
            os.write(writer, b"\n")
            assert tracer.wait_for(AtExit).code == 5 << 8
            assert not program.has_ended(0.05)
            let_go(tracer)
            assert program.code() == 5
            os.close(writer)


# Threads that end by themselves at the very moment at which another one ends the process.
ENDS_AT_ONCE = (
    LIBC
    + """
import os, sys, threading, time
gate = threading.Barrier(8)
def leave(n):
    gate.wait()
    libc.syscall(60, 0) if n else libc.syscall(231, 7)
for n in range(7): threading.Thread(target=leave, args=(n,), daemon=True).start()
os.write(1, b"ready\\n"); sys.stdin.readline()
leave(7) if sys.argv[1] == "leader" else (gate.wait(), time.sleep(9))
"""
)


@pytest.mark.parametrize("place", ["leader", "other"])
def test_threads_that_end_all_at_once(tracer, place):
    for _ in range(10):
        reader, writer = os.pipe()
        with Program(["python3", "-I", "-S", "-c", ENDS_AT_ONCE, place], stdin=reader) as program:
            os.close(reader)
            assert program.line() == "ready"
            assert watch(tracer, program).error == ""
            os.write(writer, b"\n")
            # By whichever came last: the process's own code, or that thread's.
            assert tracer.wait_for(AtExit).code in (7 << 8, 0)
            assert not program.has_ended(0.01)
            let_go(tracer)
            assert program.has_ended(5)
            os.close(writer)


def test_a_storm_of_signals_does_not_hide_others(tracer):
    storm = "import signal, time\nsignal.signal(34, signal.SIG_IGN)\nprint(flush=True)\nwhile True: time.sleep(9)"
    with Program.python(storm) as first, Program.python(LEAVES_ONE_BEHIND, "x") as second:
        first.line()
        second.line()
        tracer.watch(2, first.pid, first.start_ticks, hold_exit=True)
        assert tracer.wait_for(Watched).error == ""
        assert watch(tracer, second).error == ""
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            first.send(34)
        second.send(signal.SIGTERM)
        begun = time.monotonic()
        while not any(isinstance(event, AtExit) for event in tracer.seen) and time.monotonic() < begun + 5:
            first.send(34)
            tracer.seen += tracer.events()
        assert time.monotonic() - begun < 1
        let_go(tracer)
        assert second.code() == 3


EXECUTES = """
import os, sys, threading, time
def nap():
    while True: time.sleep(0.0005)
for _ in range(6): threading.Thread(target=nap, daemon=True).start()
def again(): os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", os.environ["TEXT"]])
thread = threading.Thread(target=again); thread.start(); thread.join()
"""


def test_a_process_with_threads_that_does_nothing_but_execute(tracer, monkeypatch):
    """execve waits for the threads that we trace, and seize for execve: in the end both go on."""
    monkeypatch.setenv("TEXT", EXECUTES)
    with Program.python(EXECUTES) as program:
        until, rounds, lost = time.monotonic() + 4, 0, 0
        while time.monotonic() < until or tracer.seen:
            tracer.watch(1, program.pid, program.start_ticks, hold_exit=True)
            answer = tracer.wait_for((Watched, Lost))
            rounds, lost = rounds + 1, lost + isinstance(answer, Lost)
            if isinstance(answer, Lost):
                assert "execve" in answer.why
                continue
            time.sleep(0.01 * (rounds % 3))
            tracer.release(1)
            tracer.wait_for(Released)
        print(f"{rounds} rounds, {lost} tracers lost")
        tracer.close()
        procs.wait_until(lambda: all(tracer_of(int(tid)) == 0 for tid in os.listdir(f"/proc/{program.pid}/task")))
        assert not program.has_ended()

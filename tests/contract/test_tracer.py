"""The exit hold on real processes: what is kept, what is let go, and what a program notices (S13a)."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bento.drivers.tracer.base import AtExit, LetGo, Lost, Released, Watched
from support import procs
from support.tracing import Cgroup, Program, Tracing, tracer_of

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


@pytest.fixture
def tracer():
    with Tracing() as tracer:
        yield tracer


def watch(tracer: Tracing, program: Program, **wishes) -> Watched:
    tracer.watch(1, program.pid, program.start_ticks, **{"hold_exit": True, **wishes})
    answer = tracer.wait_for(Watched)
    assert answer.pid == program.pid
    return answer


def release(tracer: Tracing) -> None:
    tracer.release(1)
    assert tracer.wait_for(Released) == Released(job=1)


@pytest.mark.parametrize("is_held", [True, False])
def test_s13a_what_a_leader_leaves_behind_is_saved_only_when_its_exit_is_held(tracer, tmp_path, is_held):
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
            release(tracer)
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
            "threading.Thread(target=lambda: (sys.stdin.read(), time.sleep(0.1),\n"
            "    threading.Thread(target=lambda: libc.syscall(60, 0)).start(), time.sleep(0.1), os._exit(7))).start()\n",
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
        release(tracer)
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
            release(tracer)
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
        release(tracer)
        assert program.code() == 3
        procs.wait_until(lambda: not cgroup.is_frozen())


def test_exec(tracer):
    text = """
import os, sys, threading, time
sys.stdin.readline()
def again(): os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import os, sys, time; os.write(1, b'second\\\\n'); sys.stdin.readline(); os._exit(5)"])
threading.Thread(target=again).start() if sys.argv[1] == "worker" else again()
while True: time.sleep(1)
"""
    for place in ("leader", "worker"):
        reader, writer = os.pipe()
        with Program(["python3", "-I", "-S", "-c", text, place], stdin=reader) as program:
            os.close(reader)
            assert watch(tracer, program).error == ""
            os.write(writer, b"\n")
            assert program.line() == "second"
            os.write(writer, b"\n")
            assert tracer.wait_for(AtExit).code == 5 << 8
            assert not program.has_ended(0.05)
            release(tracer)
            assert program.code() == 5
            os.close(writer)


EXECUTES = """
import os, sys, threading, time
def nap():
    while True: time.sleep(0.0005)
for _ in range(6): threading.Thread(target=nap, daemon=True).start()
def again(): os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", os.environ["TEXT"]])
thread = threading.Thread(target=again); thread.start(); thread.join()
"""


def test_s13a_a_process_with_threads_that_does_nothing_but_execute(tracer, monkeypatch):
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

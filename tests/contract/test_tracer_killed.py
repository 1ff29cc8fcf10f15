"""The tracer, or its client, is killed at any moment: processes go on unharmed, nothing stays frozen or stopped."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest

from bento.drivers.tracer.base import AtExit, Held, Lost

from support import procs
from support.tracing import Cgroup, Program, Tracing, tracer_of, watch

ROUNDS = int(os.environ.get("BENTO_TEST_ROUNDS", "25"))

ECHOES = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
os.write(1, b"ready\\n")
for line in sys.stdin: os.write(1, line.encode())
"""

SLEEPS = ECHOES.replace("in sys.stdin", "in ()") + "time.sleep(60)"

COUNTS = """
import os, select, signal
reader, writer = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(writer)
signal.signal(signal.SIGRTMIN, lambda *_: None)
signal.signal(signal.SIGRTMIN + 1, lambda *_: None)
os.write(1, b"ready\\n")
seen = 0
while True:
    select.select([reader], [], [])
    got = os.read(reader, 65536)
    seen += got.count(signal.SIGRTMIN)
    if signal.SIGRTMIN + 1 in got:
        os.write(1, b"%d\\n" % seen)
        seen = 0
"""


def test_no_signal_is_lost_when_the_tracer_is_killed(tracer):
    """A signal in delivery is delivered by the kernel: its stop is looked at, not taken (WNOWAIT)."""
    with Program.python(COUNTS, own_namespace=False) as program:
        assert program.line() == "ready"
        lost = 0
        for round_number in range(ROUNDS):
            assert watch(tracer, program).error == ""
            for _ in range(100):
                program.send(signal.SIGRTMIN)
            time.sleep(round_number * 0.006 / ROUNDS)
            tracer.kill()
            program.send(signal.SIGRTMIN + 1)  # of a higher number: comes after all of the others
            lost += 100 - int(program.line())
            assert tracer.wait_for(Lost) == Lost(jobs=(1,), why="killed by signal 9")
            assert tracer_of(program.pid) == 0
        assert lost == 0


@pytest.mark.parametrize("hierarchy", ["freezer", ""])
@pytest.mark.parametrize("which", ["tracer", "client"])
@pytest.mark.parametrize("moment", ["seized", "at-exit", "held", "held-frozen"])
def test_killed_at_each_state(hierarchy, which, moment):
    reader, writer = os.pipe()
    with (
        Cgroup(hierarchy, f"bento-test-{os.getpid()}-killed") as cgroup,
        Program(["python3", "-I", "-S", "-c", ECHOES], stdin=reader) as program,
        Program.python(SLEEPS, own_namespace=False) as bystander,
    ):
        os.close(reader)
        assert program.line() == bystander.line() == "ready"
        cgroup.add(program.pid)
        cgroup.add(bystander.pid)

        def reach(tracer: Tracing) -> None:
            assert watch(tracer, program, cgroups=cgroup.cgroups).error == ""
            if moment == "held":
                tracer.hold(1, [program.key])
                assert tracer.wait_for(Held).held == (program.key,)
            elif moment != "seized":
                program.send(signal.SIGTERM)
                assert tracer.wait_for(AtExit).is_frozen
                if moment == "held-frozen":
                    tracer.hold(1, [bystander.key])
                    assert tracer.wait_for(Held).held == (bystander.key,)

        if which == "tracer":
            with Tracing() as tracer:
                reach(tracer)
                tracer.kill()
                assert tracer.wait_for(Lost).jobs == (1,)
        else:
            in_killed_client(reach)
        procs.wait_until(lambda: not cgroup.is_frozen(), what="a thawed cgroup")
        procs.wait_until(lambda: tracer_of(bystander.pid) == 0)
        procs.wait_until(lambda: bystander.state() == "S", what="a bystander at rest")
        if moment in ("seized", "held"):
            os.write(writer, b"hello\n")
            assert program.line() == "hello"
        else:
            assert program.code() == 3
        os.close(writer)


def in_killed_client(reach) -> None:
    """Have a process of its own reach a state, and kill it there."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            reach(Tracing())
            os.write(writer, b"x")
            time.sleep(60)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writer)
    try:
        assert select.select([reader], [], [], 20)[0]
        assert os.read(reader, 1) == b"x"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)


STEPPED = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
os.write(1, b"ready\\n")
for line in sys.stdin: os.write(1, line.encode())
"""
POLLS = """
import select, signal, os
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
poll = select.epoll()
poll.register(0, select.EPOLLIN)
os.write(1, b"ready\\n")
while True:
    poll.poll(0.5)
    if poll.poll(0): os.write(1, os.read(0, 1) and b"on\\n")
"""


@pytest.mark.parametrize("text", [STEPPED, POLLS], ids=["noting", "a call made again"])
def test_the_tracer_is_killed_while_it_steps_from_call_to_call(tracer, text):
    """A stop at a system call leaves no SIGTRAP behind (PTRACE_O_TRACESYSGOOD)."""
    reader, writer = os.pipe()
    number = signal.SIGTERM if text is STEPPED else signal.SIGUSR1
    with Program(["python3", "-I", "-S", "-c", text], own_namespace=False, stdin=reader) as program:
        assert program.line() == "ready"
        for round_number in range(ROUNDS):
            assert watch(tracer, program, note_signal=signal.SIGTERM).error == ""
            for _ in range(20):
                program.send(number)
            time.sleep(round_number * 0.003 / ROUNDS)
            tracer.kill()
            os.write(writer, b"\n")
            program.line()
            tracer.wait_for(Lost)
            assert tracer_of(program.pid) == 0
            assert not program.has_ended()
    os.close(reader)
    os.close(writer)


FORKS = """
import fcntl, os, select, signal, sys, time
from bento.drivers.tracer.base import Released
from bento.drivers.tracer.process import ProcessTracer
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"handler of the caller\\n"))
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
begun = time.monotonic()
tracer = ProcessTracer()
tracer.release(1)
select.select([tracer.fileno()], [], [])
took_s = time.monotonic() - begun
assert tracer.events() == [Released(job=1)]
print(f"forked in {took_s * 1000:.1f} ms")
assert open(f"/proc/{tracer.pid}/cmdline").read() == open("/proc/self/cmdline").read()
os.close(lock)
fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
assert os.getsid(tracer.pid) == tracer.pid
kinds = sorted(os.readlink(f"/proc/{tracer.pid}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{tracer.pid}/fd"))
assert kinds == ["/dev/null"] * 3 + ["pipe", "pipe", "socket"], kinds
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): os.kill(tracer.pid, number)
tracer.release(1)
select.select([tracer.fileno()], [], [])
assert tracer.events() == [Released(job=1)]
print([line for line in open(f"/proc/{tracer.pid}/smaps_rollup") if line.startswith("Pss:")][0].strip())
tracer.close()
tracer.close()
"""


def test_a_forked_tracer_keeps_nothing_of_its_starter(tmp_path):
    """A lock of the engine lasts as long as any copy of its descriptor."""
    done = subprocess.run([sys.executable, "-c", FORKS, tmp_path / "lock"], capture_output=True, text=True, check=False)
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert "caller" not in done.stdout


def test_in_a_program_with_threads_the_tracer_is_started_anew():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with Tracing() as tracer, Program.python(SLEEPS) as program:
            program.line()
            assert watch(tracer, program).error == ""
            assert b"-m" in Path(f"/proc/{tracer.pid}/cmdline").read_bytes().split(b"\0")
            program.send(signal.SIGTERM)
            assert tracer.wait_for(AtExit).code == 3 << 8
            tracer.close()
            assert program.code() == 3
    finally:
        done.set()
        thread.join()

"""What a program notices of being traced: nothing (S13a, "transparent")."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from bento.drivers.tracer.base import AtExit, GaveUp, Held, LetGo, Released, Watched
from bento.kernel.process import ptrace

from support import procs
from support.tracing import Program, Tracing, let_go, tracer_of, watch

LIBC = "import ctypes, errno, os, signal, struct, sys, time\nlibc = ctypes.CDLL(None, use_errno=True)\n"

# Counts deliveries, not runs of Python's handler: the C handler writes a byte for each.
COUNTS = """
import os, select, signal, sys, time
reader, writer = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(writer)
signal.signal(signal.SIGRTMIN, lambda *_: None)
signal.signal(signal.SIGTERM, lambda *_: None)
os.write(1, b"ready\\n")
seen = 0
while True:
    select.select([reader], [], [])
    got = os.read(reader, 65536)
    seen += got.count(signal.SIGRTMIN)
    if signal.SIGTERM in got:
        os.write(1, b"%d\\n" % seen)
"""

CALLS = {
    "epoll_wait": "p = libc.epoll_create1(0); events = ctypes.create_string_buffer(1200)\n"
    "def call(ms): return libc.epoll_wait(p, events, 100, ms)\n",
    "rt_sigtimedwait": "mask = ctypes.c_uint64(1 << (signal.SIGHUP - 1)); at = struct.pack('qq', 0, 0)\n"
    "def call(ms): return libc.syscall(128, ctypes.byref(mask), None, struct.pack('qq', 0, ms * 1000000), 8)\n",
    "semtimedop": "sem = libc.semget(0, 1, 0o600)\n"
    "def call(ms): return libc.semtimedop(sem, struct.pack('Hhh', 0, -1, 0), 1, struct.pack('qq', 0, ms * 1000000))\n",
    "recv": "import socket; a, b = socket.socketpair(); a.setsockopt(1, 20, struct.pack('qq', 0, 500000000 // 1000))\n"
    "buf = ctypes.create_string_buffer(10)\n"
    "def call(ms): return libc.recv(a.fileno(), buf, 10, 0)\n",
    # As a 32-bit program calls it, with number 3: push rbx; mov ebx, edi; mov eax, 3; mov ecx, buffer; mov edx, 1;
    # int 0x80; pop rbx; ret. All below 4 GiB (MAP_PRIVATE, MAP_ANONYMOUS, MAP_32BIT).
    "recv of 32 bits": "import mmap, socket\n"
    "a, b = socket.socketpair(); a.setsockopt(1, 20, struct.pack('qq', 0, 500000000 // 1000))\n"
    "memory = mmap.mmap(-1, 4096, flags=0x62, prot=7); at = ctypes.addressof(ctypes.c_char.from_buffer(memory))\n"
    "memory.write(bytes.fromhex('5389fbb803000000b9') + struct.pack('I', at + 64))\n"
    "memory.write(bytes.fromhex('ba01000000cd805bc3'))\n"
    "read = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(at)\n"
    "def call(ms):\n"
    "    result = read(a.fileno()); ctypes.set_errno(max(0, -result)); return max(-1, result)\n",
    "nanosleep": "def call(ms): return libc.nanosleep(struct.pack('qq', 0, ms * 1000000), None)\n",
    "poll": "def call(ms): return libc.poll(None, 0, ms)\n",
}
WAITS = """
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.signal(signal.SIGUSR2, lambda *_: None)
signal.siginterrupt(signal.SIGUSR2, True)
while True:
    if not sys.stdin.readline(): break
    os.write(1, b"in\\n")
    begun = time.monotonic(); result = call(500); number = ctypes.get_errno()
    name = "" if result >= 0 else errno.errorcode[number]
    os.write(1, b"%d %s %d\\n" % (result, name.encode() or b"-", (time.monotonic() - begun) * 1000))
"""


needs_registers = pytest.mark.skipif(not ptrace.can_restart_calls(), reason="kernel: registers cannot be set here")


@needs_registers
@pytest.mark.parametrize("name", CALLS)
def test_ignored_signals_do_not_interrupt_a_call(tracer, name):
    reader, writer = os.pipe()
    with Program(["python3", "-I", "-S", "-c", LIBC + CALLS[name] + WAITS], stdin=reader) as program:
        os.close(reader)
        os.write(writer, b"\n")
        assert program.line() == "in"
        plain = program.line()
        assert watch(tracer, program).error == ""
        os.write(writer, b"\n")
        assert program.line() == "in"
        for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT, signal.SIGTERM, signal.SIGHUP):
            time.sleep(0.02)
            if name != "rt_sigtimedwait" or number != signal.SIGHUP:
                program.send(number)
        result, error, duration = program.line().split()
        assert [result, error] == plain.split()[:2]
        assert int(duration) >= 480
        # One that it receives interrupts it as ever.
        os.write(writer, b"\n")
        assert program.line() == "in"
        time.sleep(0.05)
        program.send(signal.SIGUSR2)
        result, error, _ = program.line().split()
        assert [result, error] == ["-1", "EINTR"]
        os.close(writer)
        assert tracer.wait_for(AtExit).code == 0
        let_go(tracer)


@needs_registers
# Not recv: its limit is the socket's, which cannot be seen.
@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith("recv")])
def test_a_stream_of_ignored_signals_does_not_keep_a_call_for_ever(tracer, name):
    reader, writer = os.pipe()
    with Program(["python3", "-I", "-S", "-c", LIBC + CALLS[name] + WAITS], stdin=reader) as program:
        os.close(reader)
        assert watch(tracer, program).error == ""
        for _ in range(2):
            os.write(writer, b"\n")
            assert program.line() == "in"
            until = time.monotonic() + 5
            while program.is_silent(0.01) and time.monotonic() < until:
                program.send(signal.SIGUSR1)
            result, error, duration = program.line().split()
            assert [result, error] in (["0", "-"], ["-1", "EAGAIN"])
            assert 480 <= int(duration) < 4000
        os.close(writer)


@needs_registers
@pytest.mark.parametrize("number", [0, signal.SIGUSR1, signal.SIGUSR2])
def test_a_call_goes_on_after_a_hold_unless_a_handler_has_run(tracer, number):
    reader, writer = os.pipe()
    with Program(["python3", "-I", "-S", "-c", LIBC + CALLS["epoll_wait"] + WAITS], stdin=reader) as program:
        os.close(reader)
        os.write(writer, b"\n")
        assert program.line() == "in"
        tracer.hold(1, [program.key])
        assert tracer.wait_for(Held).held == (program.key,)
        if number:
            program.send(number)
        assert program.is_silent(0.7)
        let_go(tracer)
        assert program.line().split()[:2] == (["-1", "EINTR"] if number == signal.SIGUSR2 else ["0", "-"])
        os.close(writer)


def test_being_let_go_does_not_interrupt_a_call(tracer):
    reader, writer = os.pipe()
    with Program(["python3", "-I", "-S", "-c", LIBC + CALLS["epoll_wait"] + WAITS], stdin=reader) as program:
        os.close(reader)
        assert watch(tracer, program).error == ""
        os.write(writer, b"\n")
        assert program.line() == "in"
        time.sleep(0.05)
        let_go(tracer)
        assert tracer_of(program.pid) == 0
        assert program.line().split()[:2] == ["0", "-"]
        os.close(writer)


@pytest.mark.parametrize("own_namespace", [True, False])
def test_a_thousand_signals_in_a_second_arrive(tracer, own_namespace):
    with Program.python(COUNTS, own_namespace=own_namespace) as program:
        assert program.line() == "ready"
        assert watch(tracer, program).error == ""
        begun = time.monotonic()
        for i in range(1000):
            program.send(signal.SIGRTMIN)
            if i % 10 == 0:
                time.sleep(0.005)
        assert time.monotonic() - begun < 5
        program.send(signal.SIGTERM)
        seen = int(program.line())
        while seen < 1000:  # TERM, of a lower number, overtakes what is queued
            program.send(signal.SIGTERM)
            time.sleep(0.05)
            seen = int(program.line())
        assert seen == 1000


FAULTS = {
    "null": ("ctypes.string_at(0)", signal.SIGSEGV),
    "abort": ("libc.abort()", signal.SIGSEGV),  # the init of a namespace does not receive its own SIGABRT
    "ud2": ("run(b'\\x0f\\x0b')", signal.SIGILL),
    "int3": ("run(b'\\xcc\\xc3')", signal.SIGTRAP),
    "division": ("run(b'\\x31\\xc9\\xf7\\xf1\\xc3')", signal.SIGFPE),
    "bus": (
        "f = os.memfd_create('x'); os.ftruncate(f, 4096); m = mmap.mmap(f, 4096); os.ftruncate(f, 0); m[0]",
        signal.SIGBUS,
    ),
    "seccomp": (
        "libc.prctl(38, 1, 0, 0, 0)\n    rules = ctypes.create_string_buffer(struct.pack('HBBI' * 4, 0x20, 0, 0, 0,"
        " 0x15, 0, 1, 110, 6, 0, 0, 0x30000, 6, 0, 0, 0x7fff0000))\n    program = struct.pack('HxxxxxxQ', 4,"
        " ctypes.addressof(rules))\n    libc.prctl(22, 2, program, 0, 0); libc.syscall(110)",
        signal.SIGSYS,
    ),
}
DIES = """
import mmap, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def run(code):
    page = mmap.mmap(-1, 4096, prot=7); page.write(code)
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
def dies(*_):
    FAULT
    os.write(1, b"alive\\n")
signal.signal(signal.SIGTERM, dies)
os.write(1, b"ready\\n")
while True: time.sleep(1)
"""


AGAIN = """
import os, signal, threading, time
def again(number, frame):
    signal.signal(number, signal.SIG_DFL)
    RAISE
    os.write(1, b"lives on\\n")
signal.signal(signal.SIGTERM, again)
os.write(1, b"ready\\n")
while True: time.sleep(60)
"""
RAISES = {
    "kill": "os.kill(os.getpid(), number)",
    "raise": "signal.raise_signal(number)",
    "thread": "t = threading.Thread(target=os.kill, args=(1, number)); t.start(); t.join()",
    "twice": "os.kill(os.getpid(), number); os.kill(os.getpid(), number)",
}


@pytest.mark.parametrize("how", RAISES)
def test_an_init_that_sends_itself_what_would_end_it_is_said_to_once(tracer, how):
    with Program.python(AGAIN.replace("RAISE", RAISES[how])) as program:
        assert program.line() == "ready"
        assert watch(tracer, program).error == ""
        program.send(signal.SIGTERM)
        assert tracer.wait_for(GaveUp) == GaveUp(job=1, pid=program.pid, number=signal.SIGTERM)
        assert program.line() == "lives on"
        tracer.release(1)
        tracer.wait_for(Released)
        assert tracer.seen == []


def test_what_others_send_an_init_is_not_its_own(tracer):
    """From outside and by a child; and what it handles, ignores, or what would only stop it."""
    text = """
import os, signal, time
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
os.write(1, b"ready\\n")
if os.fork() == 0: os.kill(1, signal.SIGTERM); os._exit(0)
os.wait()
for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGCHLD): os.kill(1, number)
os.write(1, b"done\\n")
time.sleep(60)
"""
    text = text.replace('os.write(1, b"ready\\n")\n', 'os.write(1, b"ready\\n")\nos.read(0, 1)\n')
    reader, writer = os.pipe()
    with Program([sys.executable, "-I", "-S", "-c", text], stdin=reader) as program:
        assert program.line() == "ready"
        assert watch(tracer, program).error == ""
        program.send(signal.SIGTERM)
        os.write(writer, b"x")
        assert program.line() == "done"
        tracer.release(1)
        tracer.wait_for(Released)
        assert tracer.seen == []
    os.close(reader)
    os.close(writer)


@needs_registers
@pytest.mark.parametrize("is_watched", [False, True])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_handler_ends_it(tracer, name, is_watched):
    fault, number = FAULTS[name]
    with Program.python(LIBC + DIES.replace("FAULT", fault)) as program:
        assert program.line() == "ready"
        if is_watched:
            assert watch(tracer, program).error == ""
        program.send(signal.SIGTERM)
        assert program.has_ended(2)
        assert program.code() == 128 + number
        if is_watched:
            assert number.name in tracer.wait_for(LetGo).why


def test_a_fault_that_is_no_inits_is_held_like_any_exit(tracer):
    with Program.python(LIBC + DIES.replace("FAULT", FAULTS["null"][0]), own_namespace=False) as program:
        assert program.line() == "ready"
        assert watch(tracer, program).error == ""
        program.send(signal.SIGTERM)
        assert tracer.wait_for(AtExit).code & 0x7F == signal.SIGSEGV
        let_go(tracer)
        assert program.code() == 128 + signal.SIGSEGV


STOPS_ITSELF = """
import os, signal, sys, time
while sys.stdin.readline():
    if sys.argv[1] == "inside": os.kill(os.getpid(), signal.SIGSTOP)
    os.write(1, b"on\\n")
"""


def test_a_stop_from_inside_does_not_stop_an_init(tracer):
    reader, writer = os.pipe()
    with Program(["python3", "-I", "-S", "-c", STOPS_ITSELF, "inside"], stdin=reader) as program:
        os.close(reader)
        assert watch(tracer, program).error == ""
        for _ in range(3):
            os.write(writer, b"\n")
            assert program.line() == "on"
        os.close(writer)


@pytest.mark.parametrize("own_namespace", [True, False])
def test_a_stop_from_outside_stops_it_until_it_is_continued(tracer, own_namespace):
    reader, writer = os.pipe()
    argv = ["python3", "-I", "-S", "-c", STOPS_ITSELF, "outside"]
    with Program(argv, own_namespace=own_namespace, stdin=reader) as program:
        os.close(reader)
        assert watch(tracer, program).error == ""
        os.write(writer, b"\n")
        assert program.line() == "on"
        for _ in range(3):
            program.send(signal.SIGSTOP)
            procs.wait_until(lambda: program.state() in "Tt")
            os.write(writer, b"\n")
            assert program.is_silent()
            program.send(signal.SIGCONT)
            assert program.line() == "on"
        # Let go while it is stopped, it stays stopped.
        program.send(signal.SIGSTOP)
        procs.wait_until(lambda: program.state() in "Tt")
        let_go(tracer)
        procs.wait_until(lambda: program.state() == "T")
        os.write(writer, b"\n")
        assert program.is_silent()
        program.send(signal.SIGCONT)
        assert program.line() == "on"
        os.close(writer)


def test_a_wait_for_a_stopped_child_returns(tracer):
    """A group stop is its parent's to see, also while it is traced."""
    with Program.python(
        "import time\nprint('on', flush=True)\nwhile True: time.sleep(1)", own_namespace=False
    ) as program:
        program.line()
        assert watch(tracer, program).error == ""
        program.send(signal.SIGSTOP)
        assert stop_of(program, os.WSTOPPED) == signal.SIGSTOP
        program.send(signal.SIGCONT)
        assert stop_of(program, os.WCONTINUED) == signal.SIGCONT


def stop_of(program: Program, kind: int) -> int:
    found = os.waitid(os.P_PID, program.pid, kind)
    assert found is not None
    return found.si_status


def test_children_of_every_kind_are_left_alone(tracer):
    """fork, vfork, posix_spawn and a clone that sends no SIGCHLD."""
    text = (
        LIBC
        + """
while sys.stdin.readline():
    pid = os.fork()
    if pid == 0: os._exit(1)
    codes = [os.waitpid(pid, 0)[1] >> 8]
    codes.append(os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "exit 2"], {}), 0)[1] >> 8)
    pid = libc.syscall(56, 0, 0, 0, 0, 0)
    if pid == 0: os._exit(3)
    codes.append(os.waitpid(pid, 0x40000000)[1] >> 8)
    os.write(1, b"%s\\n" % str(codes).encode())
"""
    )
    reader, writer = os.pipe()
    with Program(["python3", "-I", "-S", "-c", text], stdin=reader) as program:
        os.close(reader)
        assert watch(tracer, program).error == ""
        for _ in range(5):
            os.write(writer, b"\n")
            assert program.line() == "[1, 2, 3]"
        os.close(writer)


def test_what_is_traced_already_is_refused(tracer):
    with Program.python("print('x', flush=True)\nimport time; time.sleep(60)") as program, Tracing() as other:
        program.line()
        assert watch(other, program).error == ""
        assert str(other.pid) in watch(tracer, program).error
        assert tracer_of(program.pid) == other.pid
        tracer.watch(1, program.pid, program.start_ticks + 1, hold_exit=True)
        assert "ended" in tracer.wait_for(Watched).error

"""What the kernel refuses unexpectedly about one process costs that one its hold, and nothing else."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Callable

import pytest

from bento.drivers.tracer import process
from bento.drivers.tracer.base import AtExit, Failure, Held, LetGo, Lost, Noted, Released, Watched
from bento.errors import KernelError
from bento.kernel import libc

from support import procs
from support.tracing import Program, Tracing, tracer_of

# linux/ptrace.h
GETEVENTMSG, GETSIGINFO, SEIZE, INTERRUPT, GET_SYSCALL_INFO = 0x4201, 0x4202, 0x4206, 0x4207, 0x420E

LEAVES = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print(flush=True)
while True: time.sleep(1)
"""


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have one request for one thread fail with EIO; before the tracer is started."""
    real = libc.ptrace

    def refuse(wanted: int, of: int, *, blocks: bool = False) -> None:
        def ptrace(request: int, tid: int, address: int = 0, data: int | bytearray = 0) -> int:
            if (request, tid) == (wanted, of):
                if blocks:
                    time.sleep(60)
                raise KernelError("ptrace", errno.EIO, "refused by a test")
            return real(request, tid, address, data)

        monkeypatch.setattr(libc, "ptrace", ptrace)
        monkeypatch.setattr(process, "_spawn", lambda theirs: process._fork(theirs.fileno()))  # with what is set here

    return refuse


def watch(tracer: Tracing, job: int, program: Program) -> str:
    tracer.watch(job, program.pid, program.start_ticks, hold_exit=True)
    return tracer.wait_for(Watched).error


@pytest.mark.parametrize("request_", [GETEVENTMSG, GETSIGINFO])
def test_one_is_let_go_and_its_neighbour_stays_held(tracer, refuse, request_):
    with Program.python(LEAVES) as first, Program.python(LEAVES) as second:
        first.line()
        second.line()
        refuse(request_, first.pid)
        assert watch(tracer, 1, first) == watch(tracer, 2, second) == ""
        first.send(signal.SIGTERM)
        assert tracer.wait_for(LetGo) == LetGo(job=1, pid=first.pid, why="ptrace: refused by a test", lives=True)
        assert first.code() == 3  # it was not told twice, and not in vain
        second.send(signal.SIGTERM)
        assert tracer.wait_for(AtExit).pid == second.pid
        tracer.release(2)
        tracer.wait_for(Released)
        assert second.code() == 3


def test_one_that_was_let_go_so_is_not_traced_again(tracer, refuse):
    with Program.python(LEAVES) as program:
        program.line()
        refuse(GETSIGINFO, program.pid)
        assert watch(tracer, 1, program) == ""
        program.send(signal.SIGWINCH)
        assert tracer.wait_for(LetGo).lives
        procs.wait_until(lambda: tracer_of(program.pid) == 0)
        assert "refused by a test" in watch(tracer, 1, program)
        assert not program.has_ended()


def test_one_that_cannot_be_held_is_named(tracer, refuse):
    with Program.python(LEAVES) as first, Program.python(LEAVES) as second:
        first.line()
        second.line()
        refuse(INTERRUPT, first.pid)
        tracer.hold(1, [first.key, second.key])
        failed = Failure(first.key, "ptrace: refused by a test")
        assert tracer.wait_for(Held) == Held(job=1, held=(second.key,), failed=(failed,))


def test_where_the_kernel_does_not_tell_calls_nothing_was_only_noted(tracer, refuse):
    """PTRACE_GET_SYSCALL_INFO is of Linux 5.3; before, it is EIO."""
    with Program(["bash", "-c", "trap 'echo told' TERM; echo ready; sleep 0.3; echo after"]) as program:
        assert program.line() == "ready"
        procs.wait_until(lambda: procs.descendants(program.pid))
        refuse(GET_SYSCALL_INFO, program.pid)
        tracer.watch(1, program.pid, program.start_ticks, hold_exit=False, note_signal=signal.SIGTERM)
        assert tracer.wait_for(Watched).error == ""
        program.send(signal.SIGTERM)
        assert tracer.wait_for(Noted) == Noted(job=1, pid=program.pid, only_noted=False)
        assert [program.line(), program.line()] == ["told", "after"]


@pytest.mark.parametrize("place", [0, 1])
def test_what_ends_the_tracer_in_execve_is_named(tracer, refuse, place):
    """What it had answered before is read."""
    threads = "import threading\nthreading.Thread(target=lambda: time.sleep(60), daemon=True).start()\n"
    begin, rest = LEAVES.split("print", 1)
    text = f"{begin}{threads}print{rest}"
    with Program.python(text) as first, Program.python(text) as second:
        first.line()
        second.line()
        refuse(SEIZE, (first, second)[place].pid, blocks=True)
        tracer.watch(1, first.pid, first.start_ticks, hold_exit=True)
        tracer.watch(2, second.pid, second.start_ticks, hold_exit=True)
        lost = tracer.wait_for(Lost)
        assert (lost.by, set(lost.jobs)) == (place + 1, {1, 2})
        assert tracer.seen == [Watched(job=1, pid=first.pid)] * place
        assert not first.has_ended()
        assert not second.has_ended()

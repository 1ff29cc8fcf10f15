"""Reading /proc: foreign text, and processes that are there or not."""

from __future__ import annotations

import os
import sys

import pytest

from bento import command
from bento.kernel.process import pidfd, proc

STAT = (
    b"4321 (a) b (c) S 17 4321 4321 0 -1 4194560 5 0 0 0 11 4 0 0 20 0 3 0 98765 2711552 "
    b"208 18446744073709551615 1 1 0 0 0 0 0 4096 2 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 1792\n"
)
STATUS = (
    b"Name:\ta) b (c\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4321\nPid:\t4321\nPPid:\t17\nTracerPid:\t99\n"
    b"NSpid:\t4321\t12\t1\nThreads:\t3\nSigQ:\t0/96365\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000004000\n"
    b"SigBlk:\tfffffffe7ffbfeff\nSigIgn:\t0000000000001000\nSigCgt:\t0000000100000200\n"
)


def test_both_texts_make_one_record():
    status = proc.parse(STAT, STATUS)
    assert (status.pid, status.ppid, status.comm, status.state) == (4321, 17, "a) b (c", "S")
    assert (status.start_ticks, status.utime_ticks, status.threads, status.tracer_pid) == (98765, 15, 3, 99)
    assert status.ns_pids == (4321, 12, 1)
    assert status.pending == 0x4001
    assert status.blocked == 0xFFFFFFFE7FFBFEFF
    assert (status.ignored, status.caught) == (0x1000, 0x100000200)
    assert status.is_alive


def test_a_name_cannot_forge_a_field():
    # The kernel escapes a newline in a name, but not a carriage return.
    forged = STATUS.replace(b"Name:\ta) b (c\n", b"Name:\tx\rSigCgt:\tffffffff\n")
    assert proc.parse(STAT, forged).caught == 0x100000200


def test_a_kernel_without_pid_namespaces_still_gives_a_pid():
    assert proc.parse(STAT, STATUS.replace(b"NSpid:\t4321\t12\t1\n", b"")).ns_pids == (4321,)


def test_a_zombie_is_not_alive():
    assert not proc.parse(STAT.replace(b") S ", b") Z "), STATUS).is_alive


def test_ourselves_can_be_read():
    status = proc.read(os.getpid())
    assert status is not None
    assert (status.pid, status.ppid) == (os.getpid(), os.getppid())
    assert status.ns_pids[0] == os.getpid()
    assert proc.cmdline(os.getpid())
    assert proc.exe(os.getpid()) == os.path.realpath(sys.executable)


def test_what_is_gone_reads_as_nothing():
    child = command.spawn(["true"])
    assert pidfd.wait(child.pidfd, 20)
    zombie = proc.read(child.pid)
    assert zombie is not None
    assert zombie.state == "Z"
    assert proc.start_ticks_if_alive(child.pid) is None
    child.finish(20)
    assert proc.read(child.pid) is None
    assert proc.start_ticks_if_alive(child.pid) is None
    assert proc.zombie_exit_code(child.pid) is None
    assert proc.waits_for_signal(child.pid, 15) is None
    assert proc.cmdline(child.pid) == ()
    assert (proc.exe(child.pid), proc.wchan(child.pid), proc.syscall_name(child.pid)) == ("", "", "")


@pytest.mark.parametrize(
    ("text", "call"),
    [
        (b"", None),
        (b"running\n", None),
        (b"-1 0x7ffc 0x7f00\n", (-1, 0)),
        (b"128 0x7ffd11d0 0x0 0x7ffd 0x8 0x0 0x0 0x7ffd1170 0x7f5a\n", (128, 0x7FFD11D0)),
    ],
)
def test_the_call_and_its_first_argument_are_found(text, call):
    assert proc.parse_syscall(text) == call


def test_what_the_leader_is_at_is_noted_once():
    child = command.spawn(["/bin/sleep", "60"])
    try:
        memory: dict[tuple[int, int], tuple[bytes, float, float]] = {}
        while not memory:  # it is on its way to its sleep
            proc.sight(child.pid, memory)
        first = dict(memory)
        text, since_s, seen_s = memory[child.pid, child.pid]
        assert (text.split()[0].isdigit(), since_s) == (True, 0.0)
        assert seen_s > 0
        proc.sight(child.pid, memory)
        assert memory == first
    finally:
        child.kill()
    proc.sight(child.pid, memory := {})
    assert memory == {}

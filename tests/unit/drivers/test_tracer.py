"""The pure parts of the tracer: what a signal means, which calls are made again, what a shell has noted."""

from __future__ import annotations

import errno
import select
import signal
import struct

import pytest

from bento.drivers.tracer import calls, messages
from bento.drivers.tracer.base import AtExit, Failure, Held, Released, TracerDriver
from bento.drivers.tracer.freezer import Freezer
from bento.drivers.tracer.process import ProcessTracer
from bento.drivers.tracer.signals import Masks, Verdict, judge, parse_masks
from bento.kernel.process.ptrace import Registers
from bento.testing.tracer import FakeTracer

PASS, SUPPRESS, LET_GO = Verdict.PASS, Verdict.SUPPRESS, Verdict.LET_GO
SI_USER, SI_KERNEL, SEGV_MAPERR, SI_TKILL = 0, 0x80, 1, -6


def masks(*, ignored: int = 0, caught: int = 0, pending: int = 0, blocked: int = 0) -> Masks:
    bits = [1 << (number - 1) if number else 0 for number in (pending, blocked, ignored, caught)]
    return Masks(0, *bits)


@pytest.mark.parametrize(
    ("number", "code", "sender", "given", "of_init", "of_other"),
    [
        (signal.SIGTERM, SI_USER, 0, masks(caught=signal.SIGTERM), PASS, PASS),
        (signal.SIGTERM, SI_USER, 0, masks(ignored=signal.SIGTERM), SUPPRESS, SUPPRESS),
        (signal.SIGTERM, SI_USER, 0, masks(), SUPPRESS, PASS),
        (signal.SIGCHLD, 1, 7, masks(), SUPPRESS, SUPPRESS),
        (signal.SIGCHLD, 1, 7, masks(caught=signal.SIGCHLD), PASS, PASS),
        (signal.SIGWINCH, SI_KERNEL, 0, masks(), SUPPRESS, SUPPRESS),
        (signal.SIGCONT, SI_USER, 0, masks(), SUPPRESS, SUPPRESS),
        (signal.SIGSTOP, SI_USER, 0, masks(), PASS, PASS),
        (signal.SIGSTOP, SI_USER, 1, masks(), SUPPRESS, PASS),
        (signal.SIGTSTP, SI_USER, 0, masks(), SUPPRESS, PASS),
        (signal.SIGSEGV, SEGV_MAPERR, 0, masks(), LET_GO, PASS),
        (signal.SIGTRAP, SI_KERNEL, 0, masks(), LET_GO, PASS),
        (signal.SIGSEGV, SI_USER, 0, masks(), SUPPRESS, PASS),
        (signal.SIGSEGV, SEGV_MAPERR, 0, masks(caught=signal.SIGSEGV), PASS, PASS),
        (signal.SIGABRT, SI_TKILL, 1, masks(), SUPPRESS, PASS),
        (64, SI_USER, 0, masks(), SUPPRESS, PASS),
    ],
)
def test_a_signal_means_what_it_would_untraced(number, code, sender, given, of_init, of_other):
    assert judge(number, code, sender, given, is_init=True) is of_init
    assert judge(number, code, sender, given, is_init=False) is of_other


def test_masks_are_read():
    text = (
        b"Name:\tx\nTgid:\t5\nSigQ:\t0/9\n"
        b"SigPnd:\t0000000000000100\nShdPnd:\t0000000000000001\nSigBlk:\t2\nSigIgn:\t4\nSigCgt:\t8\n"
    )
    assert parse_masks(text) == Masks(0x100, 0x101, 2, 4, 8)
    assert masks(pending=10, caught=10).will_handle
    assert not masks(pending=10, caught=10, blocked=10).will_handle
    assert not masks(pending=10, caught=11).will_handle


def registers(
    result: int, call: int, ip: int = 0x1002, sp: int = 0x7000, *, arguments=(), is_64bit: bool = True
) -> Registers:
    words = [0] * 27
    for place, value in zip((14, 13, 12, 7, 9, 8), arguments, strict=False):
        words[place] = value
    return Registers(result, call, ip, sp, tuple(words), is_64bit)


EPOLL_WAIT, SIGTIMEDWAIT, CLOSE = 232, 128, 3


def test_an_interrupted_call_is_made_again_or_ends_after_all():
    before = registers(-errno.EINTR, EPOLL_WAIT)
    after = calls.again(before)
    assert after is not None
    assert (after.result, after.call, after.ip) == (EPOLL_WAIT, -1, 0x1000)
    assert calls.interrupted(after, before) == before
    assert calls.again(after) is None
    # It has been made again, or the program is somewhere else: nothing to undo.
    assert calls.interrupted(registers(-errno.EINTR, EPOLL_WAIT), before) is None
    assert calls.interrupted(registers(EPOLL_WAIT, -1, 0x2000), before) is None


@pytest.mark.parametrize(
    "now",
    [
        registers(-errno.EAGAIN, EPOLL_WAIT),
        registers(-512, 61),  # ERESTARTSYS: the kernel makes it again
        registers(-errno.EINTR, -1),  # a program that computes, with anything in its registers
        registers(-errno.EINTR, CLOSE),  # has closed it: the number may be another file's by now
        registers(-errno.EINTR, CLOSE | 1 << 30),  # the same by the x32 ABI
        registers((1 << 32) - errno.EINTR, 6, is_64bit=False),  # and of a 32-bit program
        registers((1 << 32) - errno.EINTR, 0, is_64bit=False),  # its restart_syscall
    ],
)
def test_other_calls_are_left_alone(now):
    assert calls.again(now) is None


def test_a_32_bit_programs_call_is_made_again():
    for call in (256, CLOSE, 219):  # epoll_wait, read, madvise
        assert calls.again(registers((1 << 32) - errno.EINTR, call, is_64bit=False)) is not None


def no_memory(address: int, count: int) -> bytes:
    return b""


def test_a_call_that_is_made_again_keeps_to_twice_its_limit():
    now = registers(-errno.EINTR, EPOLL_WAIT, arguments=(3, 0, 100, 1500))
    waited = calls.patience(now, 10.0, no_memory)
    assert waited is not None
    assert (waited.until_mono_s, waited.result) == (11.5, 0)
    assert waited.is_of(now)
    assert not waited.is_of(registers(-errno.EINTR, EPOLL_WAIT, sp=1))
    assert (calls.ends_now(now, waited).result, calls.ends_now(now, waited).call) == (0, -1)

    def memory(address: int, count: int) -> bytes:
        assert (address, count) == (0x5000, 16)
        return struct.pack("qq", 2, 500_000_000)

    waited = calls.patience(registers(-errno.EINTR, SIGTIMEDWAIT, arguments=(1, 2, 0x5000, 8)), 1.0, memory)
    assert waited is not None
    assert (waited.until_mono_s, waited.result) == (3.5, -errno.EAGAIN)


@pytest.mark.parametrize(
    "now",
    [
        registers(-errno.EINTR, EPOLL_WAIT, arguments=(3, 0, 100, 0xFFFFFFFF)),  # -1: without end
        registers(-errno.EINTR, SIGTIMEDWAIT, arguments=(1, 2, 0, 8)),
        registers(-errno.EINTR, 45),
        registers(-errno.EINTR, EPOLL_WAIT, arguments=(3, 0, 100, 1500), is_64bit=False),
    ],
)
def test_a_call_without_a_limit_is_made_again_for_ever(now):
    assert calls.patience(now, 10.0, no_memory) is None


def test_where_a_thread_is_is_read():
    assert calls.parse_call(b"61 0xffffffff 0x7ffd 0x0 0x0 0x1 0x2 0x7ffd00 0x7f00\n") == (
        61,
        0xFFFFFFFF,
        0x7FFD,
        0,
        0,
        1,
        2,
    )
    for text in (b"running\n", b"-1 0x7ffd 0x7f\n", b""):
        assert calls.parse_call(text) is None


WAIT = (61, 0xFFFFFFFF, 0x7FFD, 0, 0, 77, 78)


def follow(before, *entered, machine="x86_64"):
    noting = calls.Noting(before, machine)
    answers = [noting.enter(call) for call in entered]
    assert answers[:-1] == [None] * (len(answers) - 1)
    return answers[-1]


def test_what_waits_again_at_once_has_only_noted_the_signal():
    sigreturn = (15, 0, 0, 0, 0, 0, 0)
    assert follow(WAIT, sigreturn, WAIT) is True
    assert follow(WAIT, sigreturn, (*WAIT[:5], 1, 2)) is True  # registers that wait4 does not read
    assert follow(WAIT, sigreturn, (61, 5, *WAIT[2:])) is False
    assert follow(WAIT, sigreturn, (1, 1, 2, 3, 0, 0, 0)) is False
    assert follow(WAIT, WAIT) is False  # its handler waits itself
    assert follow(WAIT, sigreturn) is None
    assert follow((0, 0, 0, 0, 0, 0, 0), sigreturn) is False
    assert follow(None, sigreturn) is False
    assert follow((260, *WAIT[1:]), (139, 0, 0, 0, 0, 0, 0), (260, *WAIT[1:]), machine="aarch64") is True
    assert follow(WAIT, sigreturn, machine="other") is False


def test_packets_keep_what_is_in_them_and_fit():
    keys = tuple((4_000_000 + i, 1 << 40) for i in range(messages.KEYS_AT_ONCE))
    request = messages.Hold(job=7, keys=keys)
    assert messages.request_of(messages.pack(request)) == request
    answer = Held(job=7, held=(), failed=tuple(Failure(key, "process 12345678 traces it") for key in keys))
    assert messages.answer_of(messages.pack(answer)) == answer
    assert len(messages.pack(answer)) < 100_000 < messages.PACKET_BYTES
    watch = messages.Watch(job=1, pid=2, start_ticks=3, hold_exit=True, note_signal=0, cgroups={"": "/x"})
    assert messages.request_of(messages.pack(watch)) == watch
    release = messages.Release(job=1, keys=None)
    assert messages.request_of(messages.pack(release)) == release


def test_version_1_is_frozen_by_its_own_files(tmp_path):
    control = tmp_path / "freezer.state"
    control.write_text("")
    freezer = Freezer({"freezer": str(tmp_path), "": "/nowhere"})
    assert freezer.freeze()
    assert control.read_text() == "FROZEN"
    freezer.thaw()
    assert control.read_text() == "THAWED"
    freezer.close()
    freezer.close()


def test_what_another_process_has_frozen_is_not_thawed(tmp_path):
    (tmp_path / "cgroup.freeze").write_text("1\n")
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    freezer = Freezer({"": str(tmp_path)})
    assert freezer.freeze()
    freezer.close()
    assert (tmp_path / "cgroup.freeze").read_text() == "1\n"


@pytest.mark.parametrize("state", ["FREEZING\n", "FROZEN\n"])
def test_what_another_process_freezes_by_version_1_is_not_thawed(tmp_path, state):
    control = tmp_path / "freezer.state"
    control.write_text(state)
    freezer = Freezer({"freezer": str(tmp_path)})
    assert freezer.freeze() == (state == "FROZEN\n")
    assert not freezer.has_frozen
    freezer.close()
    assert control.read_text() == state


@pytest.mark.parametrize("cgroups", [{}, {"": "/nowhere"}, {"freezer": "/nowhere"}])
def test_without_a_freezer_nothing_is_frozen(cgroups):
    freezer = Freezer(cgroups)
    assert not freezer.freeze()
    freezer.thaw()
    freezer.close()


def test_the_fake_keeps_requests_and_tells_what_it_is_given():
    fake = FakeTracer()
    driver: TracerDriver = fake
    driver.watch(1, 10, 20, hold_exit=True, cgroups={"": "/x"})
    driver.hold(1, [(10, 20)])
    driver.thaw(1)
    driver.release(1)
    assert [type(request).__name__ for request in fake.requests] == ["Watch", "Hold", "Thaw", "Release"]
    event = AtExit(job=1, pid=10, code=0, is_frozen=True)
    fake.inject(event)
    assert select.select([driver.fileno()], [], [], 0)[0]
    assert driver.events() == [event]
    assert not select.select([driver.fileno()], [], [], 0)[0]
    fake.inject(Released(job=1))
    assert select.select([driver.fileno()], [], [], 0)[0]
    driver.close()
    driver.close()


def test_the_client_starts_nothing_before_it_is_asked():
    tracer = ProcessTracer()
    driver: TracerDriver = tracer
    assert driver.events() == []
    driver.thaw(1)
    driver.close()
    assert tracer.pid == 0

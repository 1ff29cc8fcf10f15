"""What /proc tells of waiting threads: recorded texts of both architectures, and what cannot be read."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from bento.kernel.process import alarms, descriptors, syscalls, threads
from bento.kernel.process.calls import CallReader
from bento.kernel.process.descriptors import Look
from bento.kernel.process.mappings import Mappings
from bento.model.waits import Descriptor

TIMER_LIST = b"""Timer List Version: v0.10
HRTIMER_MAX_CLOCK_BASES: 8
now at 990110383038 nsecs

cpu: 0
 clock 0:
  .base:       00000000498428f4
  .offset:     0 nsecs
active timers:
 #0: <0000000035df5199>, tick_nohz_handler, S:01
 # expires at 990112000000-990112000000 nsecs [in 1616962 to 1616962 nsecs]
 #1: <000000003d65980f>, it_real_fn, S:01
 # expires at 1290110383038-1290110383038 nsecs [in 300000000000 to 300000000000 nsecs]
 clock 1:
  .base:       0000000022385b93
  .offset:     1795994757104117997 nsecs
active timers:
 #0: <0000000022385b99>, posix_timer_fn, S:01
 # expires at 1795995847214501035-1795995847214501035 nsecs [in 1 to 1 nsecs]
cpu: 1
 clock 0:
  .offset:     0 nsecs
active timers:
 #0: <0000000035df5199>, it_real_fn, S:01
 # expires at 1090110383038-1090110383038 nsecs [in 100000000000 to 100000000000 nsecs]
"""
STATUS = (
    b"Name:\tx\rState:\tR\nState:\tS (sleeping)\nPPid:\t17\nTracerPid:\t99\nNSpid:\t4321\t12\t1\n"
    b"SigIgn:\t0000000000001000\nvoluntary_ctxt_switches:\t41\nnonvoluntary_ctxt_switches:\t2\n"
)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (
            b"230 0x0 0x0 0x7ffe1f70bd30 0x7ffe1f70bd70 0x0 0x0 0x7ffe1f70bd18 0x7fd2199b4503\n",
            (230, (0, 0, 0x7FFE1F70BD30, 0x7FFE1F70BD70, 0, 0)),
        ),
        (b"running\n", None),
        (b"-1 0x7ffe1f70bd18 0x7fd2199b4503\n", None),
        (b"", None),
    ],
)
def test_the_text_of_a_call(text, parsed):
    assert syscalls.parse(text) == parsed


def elf(bits: int, order: int, machine: int) -> bytes:
    return b"\x7fELF" + bytes([bits, order]) + bytes(12) + machine.to_bytes(2, "little")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (elf(2, 1, 62), "x86_64"),
        (elf(2, 1, 183), "aarch64"),
        (elf(1, 1, 3), ""),  # i386
        (elf(1, 1, 62), ""),  # x32
        (elf(1, 1, 40), ""),  # ARM
        (elf(2, 2, 183), ""),  # big endian
        (elf(2, 1, 243), ""),  # RISC-V
        (b"#!/bin/sh\n" * 2, ""),
        (b"", ""),
    ],
)
def test_only_programs_whose_numbers_are_known_are_read(header, name):
    assert syscalls.table_of(header) == name


def test_both_tables_name_the_calls_that_are_judged():
    judged = {"read", "ppoll", "pselect6", "epoll_pwait", "futex", "wait4", "waitid", "clock_nanosleep", "nanosleep"}
    judged |= {*syscalls.DESCRIPTORS, "rt_sigsuspend", "rt_sigtimedwait", "restart_syscall", "clone", "clone3"}
    for table in syscalls.NAMES.values():
        assert judged <= set(table.values())
        assert len(set(table.values())) == len(table)


@pytest.mark.parametrize(
    ("wchan", "first", "name"),
    [
        ("hrtimer_nanosleep", 0x7FFE1F70BD30, "nanosleep"),
        ("do_nanosleep", 1, "clock_nanosleep"),
        ("do_syscall_64", 0, "clock_nanosleep"),  # Linux 6.18
        ("invoke_syscall", 0x7FFE1F70BD30, "nanosleep"),
        ("do_sys_poll", 0x7FFE1F70BD30, "poll"),
        ("futex_wait_queue", 0x7FFE1F70BD30, "futex"),
        ("", 0, "restart_syscall"),
    ],
)
def test_a_restarted_call_is_known_by_where_it_sleeps(wchan, first, name):
    assert syscalls.restarted(wchan, first) == name


def test_timers_of_the_system_by_kind():
    found = alarms.parse_timer_list(TIMER_LIST)
    assert found[b"it_real_fn"] == pytest.approx(100.0)
    assert found[b"posix_timer_fn"] == pytest.approx(100.0)  # 1090.110383038 s, less the base's offset, less now


def test_an_alarm_is_excluded_only_by_what_was_read():
    assert alarms.Alarms(b"").earliest(os.getpid(), is_deaf=False) == 0.0
    known = alarms.Alarms(TIMER_LIST)
    assert known.earliest(os.getpid(), is_deaf=False) == pytest.approx(100.0)
    assert known.earliest(os.getpid(), is_deaf=True) is None  # to SIGALRM
    assert alarms.Alarms(b"now at 5 nsecs\n").earliest(os.getpid(), is_deaf=False) is None
    assert alarms.signals_by_posix_timer(b"ID: 0\nsignal: 14/0\nnotify: signal/pid.1634\nClockID: 0\n")
    assert not alarms.signals_by_posix_timer(b"ID: 0\nsignal: 14/0\nnotify: none/pid.1634\nClockID: 0\n")


def test_sockets_of_a_namespace():
    head = b"  sl  local_address rem_address   st ...\n"
    row = b"   0: 00000000:07E8 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 %d 1 x\n"
    tcp = head + row % (b"0A", 10) + row % (b"01", 11) + row % (b"08", 12) + b"cut off\n"
    assert descriptors.parse_inet(tcp, is_stream=True, is_loose=False) == {
        10: "listen",
        11: "connected",
        12: "connected",
    }
    udp = head + row % (b"07", 13) + row % (b"01", 14)
    assert descriptors.parse_inet(udp, is_stream=False, is_loose=True) == {13: "none", 14: "connected"}
    assert descriptors.parse_inet(udp, is_stream=False, is_loose=False) == {13: "connected", 14: "connected"}
    unix = (
        b"Num       RefCount Protocol Flags    Type St Inode Path\n"
        b"0000000048ea1b86: 00000003 00000000 00000000 0001 03  1056\n"
        b"00000000958ab721: 00000003 00000000 00010000 0001 01  1057 /run/a name\n"
        b"00000000958ab722: 00000003 00000000 00000000 0002 01  1058\n"
        b"00000000958ab723: 00000003 00000000 00000000 0001 03  1059 @abstract\n"
        b"cut\n"
    )
    assert descriptors.parse_unix(unix) == {1056: "unnamed", 1057: "listen", 1058: "none", 1059: "connected"}


def test_only_what_may_be_one_end_of_a_pair_is_copied_to_see(monkeypatch):
    asked = []

    def is_pair(tid, fd, makers):
        asked.append((tid, fd))
        return True

    monkeypatch.setattr("bento.kernel.sockets.is_pair", is_pair)
    task = f"/proc/{os.getpid()}/task/{threading.get_native_id()}"
    one, other = socket.socketpair()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        one,
        other,
    ):
        look = Look({os.getpid(): task}, [])
        kinds = {file: look.describe(task, file.fileno())[0] for file in (server, client, one, other)}
        assert [kinds[file].kind for file in (server, client, one, other)] == ["listen", "socket", "socket", "socket"]
        assert [kinds[file].is_inside for file in (client, one, other)] == [False, True, True]
        assert asked == [(threading.get_native_id(), file.fileno()) for file in (one, other)]


def test_descriptor_infos():
    epoll = (
        b"pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t1038\n"
        b"tfd:        4 events:       19 data:                4  pos:0 ino:2185 sdev:f\ntfd:   15 events: 1 data: f\n"
    )
    assert descriptors.parse_epoll(epoll) == [(4, 0x2185), (15, 0)]
    timer = b"clockid: 1\nticks: %d\nsettime flags: 00\nit_value: (%d, %d)\nit_interval: (0, 0)\n"
    assert descriptors.parse_timer(timer % (0, 2, 500000000)) == 2.5
    assert descriptors.parse_timer(timer % (0, 0, 0)) is None
    assert descriptors.parse_timer(timer % (1, 2, 0)) == 0.0
    assert descriptors.parse_timer(b"") == 0.0
    assert descriptors.parse_pidfd(b"Pid:\t4420\nNSpid:\t4420\n") == 4420
    assert descriptors.parse_pidfd(b"Pid:\t-1\n") == 0
    assert descriptors.parse_pidfd(b"") == 0


def test_a_status():
    status = threads.Status.parse(STATUS)
    assert (status.state, status.ppid, status.tracer, status.ns_pids) == ("S", 17, 99, (4321, 12, 1))
    assert (status.ignored, status.switches) == (0x1000, 43)


@pytest.mark.parametrize(
    ("ns_pid", "masks", "drops"),
    [
        (b"1", b"", True),  # the init of a namespace: the kernel keeps the default action from it
        (b"7", b"", False),
        (b"7", b"SigIgn:\t0000000000002000\n", True),
        (b"1", b"SigCgt:\t0000000000002000\n", False),
        (b"1", b"SigBlk:\t0000000000002000\n", False),
    ],
)
def test_s14_an_interval_timer_cannot_wake_the_init_of_a_namespace(ns_pid, masks, drops):
    status = threads.Status.parse(b"State:\tS\nNSpid:\t4321\t" + ns_pid + b"\n" + masks)
    assert status.drops(14) is drops


def test_what_is_not_there_is_left_out():
    gone = 1 << 22  # the greatest pid_max of Linux; no process has it
    assert threads.examine([gone], outsiders=[gone]) == {}
    assert threads.switches(gone) == 0


def test_ourselves_run():
    if os.geteuid() == 0:
        mine = threads.examine([os.getpid()], outsiders=[])[os.getpid()]
        assert any(thread.call == "" for thread in mine.threads)
        assert mine.switches > 0
    assert threads.switches(os.getpid()) > 0


# The arguments of calls, read from our own memory ---------------------------------------------


class Memory:
    """A reader of calls whose process has these bytes at 0x1000."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, data: bytes = b"", wchan: str = "") -> None:
        task = f"/proc/self/task/{threading.get_native_id()}"
        self.reader = CallReader(task, Look({os.getpid(): task}, []), {7: 4007}.get)
        self.task = task
        monkeypatch.setattr(
            self.reader,
            "_bytes",
            lambda address, size: data[address - 0x1000 :][:size] if len(data) >= address - 0x1000 + size else None,
        )
        monkeypatch.setattr("bento.kernel.process.calls._wchan", lambda _: wchan)

    def read(self, name: str, *arguments: int, state: str = "S", since_s: float | None = None):
        monkey = {number: call for call in [name] for number in [1]}
        self.reader._table = monkey
        padded = (*arguments, *[0] * (6 - len(arguments)))
        since = time.clock_gettime(time.CLOCK_BOOTTIME) if since_s is None else since_s
        return self.reader.read(self.task, state, 1, padded, since_s=since)


def spec(seconds: float, parts: float = 1e9) -> bytes:
    return int(seconds).to_bytes(8, "little") + int(seconds % 1 * parts).to_bytes(8, "little")


def now(clock: int) -> float:
    return time.clock_gettime(clock)


about = partial(pytest.approx, abs=0.5)


@pytest.mark.parametrize(
    ("name", "arguments", "data", "timeout_s", "period_s"),
    [
        ("nanosleep", (0x1000,), spec(600.5), about(600.5), 600.5),
        ("nanosleep", (0x2000,), b"", 0.0, None),
        ("clock_nanosleep", (1, 0, 0x1000), spec(60), about(60), 60.0),
        ("clock_nanosleep", (2, 0, 0x1000), spec(60), 0.0, None),  # processor time
        ("clock_nanosleep", (2, 1, 0x1000), spec(60), 0.0, None),
        ("clock_nanosleep", (1, 1, 0x1000), lambda: spec(now(1) + 600), about(600, abs=60), None),
        ("clock_nanosleep", (0, 1, 0x1000), lambda: spec(now(0) + 600), about(600, abs=60), None),
        ("clock_nanosleep", (7, 1, 0x1000), lambda: spec(now(7) + 600), about(600, abs=60), None),
        ("clock_nanosleep", (1, 1, 0x1000), spec(1), 0.0, None),
        ("poll", (0, 0, 1500), b"", about(1.5), 1.5),
        ("poll", (0, 0, 0xFFFFFFFF), b"", None, None),
        ("ppoll", (0, 0, 0x1000), spec(60), about(60), 60.0),
        ("ppoll", (0, 0, 0), b"", None, None),
        ("select", (0, 0, 0, 0, 0x1000), spec(60.25, 1e6), about(60.25), 60.25),
        ("rt_sigtimedwait", (0, 0, 0x1000), spec(60), about(60), 60.0),
        ("rt_sigtimedwait", (0, 0, 0), b"", None, None),
        ("futex", (0, 128, 0, 0), b"", None, None),
        ("futex", (0, 128, 0, 0x1000), spec(60), about(60), 60.0),
        ("futex", (0, 137, 0, 0), b"", None, None),
        ("futex", (0, 137, 0, 0x1000), lambda: spec(now(1) + 600), about(600, abs=60), None),
        ("futex", (0, 137 | 256, 0, 0x1000), lambda: spec(now(0) + 600), about(600, abs=60), None),
        ("futex", (0, 6, 0, 0x1000), lambda: spec(now(0) + 600), about(600, abs=60), None),
        ("futex", (0, 99, 0, 0), b"", 0.0, None),
        ("futex_waitv", (0, 1, 0, 0x1000, 1), lambda: spec(now(1) + 600), about(600, abs=60), None),
        ("futex_wait", (0, 0, 0, 0, 0, 1), b"", None, None),
        ("pause", (), b"", None, None),
    ],
)
def test_timeouts(monkeypatch, name, arguments, data, timeout_s, period_s):
    # Absolute times are made when the test runs, not when it is collected.
    wait = Memory(monkeypatch, data() if callable(data) else data).read(name, *arguments)
    assert (wait.call, wait.timeout_s, wait.period_s) == (name, timeout_s, period_s)


def test_a_relative_sleep_may_be_as_old_as_its_thread(monkeypatch):
    # The thread is this process's own, and a run of all tests lasts longer than a short sleep.
    assert Memory(monkeypatch, spec(1e6)).read("nanosleep", 0x1000, since_s=0.0).timeout_s == about(1e6, abs=9e5)
    long_ago = now(7) - 400
    monkeypatch.setattr("bento.kernel.process.calls.slurp", lambda _: b"1 (x) S " + b"0 " * 30)
    assert Memory(monkeypatch, spec(1000)).read("nanosleep", 0x1000, since_s=long_ago).timeout_s == about(600)
    assert Memory(monkeypatch, spec(100)).read("nanosleep", 0x1000, since_s=long_ago).timeout_s == 0.0


def test_clocks_of_a_time_namespace_are_not_reckoned_with(monkeypatch):
    memory = Memory(monkeypatch, spec(now(1) + 600))
    monkeypatch.setattr("bento.kernel.process.calls.link", lambda path: path)
    assert memory.read("clock_nanosleep", 1, 1, 0x1000).timeout_s == 0.0


def test_awaited_children(monkeypatch):
    memory = Memory(monkeypatch, (0x4000).to_bytes(8, "little"))
    assert memory.read("wait4", 7).child == 4007
    assert memory.read("wait4", 8).child is None
    assert memory.read("wait4", 7).is_blocking
    assert not memory.read("wait4", 7, 0, 1).is_blocking
    assert memory.read("waitid", 1, 7, 0, 4).child == 4007
    assert memory.read("waitid", 0, 0, 0, 4).child == 0
    assert not memory.read("waitid", 0, 0, 0, 5).is_blocking
    assert memory.read("waitid", 3, 9999).child is None
    assert memory.read("pause").child is None


@pytest.mark.parametrize(
    ("name", "first", "wchan", "call"),
    [
        ("vfork", 0, "kernel_clone", "vfork"),
        ("clone", 0x4111, "wait_for_vfork_done", "vfork"),
        ("clone", 0x111, "kernel_clone", "clone"),
        ("clone3", 0x1000, "kernel_clone", "vfork"),
        ("clone3", 0x2000, "kernel_clone", "clone3"),
        ("vfork", 0, "io_schedule", "vfork (beginning)"),
    ],
)
def test_a_wait_for_a_vfork_is_told_from_its_making(monkeypatch, name, first, wchan, call):
    memory = Memory(monkeypatch, (0x4000).to_bytes(8, "little"), wchan=wchan)
    assert memory.read(name, first, state="D").call == call


def test_descriptors_of_calls(monkeypatch):
    reader, writer = os.pipe()
    try:
        inside = Descriptor("pipe", is_inside=True, is_own=True)
        pollfd = b"".join(fd.to_bytes(4, "little", signed=True) + bytes(4) for fd in (reader, -1))
        memory = Memory(monkeypatch, pollfd)
        assert memory.read("read", reader).fds == (inside,)
        assert memory.read("splice", reader, 0, writer).fds == (inside, inside)
        assert memory.read("poll", 0x1000, 2, 0).fds == (inside,)
        assert memory.read("poll", 0x1000, 3, 0).fds == (Descriptor("unknown"),)  # not to be read
        assert memory.read("poll", 0x1000, 65, 0).fds == (Descriptor("unknown"),)  # too many
        assert memory.read("poll", 0, 0, 0).fds == ()
        assert memory.read("read", 9999).fds == (Descriptor("unknown"),)
        bits = (1 << reader | 1 << writer).to_bytes(128, "little")
        memory = Memory(monkeypatch, bits)
        assert memory.read("select", max(reader, writer) + 1, 0x1000, 0, 0x1000).fds == (inside, inside)
        assert memory.read("select", min(reader, writer) + 1, 0x1000).fds == (inside,)
        assert memory.read("pselect6", 64, 0x5000).fds == (Descriptor("unknown"),)
        assert Memory(monkeypatch, b"\xff" * 128).read("select", 1024, 0x1000).fds == (Descriptor("unknown"),)
    finally:
        os.close(reader)
        os.close(writer)


ASYNC = """
import fcntl, os, signal, socket, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
one, other = socket.socketpair()
fcntl.fcntl(one, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(one, fcntl.F_SETFL, int(sys.argv[1]))
print(flush=True)
signal.sigwait([signal.SIGIO])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the waits of others are read by root alone")
@pytest.mark.parametrize("flags", [0, os.O_ASYNC])
def test_s14_a_descriptor_may_send_a_signal_to_what_waits_for_one(flags):
    with subprocess.Popen([sys.executable, "-c", ASYNC, str(flags)], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            deadline_s = time.monotonic() + 10.0
            found = None
            while found is None or found.threads[0].call != "rt_sigtimedwait":
                assert time.monotonic() < deadline_s
                found = threads.examine([child.pid], outsiders=[]).get(child.pid)
            assert (found.alarm_s == 0.0) is bool(flags)
        finally:
            child.kill()


MAPS = b"""55d0c0a00000-55d0c0a21000 rw-p 00000000 00:00 0                          [heap]
7f52520ad000-7f52520ae000 rw-s 00000000 00:01 13314                      /memfd:x (deleted)
7f52520af000-7f52520b0000 rw-s 00000000 00:01 13313                      /dev/zero (deleted)
7f52520b0000-7f52520b1000 rw-s 00000000 fe:00 2146305                    /d/a file
7f5252685000-7f5252686000 rw-s 00000000 00:30 2                          /dev/shm/x
7f5252686000-7f5252687000 rw-s 00000000 00:28 15343628                   /root-f
7f5252687000-7f5252688000 r--p 00000000 fe:00 2146305                    /d/a file
"""
INSIDE = b"""92 68 0:40 / / rw - overlay overlay rw
97 92 254:0 /d /d rw - ext4 /dev/vda rw
100 94 0:48 / /dev/shm rw - tmpfs shm rw
101 94 0:49 / /t rw - tmpfs tmpfs rw
"""
HOST = b"""20 1 254:0 / / rw - ext4 /dev/vda rw
21 20 0:49 / /tmp rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("address", "is_outside"),
    [
        (0x55D0C0A00040, False),
        (0x7F52520AD000, True),  # memfd_create(2)
        (0x7F52520AF000, False),  # MAP_SHARED | MAP_ANONYMOUS
        (0x7F52520B0FFF, True),  # a file of the host's disk
        (0x7F5252685000, False),  # the container's own /dev/shm
        (0x7F5252686000, False),  # its root
        (0x7F5252687000, False),  # a copy of its own
        (0x7F5252689000, True),  # not known
    ],
)
def test_s14_which_memory_others_may_have(monkeypatch, address, is_outside):
    texts = {"/t/maps": MAPS, "/t/mountinfo": INSIDE, "/proc/thread-self/mountinfo": HOST}
    monkeypatch.setattr("bento.kernel.process.mappings.slurp", texts.get)
    assert Mappings().reach_outside("/t", address) is is_outside


def test_s14_a_filesystem_that_the_host_has_too_is_not_the_containers(monkeypatch):
    texts = {"/t/maps": MAPS, "/t/mountinfo": INSIDE, "/proc/thread-self/mountinfo": INSIDE}
    monkeypatch.setattr("bento.kernel.process.mappings.slurp", texts.get)
    assert Mappings().reach_outside("/t", 0x7F5252685000)


@pytest.mark.parametrize(
    ("name", "arguments", "is_outside"),
    [
        ("futex", (0x1000, 0 | 128), False),
        ("futex", (0x1000, 9 | 256), True),
        ("futex_wait", (0x1000, 0, 0, 2 | 128), False),
        ("futex_wait", (0x1000, 0, 0, 2), True),
        ("futex_waitv", (0x1000, 1), False),
        ("futex_waitv", (0x1000, 2), True),
        ("futex_waitv", (0x1000, 3), True),  # not to be read
        ("futex_waitv", (0x1000, 0), True),
        ("futex_waitv", (0x1000, 65), True),  # too many
    ],
)
def test_s14_a_futex_without_the_private_flag_may_be_others_too(monkeypatch, name, arguments, is_outside):
    waiters = b"".join(bytes(8) + (1 << 62).to_bytes(8, "little") + bytes([flags]) + bytes(7) for flags in (2 | 128, 2))
    memory = Memory(monkeypatch, waiters)
    memory.reader._mappings.reach_outside = lambda task, address: True  # type: ignore[method-assign]
    assert memory.read(name, *arguments).fds == ((Descriptor("memory"),) if is_outside else ())

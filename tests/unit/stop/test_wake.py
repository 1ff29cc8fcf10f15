"""What can wake before the deadline (S14): every kind of wait, and the doubts, which always mean that it may."""

from __future__ import annotations

import msgspec
import pytest

from bento.model.waits import Descriptor, Evidence, ThreadWait
from bento.stop.process import Disposition, Process
from bento.stop.rules.wake import NEVER, Wake, container_wake, follows_files, is_at_rest, process_wake

LISTEN, SOCKET = Descriptor("listen"), Descriptor("socket")
PIPE, OUTER_PIPE = Descriptor("pipe", is_inside=True), Descriptor("pipe")


def process(*argv: str, pid: int = 12, comm: str = "job") -> Process:
    return Process(pid=pid, start_ticks=1, ppid=1, comm=comm, argv=argv or (comm,), disposition=Disposition.DROPPED)


def thread(call: str = "futex", *fds: Descriptor, state: str = "S", **more) -> ThreadWait:
    return ThreadWait(tid=12, state=state, call=call, fds=fds, **more)


def wake(*threads: ThreadWait, **more) -> Wake:
    return process_wake(process(), Evidence(threads=threads, **more))


@pytest.mark.parametrize(
    ("waiting", "in_s", "words"),
    [
        # Only from inside.
        (thread("wait4"), NEVER, "waits for a child"),
        (thread("waitid", child=13), NEVER, "waits for a child"),
        (thread("vfork", state="D"), NEVER, "waits for a child"),
        (thread("futex"), NEVER, "waits for another thread"),
        (thread("futex_waitv"), NEVER, "waits for another thread"),
        (thread("pause"), NEVER, "waits for a signal"),
        (thread("rt_sigsuspend"), NEVER, "waits for a signal"),
        (thread("rt_sigtimedwait"), NEVER, "waits for a signal"),
        (thread("read", PIPE), NEVER, "reads from a pipe"),
        (thread("write", PIPE), NEVER, "writes to a pipe"),
        (thread("splice", PIPE, PIPE), NEVER, "copies between a pipe"),
        (thread("read", Descriptor("signalfd")), NEVER, "reads from a signalfd"),
        (thread("read", Descriptor("eventfd", is_inside=True)), NEVER, "reads from an eventfd"),
        (thread("read", Descriptor("timerfd")), NEVER, "reads from a timer"),
        (thread("poll"), NEVER, "polls"),
        (thread("epoll_wait", PIPE, Descriptor("pidfd", is_inside=True)), NEVER, "polls"),
        (thread(state="T", call=""), NEVER, "is stopped"),
        (thread(state="t", call="", is_held=True), NEVER, "is held"),
        # At a moment.
        (thread("nanosleep", timeout_s=3.0), 3.0, "sleeps, for 3.0 s more at least"),
        (thread("clock_nanosleep", timeout_s=0.0), 0.0, "sleeps, for how long is not known"),
        (thread("futex", timeout_s=4.0), 4.0, "waits for another thread, for 4.0 s more at least"),
        (thread("rt_sigtimedwait", timeout_s=5.0), 5.0, "waits for a signal, for 5.0 s more at least"),
        (thread("poll", PIPE, timeout_s=6.0), 6.0, "polls, for 6.0 s more at least"),
        (thread("epoll_pwait", Descriptor("timerfd", wakes_in_s=7.0), timeout_s=9.0), 7.0, "polls a timer, for 7.0"),
        # It may.
        (thread("nanosleep"), 0.0, "sleeps"),
        (thread("", state="R"), 0.0, "runs"),
        (thread("", state="S"), 0.0, "runs"),
        (thread("read", PIPE, state="D"), 0.0, "waits for the disk or a device"),
        (thread("wait4", is_blocking=False), 0.0, "runs"),
        (thread("", state="t"), 0.0, "is stopped by its tracer"),
        (thread("flock"), 0.0, "waits for a lock"),
        (thread("fcntl"), 0.0, "waits for a lock"),
        (thread("syscall 999"), 0.0, "is in syscall 999"),
        (thread("read"), 0.0, "is in read"),
        (thread("poll", PIPE, SOCKET), 0.0, "polls a socket"),
        (thread("select", LISTEN, timeout_s=60.0), 0.0, "polls a listening socket"),
        (thread("recvfrom", SOCKET), 0.0, "receives from a socket"),
        (thread("sendto", SOCKET), 0.0, "sends to a socket"),
        (thread("connect", SOCKET), 0.0, "connects a socket"),
        (thread("accept4", LISTEN), 0.0, "accepts on a listening socket"),
        (thread("read", OUTER_PIPE), 0.0, "reads from a pipe from outside"),
        (thread("read", Descriptor("fifo")), 0.0, "reads from a named pipe"),
        (thread("read", Descriptor("tty")), 0.0, "reads from a terminal"),
        (thread("read", Descriptor("file")), 0.0, "reads from a file"),
        (thread("poll", Descriptor("inotify")), 0.0, "polls an inotify"),
        (thread("poll", Descriptor("epoll")), 0.0, "polls an epoll that holds others"),
        (thread("poll", Descriptor("eventfd")), 0.0, "polls an eventfd from outside"),
        (thread("poll", Descriptor("pidfd")), 0.0, "polls a pidfd from outside"),
        (thread("epoll_wait", Descriptor("unknown")), 0.0, "polls what is not known"),
    ],
)
def test_s14_each_wait_has_its_moment(waiting, in_s, words):
    found = wake(waiting)
    assert found.in_s == in_s
    assert found.reason.startswith(f"job (12) {words}")
    assert found.is_never == (in_s == NEVER)


def test_s14_the_first_thread_to_wake_counts():
    assert wake(thread("futex"), thread("nanosleep", timeout_s=8.0), thread("poll", timeout_s=9.0)).in_s == 8.0


def test_s14_a_process_without_a_thread_that_was_read_may_wake():
    assert wake() == Wake(0.0, "job (12) could not be read")


def test_s14_what_waits_in_memory_that_others_may_have_may_wake_at_any_time():
    shared = thread("futex", Descriptor("memory"), timeout_s=600.0)
    words = "job (12) waits for another process, by memory that it may share with the host"
    assert wake(shared) == Wake(0.0, words)
    assert not rest(thread("accept", LISTEN), shared)[0]


def test_s14_a_timer_ends_any_wait_by_its_signal():
    assert wake(thread("pause"), alarm_s=5.0) == Wake(
        5.0, "job (12) may get the signal of a timer, for 5.0 s more at least"
    )
    assert wake(thread("nanosleep", timeout_s=3.0), alarm_s=5.0).in_s == 3.0
    assert wake(thread(state="T"), alarm_s=5.0).is_never  # pending until SIGCONT
    assert wake(thread(state="t", is_held=True), thread("pause"), alarm_s=5.0).in_s == 5.0


def test_s14_a_container_wakes_with_its_first_process():
    idle = Evidence(threads=(thread("wait4"),))
    batch = Evidence(threads=(thread("nanosleep", timeout_s=2.0),))
    assert container_wake([]) == Wake(NEVER, "nothing in it can wake by itself")
    assert container_wake([(process(), idle)]).is_never
    found = container_wake([(process(), idle), (process(pid=13, comm="sleep"), batch)])
    assert found == Wake(2.0, "sleep (13) sleeps, for 2.0 s more at least")
    assert container_wake([(process(), batch), (process(pid=14), None)]) == Wake(0.0, "job (14) could not be read")


@pytest.mark.parametrize(
    ("line", "follows"),
    [
        ("tail -f log", True),
        ("/usr/bin/tail -F log", True),
        ("tail log --follow", True),
        ("tail --follow=name log", True),
        ("tail --fol log", True),
        ("tail -n 10 -f log", True),
        ("tail -n10 -qf log", True),
        ("tail -qf log", True),
        ("tail --lines 3 -f log", True),
        ("tail --lines=3 --retry -f log", True),
        ("tail -20f log", True),
        ("tail -f", True),
        ("busybox tail -f log", True),
        ("/bin/toybox tail -f log", True),
        ("tail log", False),
        ("tail -n 10 log", False),
        ("tail -n f log", False),
        ("tail -nf log", False),
        ("tail -qn -f log", False),
        ("tail --pid -f log", False),
        ("tail -20 log", False),
        ("tail -qv log", False),
        ("tail - log", False),
        ("tail -- -f", False),
        ("tail --quiet log", False),
        ("busybox sh tail -f", False),
        ("busybox", False),
        ("grep -f words", False),
        ("", False),
    ],
)
def test_s14_tail_is_known_by_name(line, follows):
    assert follows_files(tuple(line.split())) == follows


def test_s14_a_follower_never_wakes_whatever_it_is_in():
    found = process_wake(process("tail", "-f", "log", comm="tail"), Evidence(threads=(thread("", state="R"),)))
    assert found == Wake(NEVER, "tail (12) follows files")


def test_s14_a_follower_that_feeds_another_program_is_judged_by_what_it_waits_for():
    evidence = Evidence(threads=(thread("nanosleep", timeout_s=1.0),), feeds=True)
    assert process_wake(process("tail", "-f", "log", comm="tail"), evidence).in_s == 1.0


def rest(*threads: ThreadWait, listening: int = 1, connected: int = 0, alarm_s: float | None = None):
    evidence = Evidence(threads=threads, listening=listening, connected=connected, alarm_s=alarm_s)
    return is_at_rest(process(), evidence, within_s=10.0)


@pytest.mark.parametrize(
    "waiting",
    [
        thread("accept", LISTEN),
        thread("poll", LISTEN, timeout_s=0.0, period_s=0.5),
        thread("select", LISTEN, PIPE, timeout_s=0.0, period_s=1.0),
        thread("epoll_wait", LISTEN, PIPE, Descriptor("eventfd", is_inside=True), timeout_s=28.0, period_s=30.0),
        thread("epoll_wait", LISTEN, SOCKET, Descriptor("timerfd", wakes_in_s=11.0)),
    ],
)
def test_s14_a_listener_at_rest(waiting):
    assert rest(waiting) == (True, "job (12) listens, and nothing is connected to it")
    assert rest(waiting, thread("futex"), thread("nanosleep", timeout_s=10.0))[0]
    assert rest(waiting, alarm_s=10.0)[0]


@pytest.mark.parametrize(
    ("waiting", "words"),
    [
        # A metrics port beside a batch that sleeps, in a thread of its own or in one loop.
        (thread("nanosleep", timeout_s=2.0), "sleeps, for 2.0 s"),
        (thread("futex", timeout_s=2.0), "waits for another thread, for 2.0 s"),
        (thread("epoll_wait", LISTEN, timeout_s=2.0, period_s=2.0), "polls a listening socket"),
        (thread("poll", LISTEN, timeout_s=0.0), "polls, for how long is not known"),
        (thread("epoll_wait", LISTEN, Descriptor("timerfd", wakes_in_s=2.0)), "polls a listening socket"),
        (thread("epoll_wait", LISTEN, OUTER_PIPE), "polls a listening socket"),
        (thread("poll", SOCKET), "polls a socket"),
        (thread("read", LISTEN), "reads from a listening socket"),
        (thread("accept", LISTEN, state="D"), "waits for the disk"),
        (thread("flock"), "waits for a lock"),
        (thread("", state="R"), "runs"),
    ],
)
def test_s14_a_listener_that_is_not_at_rest(waiting, words):
    is_idle, why = rest(thread("accept", LISTEN), waiting)
    assert not is_idle
    assert why.startswith(f"job (12) {words}")


def test_s14_what_does_not_listen_or_has_a_connection_is_not_at_rest():
    accepts = thread("accept", LISTEN)
    assert rest(accepts, listening=0) == (False, "job (12) does not listen")
    assert rest(accepts, connected=1) == (False, "job (12) has 1 socket that may be connected")
    assert rest(accepts, connected=2) == (False, "job (12) has 2 sockets that may be connected")
    assert rest(accepts, alarm_s=3.0)[1] == "job (12) may get the signal of a timer, for 3.0 s more at least"
    assert not rest()[0]


def test_records_go_through_json():
    evidence = Evidence(threads=(thread("poll", PIPE, Descriptor("timerfd", wakes_in_s=1.5), child=3),), alarm_s=2.0)
    assert msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence) == evidence
    never = Wake(NEVER, "why")
    assert msgspec.json.decode(msgspec.json.encode(never), type=Wake) == never

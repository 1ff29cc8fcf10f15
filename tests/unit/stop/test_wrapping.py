"""Rule S13.2: the way down from PID 1 through what only waits, from the waits alone."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.model.waits import Descriptor, Evidence, ThreadWait
from bento.stop.rules.tree import Tree
from bento.stop.rules.wrapping import (
    find_way,
    is_passive,
    not_held_above,
    rest,
    waits_for,
    waits_for_jobs,
    waits_on_the_way,
)

from support.looks import (
    BLOCKED,
    DEFAULT,
    DROPPED,
    HANDLED,
    IGNORED,
    UNKNOWN,
    WAITING,
    pauses,
    polls,
    proc,
    runs,
    serves,
    sleeps,
    thread,
    waits,
)

LEFT_S = 10.0
SHELL = proc(1, DROPPED, "sh", evidence=waits())


def way(*processes):
    return find_way(Tree(processes), processes[0], LEFT_S)


@pytest.mark.parametrize(
    ("evidence", "children"),
    [
        (waits(), [2, 3]),
        (waits(3), [3]),
        (waits(99), [2, 3]),  # one that is not known
        (waits(None), [2, 3]),
        (thread("waitid", child=2), [2]),
        (thread("wait4", child=0, is_blocking=False), []),
        (runs(), []),
        (None, []),
        (pauses(), []),
        (thread("read", fds=(Descriptor("pipe", True),)), [2, 3]),  # $(...), backticks, check_output
        (thread("epoll_wait", fds=(Descriptor("pidfd", True), Descriptor("signalfd"))), [2, 3]),
        (thread("read", fds=(Descriptor("pipe"),)), []),  # from outside
        (thread("read", fds=(Descriptor("pipe", True, is_own=True),)), []),  # what its own handlers write to
        (Evidence(threads=(ThreadWait(tid=1, state="S", call="wait4", child=2), ThreadWait(tid=2, state="R"))), []),
    ],
)
def test_s13_a_wrapper_waits_for_a_child_and_nothing_else_in_it_can_wake(evidence, children):
    main = proc(1, DROPPED, evidence=evidence)
    tree = Tree([main, proc(2, DEFAULT, under=1), proc(3, DEFAULT, under=1)])
    assert [child.pid for child in waits_for(tree, main)] == children


def test_s13_the_way_leads_through_wrappers_to_what_they_wait_for():
    inner, web = proc(2, DEFAULT, under=1, evidence=waits(3)), proc(3, HANDLED, under=2, evidence=serves())
    found = way(SHELL, inner, web)
    assert (found.wrappers, found.ends, found.is_open) == ((SHELL, inner), (web,), True)


@pytest.mark.parametrize(
    ("end", "is_open"),
    [
        (proc(2, HANDLED, under=1, evidence=serves(connected=1)), True),
        (proc(2, HANDLED, under=1, evidence=sleeps(3.0)), True),
        (proc(2, HANDLED, "gzip", under=1, evidence=runs()), False),  # a filter, without a socket
        (proc(2, HANDLED, "gzip", under=1, evidence=thread("read", fds=(Descriptor("pipe"),))), False),
        (proc(2, HANDLED, "cat", under=1, evidence=thread("read", fds=(Descriptor("pipe", True),))), True),
        (proc(2, HANDLED, "web", under=1, evidence=replace(runs(), listening=1)), True),
        (proc(2, HANDLED, "node", under=1, evidence=sleeps(3.0)), False),  # it has a handler whatever it does
        (proc(2, HANDLED, "node", under=1, evidence=serves(connected=1)), True),
        (proc(2, HANDLED, "ruby3.1", under=1, evidence=sleeps(3.0)), False),
        (proc(2, HANDLED, "restic", under=1, evidence=sleeps(3.0), catches_all=True), False),  # Go
        (proc(2, HANDLED, "web", under=1, evidence=serves(), catches_all=True), True),
        (proc(2, UNKNOWN, under=1, evidence=sleeps(3.0)), False),  # traced
        (proc(2, UNKNOWN, under=1, evidence=serves()), False),
        (proc(2, UNKNOWN, under=1, evidence=sleeps()), True),
        (proc(2, HANDLED, under=1, evidence=replace(sleeps(3.0), unreaped=True)), False),  # it has not seen it yet
        (proc(2, HANDLED, under=1, evidence=replace(serves(), unreaped=True)), True),
        (proc(2, HANDLED, "pg_dump", under=1, evidence=polls("socket")), False),
        (proc(2, HANDLED, "rsync", under=1, evidence=thread("read", fds=(Descriptor("socket", True),))), False),
        (proc(2, HANDLED, "java", under=1, evidence=pauses()), True),
        (proc(2, DEFAULT, under=1, evidence=sleeps()), True),
        (proc(2, DEFAULT, under=1, evidence=sleeps(3.0)), False),
        (proc(2, DEFAULT, under=1, evidence=runs()), False),
        (proc(2, IGNORED, under=1, evidence=pauses()), True),
        (proc(2, DEFAULT, under=1), False),
    ],
)
def test_s00_the_way_is_closed_where_its_end_is_at_work(end, is_open):
    assert way(SHELL, end).is_open is is_open


def test_s13_pid_1_may_just_sleep_but_to_ignore_the_signal_is_another_matter():
    web = proc(2, HANDLED, under=1, evidence=serves())
    assert way(proc(1, DROPPED, evidence=pauses()), web).ends == ()
    assert way(proc(1, DROPPED, evidence=sleeps(3.0)), web) is None
    assert way(proc(1, IGNORED, evidence=pauses()), web) is None
    assert way(proc(1, IGNORED, evidence=waits()), web).ends == (web,)
    assert way(proc(1, DROPPED), web) is None


def test_s00_what_the_end_waits_for_is_asked_too_at_any_depth():
    su, sh = proc(2, HANDLED, "su", under=1, evidence=waits(3)), proc(3, DEFAULT, under=2, evidence=waits(4))
    for evidence, is_open in ((runs(), False), (sleeps(), True)):
        assert way(SHELL, su, sh, proc(4, DEFAULT, under=3, evidence=evidence)).is_open is is_open


TICKS = thread("rt_sigtimedwait", timeout_s=0.4, period_s=1.0)
SCRIPT = proc(2, BLOCKED, "script", under=1, evidence=thread("ppoll", fds=(Descriptor("signalfd"), Descriptor("tty"))))


@pytest.mark.parametrize(
    "forwarder",
    [
        proc(2, WAITING, "tini", under=1, evidence=TICKS),
        proc(2, WAITING, "agent", under=1, evidence=replace(TICKS, connected=1)),
        SCRIPT,
    ],
)
@pytest.mark.parametrize(
    ("below", "is_open"),
    [
        (proc(4, DEFAULT, "dump", under=3, evidence=runs()), False),
        (proc(4, DEFAULT, "dump", under=3, evidence=sleeps(0.1)), False),
        (proc(4, HANDLED, "gzip", under=3, evidence=runs()), False),  # it gives up, and mv follows
        (proc(4, UNKNOWN, "dump", under=3, evidence=sleeps(0.1)), False),  # traced
        (proc(4, DEFAULT, "sleep", under=3, evidence=sleeps()), True),
        (proc(4, HANDLED, "web", under=3, evidence=serves(connected=1)), True),
    ],
)
def test_s00_what_wakes_up_by_itself_may_pass_the_signal_on_as_well(forwarder, below, is_open):
    sh = proc(3, DEFAULT, "sh", under=2, evidence=waits(4))
    assert way(SHELL, forwarder, sh, below).is_open is is_open
    assert way(SHELL, forwarder, replace(below, ppid=2)).is_open is is_open


def test_s00_a_server_ends_its_workers_in_its_own_way():
    master = proc(2, HANDLED, "web", under=1, evidence=serves())
    worker = proc(3, DEFAULT, "web", under=2, evidence=runs())
    assert way(SHELL, master, worker).is_open
    assert not way(SHELL, replace(master, evidence=polls("socket")), worker).is_open
    assert not way(SHELL, replace(master, evidence=None), worker).is_open


def test_s00_a_filter_that_is_fed_by_a_job_in_the_background_is_a_part_of_it():
    pipe = thread("read", fds=(Descriptor("pipe", True),))
    feed, gzip = proc(2, DEFAULT, under=1, evidence=sleeps(0.1)), proc(3, HANDLED, "gzip", under=1, evidence=pipe)
    shell = proc(1, DROPPED, "sh", evidence=waits(3))
    assert not way(shell, feed, gzip).is_open
    assert way(shell, replace(feed, disposition=HANDLED), gzip).is_open
    assert way(shell, replace(feed, evidence=sleeps()), gzip).is_open
    own = thread("read", fds=(Descriptor("pipe", True, is_own=True),))  # a service waits for its handler
    assert way(shell, feed, replace(gzip, evidence=own)).is_open


def test_s00_a_timer_after_the_deadline_does_not_make_a_wrapper_one_that_just_sleeps():
    shell = replace(SHELL, evidence=replace(waits(), alarm_s=LEFT_S + 1.0))
    web, job = proc(2, HANDLED, under=1, evidence=serves()), proc(3, DEFAULT, under=1, evidence=runs())
    assert not way(shell, web, job).is_open
    assert way(shell, web).ends == (web,)
    assert way(replace(shell, evidence=replace(waits(), alarm_s=1.0)), web) is None
    own = thread("read", fds=(Descriptor("pipe", True, is_own=True),))  # nor a service at rest a filter
    assert way(SHELL, replace(web, evidence=replace(own, alarm_s=1.0))).is_open


def test_a_tree_that_goes_on_for_ever_is_not_followed_for_ever():
    chain = [SHELL, *(proc(n, DEFAULT, under=n - 1, start_ticks=n, evidence=waits()) for n in range(2, 200))]
    assert len(way(*chain).wrappers) <= 65
    receives = [replace(chain[1], disposition=HANDLED), *chain[2:]]
    assert way(SHELL, *receives).is_open


def test_s00_what_stands_above_goes_on_unless_it_is_held_or_receives_the_signal():
    inner, trap = proc(2, DEFAULT, under=1, evidence=waits(3)), proc(3, HANDLED, under=2, evidence=waits(4))
    web = proc(4, HANDLED, under=3)
    tree = Tree([SHELL, inner, trap, web])
    assert not_held_above(tree, web, frozenset()) == [inner, SHELL]
    assert not_held_above(tree, web, frozenset({SHELL.key})) == [inner]
    assert waits_on_the_way(tree, inner, web)
    assert not waits_on_the_way(tree, proc(2, DEFAULT, under=1, evidence=runs()), web)
    assert list(rest((SHELL, inner), frozenset({inner.key}))) == [SHELL]


def test_s14_passive_is_what_cannot_wake_before_the_deadline():
    assert is_passive(proc(1, DROPPED, evidence=sleeps(11.0)), LEFT_S)
    assert not is_passive(proc(1, DROPPED, evidence=sleeps(9.0)), LEFT_S)
    assert not is_passive(proc(1, DROPPED, evidence=sleeps(9.0)), float("inf"))
    assert is_passive(proc(1, DROPPED, evidence=pauses()), float("inf"))


OWN, NULL = "/dev/null rw 94", "/dev/null r 94"


def stdin(evidence: Evidence, text: str) -> Evidence:
    return replace(evidence, stdin=text)


@pytest.mark.parametrize(
    ("own", "job", "awaited"),
    [
        (OWN, NULL, [3]),  # started with &
        ("pipe:[7] r 12", NULL, [3]),
        (OWN, "pipe:[9] r 12", [2, 3]),  # maybe a later part of the pipeline in the foreground
        (NULL, NULL, [2, 3]),  # nothing tells the foreground from the background
        ("", NULL, [2, 3]),
    ],
)
def test_s13_of_what_a_shell_has_started_it_waits_for_the_program_in_its_foreground(own, job, awaited):
    shell = proc(1, DROPPED, "sh", evidence=stdin(waits(), own))
    dump = proc(2, DEFAULT, under=1, evidence=stdin(runs(), job))
    web = proc(3, HANDLED, under=1, evidence=stdin(serves(), own))
    assert [one.pid for one in waits_for(Tree([shell, dump, web]), shell)] == awaited


def test_s13_without_a_program_in_the_foreground_every_child_is_waited_for():
    shell = proc(1, DROPPED, "bash", evidence=stdin(waits(), OWN))
    jobs = [proc(pid, HANDLED, under=1, evidence=stdin(serves(), NULL)) for pid in (2, 3)]
    assert waits_for(Tree([shell, *jobs]), shell) == jobs


def test_s00_a_shell_that_waits_by_sigchld_waits_for_its_children():
    """`dump >tmp & P=$!; server & wait $P; mv tmp good`: dash sleeps in sigsuspend, and would go on to the mv."""
    dump, web = proc(2, DEFAULT, under=1, evidence=runs()), proc(3, HANDLED, under=1, evidence=serves())
    assert way(proc(1, DROPPED, "sh", sees_children=True, evidence=thread("rt_sigsuspend")), dump, web).is_open is False
    assert way(proc(1, DROPPED, evidence=thread("pause")), dump, web).is_open is True


@pytest.mark.parametrize(
    ("shell", "job", "is_in_wait"),
    [
        (stdin(waits(), OWN), stdin(serves(), NULL), True),  # started with &
        (stdin(waits(), OWN), stdin(serves(), OWN), False),  # in the foreground
        (stdin(waits(), NULL), stdin(serves(), NULL), False),  # that tells nothing
        (waits(), serves(), False),
        (thread("rt_sigsuspend"), serves(), True),  # dash
        (None, serves(), False),
    ],
)
def test_s13_a_shell_is_in_its_wait_builtin_when_all_it_has_started_is_in_the_background(shell, job, is_in_wait):
    found = proc(1, HANDLED, "sh", evidence=shell)
    assert waits_for_jobs(Tree([found, proc(2, HANDLED, under=1, evidence=job)]), found) is is_in_wait

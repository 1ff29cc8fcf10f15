"""Rule S13.3: a shell that has only noted the signal runs its trap when its foreground child ends."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.model.stop import Occasion
from bento.stop.actions import Look, SendSignal, WatchInit
from bento.stop.inputs import SignalNoted, Traced

from support.looks import DEFAULT, HANDLED, IGNORED, WAITING, Stop, polls, proc, runs, serves, sleeps, waits

SHELL = proc(1, HANDLED, "bash", evidence=waits(2))


def noted(*others, is_only_noted=True, shell=SHELL) -> Stop:
    """A stop whose tracer has seen the shell go straight back to its wait."""
    stop = Stop()
    stop.look(shell, *others)
    assert isinstance(stop.actions[0], WatchInit)
    assert shell.key in stop.actions[0].noting
    stop.give(Traced())
    stop.give(SignalNoted(shell.key, is_only_noted))
    return stop


@pytest.mark.parametrize(
    ("child", "is_signalled"),
    [
        (proc(2, DEFAULT, "sleep", under=1, evidence=sleeps()), True),
        (proc(2, DEFAULT, "tail", under=1, argv=("tail", "-f", "x"), evidence=runs()), True),
        (proc(2, HANDLED, "web", under=1, evidence=serves(connected=3)), True),
        (proc(2, DEFAULT, "sleep", under=1, evidence=sleeps(3.0)), False),  # it ends by itself
        (proc(2, DEFAULT, "dump", under=1, evidence=runs()), False),
        (proc(2, HANDLED, "dump", under=1, evidence=runs()), False),
        (proc(2, IGNORED, "web", under=1, evidence=serves()), False),
        (proc(2, DEFAULT, "odd", under=1), False),
    ],
)
def test_s13_the_foreground_child_is_signalled_where_that_costs_nothing(child, is_signalled):
    stop = noted(child)
    assert stop.look(SHELL, child) == ([2] if is_signalled else [])
    assert [one.occasion for one in stop.state.signalled[1:]] == [Occasion.FOREGROUND] * is_signalled
    assert stop.look_until(5.0, SHELL, child) == []


@pytest.mark.parametrize(("is_ended", "is_signalled"), [(True, True), (False, False)])
def test_s13_a_timer_that_may_be_another_containers_keeps_no_trap_waiting(is_ended, is_signalled):
    """Of all timers of the machine nothing shows whose they are. One that would only end the child is as good."""
    alarmed = {"alarm_s": 0.3, "is_ended_by_alarm": is_ended}
    child = proc(2, DEFAULT, "sleep", under=1, evidence=replace(sleeps(), **alarmed))
    shell = replace(SHELL, evidence=replace(waits(2), **alarmed))
    stop = noted(child, shell=shell)
    assert stop.look(shell, child) == ([2] if is_signalled else [])


def test_s00_a_job_beside_the_foreground_that_a_timer_may_let_go_on_is_left_to_its_work():
    sleep, script = proc(2, DEFAULT, "sleep", under=1, evidence=sleeps()), proc(3, DEFAULT, "sh", under=1)
    script = replace(script, evidence=waits(4))
    alarmed = replace(sleeps(), alarm_s=0.3, is_ended_by_alarm=True)
    below = proc(4, DEFAULT, "sleep", under=3, evidence=alarmed)
    stop = noted(sleep, script, below)
    assert stop.look(SHELL, sleep, script, below) == []


def test_s13_no_other_child_is_signalled_for_the_trap_may_signal_it():
    sleep, job = proc(2, DEFAULT, "sleep", under=1, evidence=sleeps()), proc(3, HANDLED, under=1, evidence=serves())
    stop = noted(sleep, job)
    assert stop.look(SHELL, sleep, job) == [2]
    assert stop.look_until(7.0, SHELL, job) == []


def test_s00_no_server_is_signalled_while_a_job_is_at_work_beside_it_for_the_trap_would_end_that():
    web, job = proc(2, HANDLED, "web", under=1, evidence=serves()), proc(3, DEFAULT, "dump", under=1, evidence=runs())
    stop = noted(web, job)
    assert stop.look_until(3.0, SHELL, web, job) == []
    worker = replace(job, ppid=2)  # what the server has started is its own
    assert noted(web, worker).look(SHELL, web, worker) == [2]


@pytest.mark.parametrize(
    ("manager", "switches", "is_signalled"), [("pm2", 8, False), ("pm2", 7, True), ("tini", 8, True)]
)
def test_s00_below_a_process_manager_a_server_that_has_run_may_have_been_signalled(manager, switches, is_signalled):
    main = proc(1, WAITING, manager, evidence=sleeps())
    shell = proc(2, HANDLED, "bash", under=1, evidence=waits(3))
    web = proc(3, HANDLED, "web", under=2, evidence=serves(connected=1), switches=7)
    stop = Stop()
    stop.look(main, shell, web)
    stop.give(Traced())
    stop.give(SignalNoted(shell.key, True))
    assert stop.look(main, shell, replace(web, switches=switches)) == [3] * is_signalled


def test_s13_of_any_child_the_youngest_is_the_foreground():
    shell = proc(1, HANDLED, "bash", evidence=waits())
    children = [proc(pid, DEFAULT, "sleep", under=1, start_ticks=pid, evidence=sleeps()) for pid in (2, 3)]
    stop = noted(*children, shell=shell)
    assert stop.look(shell, *children) == [3]


def test_s13_a_shell_in_its_trap_or_its_wait_builtin_is_left_alone():
    sleep = proc(2, DEFAULT, "sleep", under=1, evidence=sleeps())
    stop = noted(sleep, is_only_noted=False)
    assert stop.did()
    assert stop.look_until(5.0, SHELL, sleep) == []


def test_s13_one_that_has_gone_on_meanwhile_is_not_judged_again():
    sleep = proc(2, DEFAULT, "sleep", under=1, evidence=sleeps())
    stop = noted(sleep)
    assert stop.look(proc(1, HANDLED, "bash", evidence=runs())) == []
    assert stop.look(SHELL, sleep) == []
    assert stop.state.hold.noted == ()


def test_s13_a_look_without_evidence_is_followed_by_one_with_it():
    sleep = proc(2, DEFAULT, "sleep", under=1)
    stop = noted(proc(2, DEFAULT, "sleep", under=1, evidence=sleeps()))
    stop.look(proc(1, HANDLED, "bash"), sleep)
    assert stop.did(Look(examine=True))
    stop.look(proc(1, HANDLED, "bash"), proc(2, DEFAULT, "sleep", under=1, evidence=sleeps()))
    assert stop.state.hold.noted == (SHELL.key,)  # nothing could be read of it in this look


def test_s13_below_what_passes_the_signal_to_its_group_no_child_is_signalled():
    tini = proc(1, WAITING, "tini", kills_group=True, evidence=polls())
    shell = proc(2, HANDLED, "bash", under=1, evidence=waits(3))
    sleep = proc(3, DEFAULT, "sleep", under=2, evidence=sleeps())
    stop = Stop()
    stop.look(tini, shell, sleep)
    assert stop.did(WatchInit(True, noting=(shell.key,)))
    stop.give(Traced())
    stop.give(SignalNoted(shell.key, True))
    assert stop.look(tini, shell, sleep) == []
    assert not any(isinstance(action, SendSignal) for action in stop.actions)


def test_s00_a_waiter_is_left_alone_while_a_job_is_at_work_beside_it():
    """`trap 'exit' TERM; (dump; mv) & sleep 1000`: the trap would end the dump, which the plain stop lets work."""
    shell = proc(1, HANDLED, "bash", evidence=waits())
    sleep = proc(3, DEFAULT, "sleep", under=1, start_ticks=9, evidence=sleeps())
    for evidence, told in ((runs(), []), (sleeps(3.0), []), (sleeps(), [3])):
        job = proc(2, DEFAULT, "dump", under=1, evidence=evidence)
        assert noted(job, sleep, shell=shell).look(shell, job, sleep) == told

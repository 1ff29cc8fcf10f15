"""Rules S13.2 and S14: a PID 1 that does not receive the signal; wrappers are held, nothing at work is ended."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.model.stop import Occasion, OnDeaf, OnWrapper, StopRequest
from bento.model.waits import Descriptor
from bento.stop.actions import HoldBack, KillAll, KillInit, LetGo, Look
from bento.stop.inputs import (
    DeadlineMoved,
    HeldBack,
    InitGaveUp,
    MainExited,
    Resumed,
    SignalledExited,
    TimerFired,
    Traced,
    TracerLost,
)
from bento.stop.states import KillCause, Phase, Timer

from support.looks import (
    BLOCKED,
    DEFAULT,
    DROPPED,
    HANDLED,
    IGNORED,
    Stop,
    pauses,
    polls,
    proc,
    runs,
    serves,
    sleeps,
    thread,
    waits,
)

SHELL = proc(1, DROPPED, "sh", evidence=waits())
WEB = proc(2, HANDLED, "web", under=1, evidence=serves(connected=1))
SLEEP = proc(2, DEFAULT, "sleep", under=1, evidence=sleeps())
JOB = proc(2, DEFAULT, "dump", under=1, evidence=runs())


def shown(*processes, age_s: float = 100.0, **request) -> Stop:
    """Two looks at the same processes, far enough apart to decide."""
    stop = Stop(StopRequest(**request), age_s=age_s)
    stop.look(*[proc_without(one) for one in processes])
    assert stop.did(Look(examine=True))
    stop.look(*processes)
    stop.look(*processes, after_s=0.015)
    return stop


def proc_without(one):
    """The same in a look that reads no waits."""
    return type(one)(**{name: getattr(one, name) for name in one.__struct_fields__ if name != "evidence"})


def held(*processes, **request) -> Stop:
    """PID 1 and what else is asked for is held."""
    stop = shown(*processes, **request)
    (asked,) = [action for action in stop.actions if isinstance(action, HoldBack)]
    stop.give(HeldBack(asked.keys))
    return stop


def test_s13_a_wrapper_is_held_before_its_program_is_signalled_and_ended_after_it():
    stop = held(SHELL, WEB)
    assert stop.state.hold.held == {SHELL.key}
    assert [one.comm for one in stop.state.held] == ["sh"]
    assert stop.look(SHELL, WEB) == [2]
    assert stop.state.signalled[0].occasion is Occasion.PROGRAM
    assert stop.look_until(5.0, SHELL, WEB) == []
    stop.give(SignalledExited(2))
    stop.look(SHELL)
    stop.look(SHELL, after_s=0.013)
    assert stop.state.kill_cause is KillCause.WRAPPED
    assert stop.actions[1:] == (KillInit(),)
    # It is let go once PID 1 has ended, or all have SIGKILL: it would run before PID 1 has begun to end.
    assert stop.give(TimerFired(Timer.KILL_AGAIN), after_s=0.1) == (KillAll(), LetGo())
    assert stop.give(TimerFired(Timer.KILL_AGAIN), after_s=0.2) == (KillAll(),)


def test_s13_what_is_held_is_let_go_when_pid_1_has_ended():
    stop = held(SHELL, WEB)
    stop.look(SHELL, WEB)
    stop.give(SignalledExited(2))
    stop.look(SHELL)
    stop.look(SHELL, after_s=0.013)
    assert LetGo() not in stop.actions
    assert stop.give(MainExited())[0] == LetGo()


def test_s13_nested_wrappers_are_all_held():
    inner = proc(2, DEFAULT, "bash", under=1, evidence=waits(3))
    stop = held(SHELL, inner, proc(3, HANDLED, "web", under=2, evidence=serves()))
    assert stop.state.hold.held == {SHELL.key, inner.key}


def test_s00_when_one_of_them_cannot_be_held_nothing_below_is_signalled():
    inner, web = proc(2, DEFAULT, "bash", under=1, evidence=waits(3)), proc(3, HANDLED, under=2, evidence=serves())
    stop = shown(SHELL, inner, web)
    stop.give(HeldBack((SHELL.key,), (inner.key,), "no"))
    assert stop.look(SHELL, inner, web) == []
    assert LetGo() in stop.actions
    assert stop.look_until(7.0, SHELL, inner, web) == []
    assert stop.state.notes[0] == "could not be held: no"


def test_s13_a_step_of_a_loop_is_not_what_it_waits_for():
    young = proc(2, HANDLED, "step", under=1, evidence=runs(), age_s=0.1)
    stop = shown(SHELL, young)
    assert stop.did()
    assert stop.state.phase is Phase.GRACE


def test_s13_a_wrapper_that_has_run_in_between_is_looked_at_again():
    stop = shown(SHELL, WEB)
    stop = Stop()
    for switches in range(5):
        stop.look(proc(1, DROPPED, "sh", evidence=waits(), switches=switches), WEB, after_s=0.012)
        assert not any(isinstance(action, HoldBack) for action in stop.actions)


def test_s00_a_program_at_work_that_does_not_receive_the_signal_is_left_alone():
    stop = shown(SHELL, JOB)
    assert stop.look_until(9.9, SHELL, JOB) == []
    assert stop.state.phase is Phase.GRACE
    assert stop.state.held == ()


def test_s00_what_the_program_would_end_with_itself_is_asked_too():
    """``su`` passes the signal on to what it waits for."""
    su = proc(2, HANDLED, "su", under=1, evidence=waits(3))
    bash = proc(3, DEFAULT, "bash", under=2, evidence=waits(4))
    at_work, server = proc(4, DEFAULT, "dump", under=3, evidence=runs()), proc(4, HANDLED, under=3, evidence=serves())
    assert shown(SHELL, su, bash, at_work).state.phase is Phase.GRACE
    assert shown(SHELL, su, bash, at_work).look_until(9.9, SHELL, su, bash, at_work) == []
    assert any(isinstance(action, HoldBack) for action in shown(SHELL, su, bash, server).actions)


def test_s00_while_a_held_shell_has_a_job_at_work_it_is_not_ended():
    dump = proc(3, DEFAULT, "dump", under=1, evidence=runs())
    shell = proc(1, DROPPED, "sh", evidence=waits(2))
    stop = held(shell, WEB, dump)
    assert stop.look(shell, WEB, dump) == [2]
    assert stop.look_until(8.0, SHELL, dump) == []
    assert stop.look_until(8.5, SHELL, replace(dump, evidence=sleeps(0.5))) == []
    assert stop.state.phase is Phase.GRACE
    assert stop.state.notes == ("PID 1 is held until what it has started is at rest: dump (3) runs",)  # said once
    stop.look(SHELL)
    stop.look(SHELL, after_s=0.02)
    assert stop.state.kill_cause is KillCause.WRAPPED


def test_s13_others_follow_the_newest_first_each_with_its_share():
    main = proc(1, DROPPED, "sh", evidence=waits(2))
    others = [proc(pid, HANDLED, under=1, start_ticks=pid, evidence=serves()) for pid in (2, 3, 4)]
    stop = held(main, *others)
    assert stop.look(main, *others) == [2]  # what is waited for, first
    assert stop.look_until(2.0, main, *others) == []
    assert stop.look_until(9.9, main, *others) == [4, 3]
    stop = held(main, *others, grace_s=60.0)
    assert stop.look(main, *others) == [2]
    assert stop.look(main, *others[1:], after_s=0.3) == [4]
    assert stop.look(main, others[1], after_s=0.3) == [3]


def test_s00_a_shell_above_the_next_one_is_held_first_and_not_when_it_is_at_work():
    main, web = proc(1, DROPPED, "sh", evidence=waits(2)), WEB
    other = proc(4, HANDLED, under=3, evidence=serves())
    inner = proc(3, DEFAULT, "sh", under=1, evidence=waits(4))
    stop = held(main, web, inner, other)
    assert stop.look(main, web, inner, other) == [2]
    assert stop.look(main, inner, other, after_s=0.3) == []
    assert stop.actions[1] == HoldBack((inner.key,))
    stop.give(HeldBack((inner.key,)))
    assert stop.look(main, inner, other) == [4]
    busy = proc(3, DEFAULT, "make", under=1, evidence=runs())
    stop = held(main, web, busy, other)
    assert stop.look(main, web, busy, other) == [2]
    assert stop.look_until(7.0, main, busy, other) == []
    stop = held(main, web, busy, other)
    assert stop.look(main, web, busy, other) == [2]
    assert stop.look_until(7.0, main, web, busy, other) == []  # its share is over, and nothing else may be told
    assert stop.state.phase is Phase.GRACE


def test_s16_exec_sessions_come_last_and_for_their_sake_nothing_is_held():
    session = proc(9, HANDLED, "psql", under=77, is_entered=True, is_main=False, evidence=serves())
    assert not any(isinstance(action, HoldBack) for action in shown(SHELL, JOB, session).actions)
    stop = held(SHELL, WEB, session)
    assert stop.look(SHELL, WEB, session) == [2]
    assert stop.look(SHELL, session, after_s=0.3) == [9]
    assert stop.state.signalled[-1].session


@pytest.mark.parametrize("event", [TracerLost("the tracer ended"), Resumed(1010.0)])
def test_s00_after_the_death_of_tracer_or_driver_wrappers_are_held_again_while_the_program_shuts_down(event):
    stop = held(SHELL, WEB)
    stop.look(SHELL, WEB)
    stop.give(event, after_s=0.1)
    assert stop.state.hold.held == frozenset()
    assert "sh (1) had been held and went on" in stop.state.notes[0]
    stop.look(SHELL, WEB)
    assert stop.actions[1] == HoldBack((SHELL.key,))
    stop.give(HeldBack((), (SHELL.key,), "no"))
    stop.look(SHELL, WEB)
    assert stop.state.phase is Phase.GRACE


def test_s13_a_wrapper_whose_child_ended_without_the_signal_is_let_go():
    stop = held(SHELL, WEB)
    assert stop.look(SHELL) == []
    assert LetGo() in stop.actions
    assert stop.state.hold.held == frozenset()


def test_s13_wrappers_go_on_where_that_is_asked_for():
    stop = shown(SHELL, WEB, on_wrapper=OnWrapper.CONTINUE)
    assert stop.look(SHELL, WEB) == [2]
    assert stop.state.held == ()
    stop.look(SHELL, WEB, after_s=0.1)
    stop.look(SHELL, after_s=0.1)
    assert stop.state.phase is Phase.GRACE
    both = [WEB, proc(3, HANDLED, under=1, evidence=serves())]
    stop = shown(SHELL, *both, on_wrapper=OnWrapper.CONTINUE)
    assert stop.look(SHELL, *both) == [3]
    assert stop.look(SHELL, both[0], after_s=0.3) == [2]


def test_s13_a_pid_1_that_just_sleeps_beside_what_it_has_started_is_held_too():
    main = proc(1, DROPPED, "run", evidence=pauses())
    stop = held(main, WEB)
    assert stop.look(main, WEB) == [2]
    ignores = proc(1, IGNORED, "run", evidence=pauses())
    assert shown(ignores, WEB).look_until(7.9, ignores, WEB) == []


# -- S14 ----------------------------------------------------------------------------------------------


def test_s14_a_wrapper_over_sleep_ends_in_milliseconds_by_the_default_action():
    stop = held(SHELL, SLEEP)
    assert stop.look(SHELL, SLEEP) == [2]
    assert stop.state.signalled[0].occasion is Occasion.DEFAULT_ACTION
    assert stop.look(SHELL, SLEEP, after_s=0.01) == []
    stop.look(SHELL)
    stop.look(SHELL, after_s=0.013)
    assert stop.state.kill_cause is KillCause.WRAPPED
    assert stop.now_s < 1000.1
    assert "nothing in the container could wake before the deadline" in stop.state.notes[0]


def test_s14_where_it_cannot_be_held_pid_1_is_ended():
    stop = shown(SHELL, SLEEP)
    stop.give(HeldBack((), (SHELL.key,), "no"))
    stop.look(SHELL, SLEEP)
    stop.look(SHELL, SLEEP, after_s=0.02)
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION


@pytest.mark.parametrize(
    ("main", "is_ended"),
    [
        (proc(1, DROPPED, "sleep", evidence=sleeps()), True),
        (proc(1, DROPPED, "tail", argv=("tail", "-f", "x"), evidence=runs()), True),
        (proc(1, DROPPED, "batch", evidence=sleeps(3.0)), False),
        (proc(1, DROPPED, "job", evidence=runs()), False),
        (proc(1, DROPPED, "curl", evidence=polls()), False),
        (proc(1, IGNORED, "odd", evidence=pauses()), False),
    ],
)
@pytest.mark.parametrize("age_s", [1.0, 100.0])
def test_s14_pid_1_is_ended_where_nothing_could_wake_before_the_deadline(main, is_ended, age_s):
    stop = shown(main, age_s=age_s)
    assert (stop.state.kill_cause is KillCause.DEFAULT_ACTION) is is_ended
    assert stop.look_until(6.0, main) == []
    assert (stop.state.phase is Phase.KILLING) is is_ended


def test_s14_what_waits_for_a_child_that_has_just_ended_does_not_wait_for_ever():
    stop = Stop()
    stop.look(SHELL, JOB)
    stop.look(SHELL, after_s=0.05)
    assert stop.state.phase is Phase.GRACE
    stop.look(SHELL, after_s=0.013)
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION


def test_s14_one_process_of_which_nothing_could_be_read_may_wake():
    stop = shown(proc(1, DROPPED, evidence=pauses()), proc(2, DEFAULT, under=1))
    assert stop.look_until(9.9, proc(1, DROPPED, evidence=pauses()), proc(2, DEFAULT, under=1)) == []
    assert stop.state.phase is Phase.GRACE


def test_s14_a_listener_at_rest_is_ended_after_a_second_without_cpu_time():
    rest = proc(1, DROPPED, "http", evidence=serves())
    stop = shown(rest)
    stop.look_until(0.9, rest)
    assert stop.state.phase is Phase.GRACE
    stop.look_until(1.4, rest)
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION
    assert stop.state.notes[-1].startswith("a listener at rest, without CPU time for 1 s")


@pytest.mark.parametrize(
    ("age_s", "processes"),
    [
        (3.0, [proc(1, DROPPED, "http", evidence=serves())]),
        (100.0, [proc(1, DROPPED, "http", evidence=serves(connected=1))]),
        (100.0, [proc(1, DROPPED, "http", evidence=serves()), proc(2, DEFAULT, under=1, evidence=sleeps(2.0))]),
    ],
)
def test_s14_a_listener_that_is_young_or_connected_or_not_alone_is_waited_for(age_s, processes):
    stop = shown(*processes, age_s=age_s)
    stop.look_until(2.0, *processes)
    assert stop.state.phase is Phase.GRACE


def test_s14_a_listener_beside_what_cannot_wake_is_at_rest():
    processes = [proc(1, DROPPED, "http", evidence=serves()), SLEEP]
    stop = shown(*processes)
    stop.look_until(1.4, *processes)
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION


def test_s14_a_wrapper_over_a_listener_at_rest_is_ended_with_it():
    """`sh -c 'server & sleep infinity'`: what is signalled for it ends, and the server is still at rest."""
    own, null = "/dev/null rw 9", "/dev/null r 9"
    shell = proc(1, DROPPED, "sh", evidence=replace(waits(), stdin=own))
    sleep = proc(2, DEFAULT, "sleep", under=1, evidence=replace(sleeps(), stdin=own))
    web = proc(3, DEFAULT, "http", under=1, evidence=replace(serves(), stdin=null))
    stop = shown(shell, sleep, web)
    assert stop.look_until(1.4, shell, sleep, web) == []
    stop.give(HeldBack((shell.key,)))
    assert stop.look(shell, sleep, web) == [2]
    stop.look(shell, web, after_s=0.01)
    assert stop.state.kill_cause is KillCause.WRAPPED


def gave_up(*processes) -> Stop:
    """PID 1 had a handler, and has sent itself the signal without one. It waits for all of its children."""
    stop = Stop()
    stop.look(proc(1, HANDLED, "make", evidence=waits(), is_waiting=True), *processes)
    stop.give(Traced())
    assert stop.signalled_now == [1]
    stop.look(proc(1, DROPPED, "make", evidence=waits()), *processes, after_s=0.1)
    stop.give(InitGaveUp())
    return stop


def test_s13_a_pid_1_that_would_have_ended_by_the_signal_is_a_wrapper_from_then_on():
    """make ends its recipe's shell, and sends itself the signal; the program below has not got it."""
    web = proc(3, HANDLED, "web", under=1, evidence=serves())
    stop, main = gave_up(web), proc(1, DROPPED, "make", evidence=waits())
    assert stop.look_until(0.5, main, web) == []
    assert stop.state.hold.asked == (main.key,)
    stop.give(HeldBack((main.key,)))
    assert stop.look(main, web, after_s=0.02) == [3]
    stop.look(main, web, after_s=0.1)
    assert stop.state.phase is Phase.GRACE
    stop.look_until(1.5, main)
    assert stop.state.kill_cause is KillCause.WRAPPED


def test_s00_what_such_a_pid_1_may_have_signalled_itself_is_not_signalled_again():
    """`trap - TERM; kill 0`: what has run since may be in its shutdown."""
    stop = gave_up(proc(3, HANDLED, "web", under=1, evidence=serves()))
    told = proc(3, HANDLED, "web", under=1, evidence=polls(), switches=9)
    assert stop.look_until(7.9, proc(1, DROPPED, "make", evidence=waits()), told) == []
    assert not stop.state.hold.held


def test_s13_one_that_lives_on_without_that_is_left_to_its_shutdown():
    web = proc(3, HANDLED, "web", under=1, evidence=serves())
    stop = Stop()
    stop.look(proc(1, HANDLED, "py", evidence=waits()), web)
    stop.give(Traced())
    main = proc(1, DROPPED, "py", evidence=waits())
    assert stop.look_until(7.9, main, web) == []


@pytest.mark.parametrize(
    ("main", "server"),
    [
        (SHELL, proc(3, DEFAULT, "haproxy", under=1, evidence=serves())),
        (proc(1, DROPPED, "haproxy", evidence=serves()), None),
    ],
)
def test_s13_beside_a_listener_at_rest_what_receives_the_signal_gets_it(main, server):
    """`sh -c 'app & haproxy -f x'`, also with exec: the plain stop kills both after the grace."""
    both = [main, WEB, *([server] if server else [])]
    stop = shown(*both)
    assert stop.look_until(1.4, *both) == []
    stop.give(HeldBack((main.key,)))
    assert stop.look(*both) == [2]
    left = [process for process in both if process is not WEB]
    stop.look_until(3.0, *left)
    assert stop.state.kill_cause is KillCause.WRAPPED


@pytest.mark.parametrize(
    ("request_", "age_s", "processes"),
    [
        ({}, 3.0, [SHELL, WEB, proc(3, DEFAULT, "haproxy", under=1, evidence=serves())]),
        ({}, 100.0, [SHELL, WEB, proc(3, DEFAULT, "haproxy", under=1, evidence=serves(connected=1))]),
        ({"on_deaf": OnDeaf.WAIT}, 100.0, [SHELL, WEB, proc(3, DEFAULT, "haproxy", under=1, evidence=serves())]),
        ({}, 100.0, [SHELL, WEB, *(proc(n, DEFAULT, under=1, evidence=e) for n, e in ((3, serves()), (4, runs())))]),
    ],
)
def test_s13_but_not_while_it_may_be_at_work(request_, age_s, processes):
    stop = shown(*processes, age_s=age_s, **request_)
    assert stop.look_until(6.0, *processes) == []


def test_s14_the_caller_has_the_last_word():
    main = proc(1, DROPPED, "sleep", evidence=sleeps())
    stop = shown(main, on_deaf=OnDeaf.WAIT)
    stop.look_until(9.9, main)
    assert stop.state.phase is Phase.GRACE
    job = proc(1, DROPPED, "job", evidence=runs())
    assert shown(job, on_deaf=OnDeaf.END).state.kill_cause is KillCause.DEFAULT_ACTION
    stop = shown(job, on_deaf=OnDeaf.END, age_s=1.0)
    stop.look_until(8.0, job)
    assert stop.state.phase is Phase.GRACE
    stop.look_until(9.5, job)
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION


def test_s07_without_an_end_of_the_grace_nothing_is_ended_and_nothing_held():
    for processes in ([SHELL, WEB], [SHELL, SLEEP], [proc(1, DROPPED, evidence=pauses())]):
        stop = shown(*processes, grace_s=-1.0)
        assert stop.look_until(500.0, *processes) == []
        assert stop.state.phase is Phase.GRACE
        assert stop.state.held == ()
        stop = Stop()
        stop.give(DeadlineMoved(None, extend=True))
        assert stop.look_until(500.0, *processes) == []
        assert stop.state.phase is Phase.GRACE


def test_s14_a_handler_that_appears_in_time_gets_the_signal_once():
    young = proc(1, DROPPED, "web", evidence=runs())
    stop = shown(young, age_s=1.0)
    assert stop.look_until(3.0, young) == []
    assert stop.look(proc(1, HANDLED, "web", evidence=serves())) == [1]


def test_s14_while_the_tracer_has_not_answered_nothing_is_decided():
    stop = shown(SHELL, WEB)
    assert stop.look(SHELL, WEB, after_s=0.02) == []
    assert stop.did()


def test_s13_a_guest_that_only_waits_is_ended_with_all_that_was_held_below_it():
    guest = proc(1, IGNORED, "sh", is_namespace_init=False, evidence=waits())
    stop = held(guest, WEB)
    assert stop.look(guest, WEB) == [2]
    stop.look(guest)
    stop.look(guest, after_s=0.02)
    assert stop.state.kill_cause is KillCause.WRAPPED
    assert not any(isinstance(action, KillInit) for action in stop.actions)


@pytest.mark.parametrize("job", [runs(), thread("read", fds=(Descriptor("pipe", True),))])
def test_s00_a_job_in_the_background_that_would_give_up_is_not_signalled_after_the_program(job):
    feed = proc(3, DEFAULT, "producer", under=1, evidence=sleeps(0.1))
    gzip = proc(4, HANDLED, "gzip", under=1, evidence=job)
    web = proc(2, HANDLED, "web", under=1, evidence=serves())
    shell = proc(1, DROPPED, "sh", evidence=waits(2))
    stop = held(shell, web, feed, gzip)
    assert stop.look(shell, web, feed, gzip) == [2]
    assert stop.look_until(3.0, shell, feed, gzip) == []


@pytest.mark.parametrize("pause_s", [0.02, 0.7])
def test_s13_a_shell_that_blocks_the_signal_while_it_starts_a_command_does_not_receive_it(pause_s):
    """``producer | while read line; do cmd; done``: looks meet the loop at one start after the other."""
    shell = proc(1, DROPPED, "sh", evidence=waits())
    web = proc(2, HANDLED, "web", under=1, evidence=serves())
    stop, told = Stop(StopRequest(grace_s=100.0)), []
    for turn in range(9):
        reading = thread("read", fds=(Descriptor("pipe", True),))
        reader = proc(3, BLOCKED, "bash", under=1, unblocked=DEFAULT, switches=turn, evidence=reading)
        told += stop.look(shell, web, reader, after_s=pause_s)
        if any(isinstance(action, HoldBack) for action in stop.actions):
            stop.give(HeldBack((shell.key,)))
            told += stop.look(shell, web, reader)
    assert told == [2]
    assert stop.state.watch.first[2].disposition is DEFAULT


def test_s00_a_job_that_starts_a_process_is_not_taken_for_one_that_reads_the_signal():
    shell = proc(1, DROPPED, "sh", evidence=waits(2))
    blocks = proc(2, BLOCKED, "make", under=1, unblocked=DEFAULT, evidence=runs())
    stop = Stop()
    stop.look(shell, blocks)
    assert stop.did()  # it is looked at again, before anything follows from it
    assert stop.look_until(7.0, shell, replace(blocks, disposition=DEFAULT)) == []


def test_s14_what_reads_the_signal_is_not_ended_as_a_sleeper_before_that_is_known():
    """A process in sigwait blocks the signal, and nothing but a signal can wake it."""
    reads = proc(2, BLOCKED, "web", under=1, unblocked=DEFAULT, evidence=thread("rt_sigtimedwait"))
    shell = proc(1, DROPPED, "sh", evidence=waits(2))
    stop = Stop()
    stop.look(shell, reads)
    while stop.did() and stop.now_s < 1001.0:
        stop.look(shell, reads, after_s=0.012)
    assert [action.keys for action in stop.actions if isinstance(action, HoldBack)] == [(shell.key,)]
    stop.give(HeldBack((shell.key,)))
    assert stop.look(shell, reads) == [2]
    assert stop.state.signalled[0].receives == "blocked"

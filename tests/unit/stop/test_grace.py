"""Rules S12 to S14, S0: a PID 1 that receives the signal, the plain stop, and what one look decides."""

from __future__ import annotations

import pytest

from bento.model.stop import Occasion, OnWrapper, Scope, StopRequest
from bento.stop import grace
from bento.stop.actions import LetGo, Look, Persist, SendSignal, Thaw, WatchInit
from bento.stop.inputs import DeadlineMoved, Looked, SignalNoted, TimerFired, Traced, TracerLost
from bento.stop.rules.tree import program
from bento.stop.states import KillCause, Phase, Timer, Trace

from support.looks import BLOCKED, DEFAULT, DROPPED, HANDLED, IGNORED, Stop, pauses, proc, runs, serves, sleeps, waits

MAIN = proc(1, HANDLED, "web", evidence=serves())
OTHER = proc(2, HANDLED, "worker", under=1, evidence=serves())


def watched(*processes, **request) -> Stop:
    """A stop whose tracer is asked to watch PID 1."""
    stop = Stop(StopRequest(**request))
    stop.look(*processes)
    return stop


def test_s13_a_pid_1_that_receives_the_signal_is_signalled_alone_and_at_once():
    stop = Stop()
    assert stop.look(MAIN) == [1]
    assert stop.did(Persist(), SendSignal(1, 7, 15, False))
    assert stop.look_until(9.9, MAIN) == []


def test_s13a_before_it_is_signalled_the_tracer_watches_it_where_something_else_receives_the_signal():
    stop = Stop()
    plain = proc(1, HANDLED, "web")
    assert stop.look(plain, proc(2, HANDLED, under=1)) == []
    assert stop.did(WatchInit(holds_exit=True))
    assert stop.look(MAIN, OTHER) == []  # it has not answered yet
    assert stop.give(Traced()) == (Persist(), SendSignal(1, 7, 15, False))
    assert stop.state.hold.trace is Trace.ON
    assert stop.look_until(9.9, MAIN, OTHER) == []


def test_s13a_the_container_is_frozen_at_the_exit_only_where_something_would_go_on():
    shell, dump = proc(2, DEFAULT, "sh", under=1, evidence=waits()), proc(3, DEFAULT, under=2, evidence=runs())
    assert watched(MAIN, OTHER).actions == (WatchInit(holds_exit=True, freezes=False),)
    assert watched(MAIN, proc(4, HANDLED, under=1), shell, dump).actions == (WatchInit(holds_exit=True, freezes=True),)


@pytest.mark.parametrize(
    ("processes", "request_"),
    [
        ((MAIN, proc(2, DEFAULT, under=1, evidence=runs())), {}),
        ((MAIN, OTHER), {"exit_hold_s": 0.0}),
        ((proc(1, HANDLED, evidence=serves(), is_namespace_init=False), OTHER), {}),
    ],
)
def test_s13a_without_need_the_tracer_is_not_asked(processes, request_):
    stop = watched(*processes, **request_)
    assert stop.signalled_now == [1]


def test_s13a_without_a_tracer_it_is_signalled_all_the_same_and_that_is_said():
    stop = watched(MAIN, OTHER)
    stop.give(Traced("it is traced by others"))
    assert stop.signalled_now == [1]
    assert stop.state.notes == ("PID 1 is not held at its exit: it is traced by others",)
    assert stop.look_until(5.0, MAIN, OTHER) == []
    assert stop.state.hold.trace is Trace.OFF


@pytest.mark.parametrize(("grace_s", "limit_s"), [(10.0, 2.0), (2.0, 0.5), (-1.0, 2.0)])
def test_s00_a_tracer_that_does_not_answer_keeps_the_signal_from_pid_1_for_a_moment_only(grace_s, limit_s):
    stop = watched(MAIN, OTHER, grace_s=grace_s)
    assert stop.state.timers[Timer.TRACER_LIMIT] == 1000.0 + limit_s
    assert LetGo() in stop.give(TimerFired(Timer.TRACER_LIMIT), after_s=limit_s)
    assert stop.look(MAIN, OTHER) == [1]
    assert stop.state.hold.trace is Trace.OFF
    before = stop.state
    assert stop.give(Traced()) == ()  # too late
    assert stop.state == before


def test_s13a_when_the_tracer_dies_another_one_watches_pid_1():
    stop = watched(MAIN, OTHER)
    stop.give(Traced())
    stop.give(TracerLost("the tracer ended"))
    assert stop.did(Persist(), Look())
    stop.look(MAIN, OTHER)
    assert stop.did(WatchInit(holds_exit=True))
    stop.give(Traced())
    assert stop.did()
    assert [one.pid for one in stop.state.signalled] == [1]


def test_s11_a_frozen_container_is_thawed_when_its_signal_is_pending():
    stop = Stop()
    assert stop.look(proc(1, HANDLED), is_frozen=True) == [1]
    assert stop.actions[-1] == Thaw()
    stop = Stop()
    stop.look(MAIN, OTHER, is_frozen=True)
    assert stop.did(WatchInit(holds_exit=True))
    assert stop.give(Traced()) == (Persist(), SendSignal(1, 7, 15, False), Thaw())


def test_s11_nothing_in_a_frozen_container_can_act_before_it_is_thawed():
    stop = Stop()
    assert stop.look(proc(1, DROPPED, evidence=pauses()), is_frozen=True) == []
    assert stop.did(Thaw())
    assert stop.state.phase is Phase.GRACE


def test_s12_what_blocks_the_signal_for_a_moment_is_not_taken_for_a_reader():
    blocks = proc(1, BLOCKED, "web")
    stop = Stop()
    assert stop.look(blocks) == []
    assert stop.look(blocks, after_s=0.011) == [1]
    shell = proc(1, BLOCKED, "sh")
    stop = Stop()
    assert stop.look(shell) == []
    assert stop.look(shell, after_s=0.4) == []
    assert stop.look(shell, after_s=0.2) == [1]


def test_s12_a_signal_that_is_never_read_is_ignored_and_looks_come_with_a_pause():
    blocks = proc(1, BLOCKED, "web", is_pending=True)
    stop = Stop()
    stop.look(blocks)
    stop.look(blocks, after_s=0.02)
    stop.look(blocks, after_s=0.6)
    assert stop.did(Look(examine=True))
    stop.look(proc(1, BLOCKED, "web", is_pending=True, evidence=pauses()))
    assert stop.did()
    assert stop.state.timers[Timer.LOOK] > stop.now_s + 0.2
    assert stop.look_until(9.9, proc(1, BLOCKED, "web", is_pending=True, evidence=pauses())) == []
    assert stop.state.phase is Phase.GRACE


def test_s12_a_pid_1_that_swallows_the_signal_is_dropped_from_then_on():
    stop = Stop()
    stop.look(proc(1, HANDLED, "node"))
    main = proc(1, DROPPED, "node", switches=5, evidence=pauses())
    stop.look(main, after_s=0.5)
    assert stop.state.phase is Phase.GRACE
    stop.look(main, after_s=0.02)
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION


def test_s13_a_guest_in_another_pid_namespace_ends_by_the_default_action():
    stop = Stop()
    assert stop.look(proc(1, DEFAULT, is_namespace_init=False, evidence=sleeps())) == [1]


def test_a_pid_1_that_no_look_shows_is_waited_for():
    stop = Stop()
    assert stop.look(OTHER) == []
    assert stop.state.timers[Timer.LOOK] == pytest.approx(stop.now_s + 0.05)
    assert stop.look(MAIN) == [1]


@pytest.mark.parametrize("disposition", [HANDLED, DROPPED, IGNORED, BLOCKED])
def test_s00_the_plain_stop_signals_pid_1_alone_whatever_it_makes_of_it(disposition):
    stop = Stop(StopRequest(scope=Scope.MAIN))
    processes = (proc(1, disposition, evidence=pauses()), OTHER)
    assert stop.look(*processes) == [1]
    assert stop.look_until(9.99, *processes) == []
    assert stop.state.phase is Phase.GRACE
    assert Timer.LAST_CALL not in stop.state.timers
    assert [mark.name for mark in stop.state.marks] == ["signal"]
    stop.look_until(10.01, *processes)
    assert stop.state.kill_cause is KillCause.GRACE_OVER


def test_s00_the_plain_stop_thaws_after_its_signal():
    stop = Stop(StopRequest(scope=Scope.MAIN))
    stop.look(proc(1, DROPPED), is_frozen=True)
    assert stop.did(Persist(), SendSignal(1, 7, 15, False), Thaw())


def test_s05_a_deadline_that_is_taken_away_takes_the_last_call_with_it():
    stop = Stop()
    stop.look(MAIN)
    stop.give(DeadlineMoved(None, extend=True))
    assert set(stop.state.timers) == {Timer.LOOK}


def test_answers_outside_the_grace_are_let_go():
    stop = Stop(StopRequest(grace_s=0.0))
    stop.give(Looked((MAIN,)))
    assert stop.give(Traced()) == (LetGo(),)
    assert stop.give(SignalNoted((1, 7), True)) == (LetGo(),)
    assert stop.give(TracerLost("it ended")) == ()


def test_what_was_signalled_and_when_is_in_the_state():
    stop = Stop()
    stop.look(proc(1, HANDLED, "web", argv=("/bin/busybox", "httpd")), after_s=0.25)
    (one,) = stop.state.signalled
    assert (one.pid, one.comm, one.occasion, one.at_s) == (1, "httpd", Occasion.INIT, 0.25)
    assert program(MAIN) == "web"


def test_s13a_the_tracer_gets_ready_only_where_something_is_likely_to_be_held():
    def is_wanted(*processes, **request):
        return grace.may_hold(Stop(StopRequest(**request)).state, Looked(processes))

    web, agent, idle = proc(1, HANDLED), proc(2, HANDLED, under=1), proc(2, DEFAULT, under=1)
    shell = proc(1, DROPPED, "sh")
    assert is_wanted(web, agent)
    assert is_wanted(shell, agent)
    assert not is_wanted(web)
    assert not is_wanted(web, idle)
    assert not is_wanted(web, agent, exit_hold_s=0.0)
    assert not is_wanted(web, agent, grace_s=0.0)
    assert not is_wanted(web, agent, scope=Scope.MAIN)
    assert not is_wanted(shell, agent, on_wrapper=OnWrapper.CONTINUE)

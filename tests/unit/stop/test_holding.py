"""Rules S13, S13a: what the tracer is asked, what it answers, and what is said when it is lost."""

from __future__ import annotations

from msgspec.structs import replace

from bento.model.stop import StopRequest
from bento.stop.actions import HoldBack, LetGo, Persist
from bento.stop.inputs import MainExited, TracerLost
from bento.stop.rules import holding
from bento.stop.states import Hold, Timer, Trace

from support.looks import DEFAULT, HANDLED, Stop, proc

ONE, TWO = proc(1, HANDLED, "sh"), proc(2, DEFAULT, "bash", under=1)


def state(**hold):
    stop = Stop()
    stop.look(ONE, TWO)
    stop.look(ONE, TWO)
    return replace(stop.state, hold=Hold(**hold))


def test_s13_what_is_to_be_held_is_written_down_before():
    after, actions = holding.ask_to_hold(state(), [ONE, TWO], "why", 1002.0)
    assert actions == (Persist(), HoldBack((ONE.key, TWO.key)))
    assert [(one.pid, one.comm, one.why, one.at_s) for one in after.held] == [
        (1, "sh", "why", 2.0),
        (2, "bash", "why", 2.0),
    ]
    assert after.hold.asked == (ONE.key, TWO.key)


def test_s13_what_is_held_or_cannot_be_is_not_asked_for_again():
    after, actions = holding.ask_to_hold(
        state(held=frozenset({ONE.key}), refused=frozenset({TWO.key})), [ONE, TWO], "", 1.0
    )
    assert actions == (Persist(), HoldBack(()))
    assert after.held == ()


def test_s13_what_could_not_be_held_is_not_said_to_have_been():
    asked, _ = holding.ask_to_hold(state(), [ONE, TWO], "why", 1000.0)
    after = holding.held_back(asked, [ONE.key], [TWO.key], "it has ended")
    assert after.hold == Hold(held=frozenset({ONE.key}), refused=frozenset({TWO.key}))
    assert [one.pid for one in after.held] == [1]
    assert after.notes == ("could not be held: it has ended",)
    assert Timer.TRACER_LIMIT not in after.timers
    assert holding.held_back(asked, [ONE.key, TWO.key], [], "").notes == ()


def test_s13_an_answer_that_is_not_waited_for_changes_nothing():
    before = state()
    assert holding.held_back(before, [ONE.key], [], "") == before


def test_s13a_where_nothing_is_held_nothing_is_let_go():
    for trace in (Trace.NONE, Trace.OFF):
        assert holding.let_go(state(trace=trace)) == (state(trace=trace), ())
    for used in (state(trace=Trace.ON), state(held=frozenset({(2, 7)})), state(asked=((2, 7),)), state(at_exit_s=1.0)):
        after, actions = holding.let_go(used)
        assert actions == (LetGo(),)
        assert after.hold == Hold(trace=Trace.OFF)


def test_s13a_pid_1_is_let_go_alone_once_it_is_settled():
    assert holding.release_init(state())[1] == ()
    after, actions = holding.release_init(state(at_exit_s=1.0, is_settled=True, held=frozenset({(2, 7)})))
    assert actions == (LetGo((ONE.key,)),)
    assert after.hold.held == {(2, 7)}
    assert holding.release_init(state(at_exit_s=1.0, held=frozenset({(2, 7)})))[1] == (LetGo(),)


def test_s13a_what_went_on_is_named_when_the_tracer_is_lost():
    asked, _ = holding.ask_to_hold(state(held=frozenset({(9, 7)})), [TWO], "why", 1000.0)
    after = holding.lost(asked, "the tracer ended")
    assert after.notes == ("the tracer ended: bash (2), a process (9) had been held and went on",)
    assert after.hold == Hold()
    assert holding.lost(state(), "x").notes == ()


def test_s13a_one_that_did_not_begin_is_not_asked_again_but_by_another_driver():
    assert holding.lost(state(trace=Trace.ASKED), "x").hold.trace is Trace.OFF
    assert holding.lost(state(trace=Trace.ASKED), "x", is_resumed=True).hold.trace is Trace.NONE
    assert holding.lost(state(trace=Trace.ON), "x").hold.trace is Trace.NONE


def test_s13a_an_exit_of_pid_1_lets_everything_go():
    stop = Stop(StopRequest())
    stop.look(ONE)
    stop.state = replace(stop.state, hold=Hold(trace=Trace.ON))
    assert stop.give(MainExited())[0] == LetGo()
    assert stop.give(TracerLost("late")) == ()


def test_s13a_an_exit_that_is_seen_before_the_end_of_the_tracer_is_a_lost_hold_too():
    stop = Stop(StopRequest())
    stop.look(ONE)
    stop.state = replace(stop.state, hold=Hold(trace=Trace.ON, at_exit_s=1.0))
    assert stop.give(MainExited())[0] == LetGo()
    stop.give(TracerLost("the tracer ended"))
    assert stop.state.has_lost_hold
    assert stop.state.notes == ("PID 1 had been held at its exit and ended",)

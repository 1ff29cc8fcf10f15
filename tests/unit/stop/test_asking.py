"""Rule S31: a container of another engine, which is asked before anything is ended, and signals PID 1 itself."""

from __future__ import annotations

import pytest

from bento.model.stop import Occasion, Scope, StopRequest
from bento.stop.actions import AskEngine, Look, Persist, SendSignal, WatchInit
from bento.stop.inputs import HeldBack, SignalNoted, Traced
from bento.stop.rules.asking import ARRIVES_S
from bento.stop.states import Ask, KillCause, Trace

from support.looks import DROPPED, HANDLED, IGNORED, Stop, proc, serves, sleeps, waits

WRAPPER = proc(1, DROPPED, "sh", evidence=waits(2))
SERVER = proc(2, HANDLED, "server", under=1, evidence=serves())
DEAF = proc(1, DROPPED, "sleep", evidence=sleeps())


def begun(**request) -> Stop:
    return Stop(StopRequest(by_engine=True, **request))


def asked(*processes, **request) -> Stop:
    """A stop whose PID 1 does not receive the signal: it is watched, and the engine has been asked."""
    stop = begun(**request)
    stop.look(*processes)
    assert stop.actions == (WatchInit(holds_exit=False, noting=((1, 7),)),)
    assert stop.give(Traced()) == (Persist(), AskEngine())
    return stop


def test_s31_a_pid_1_that_receives_the_signal_gets_it_from_the_engine_alone():
    stop = begun()
    stop.look(proc(1, HANDLED, "web", evidence=serves()))
    assert stop.did(Persist(), AskEngine())
    assert not any(isinstance(action, SendSignal) for action in stop.actions)
    assert [one.occasion for one in stop.state.signalled] == [Occasion.INIT]
    assert stop.look_until(9.9, proc(1, HANDLED, "web", evidence=serves())) == []


def test_s31_the_plain_stop_is_the_engines_own():
    stop = begun(scope=Scope.MAIN)
    stop.look(DEAF)
    assert stop.did(Persist(), AskEngine())
    assert stop.look_until(9.9, DEAF) == []


def test_s31_the_exit_of_pid_1_is_held_before_the_engine_is_asked():
    stop = begun()
    stop.look(proc(1, HANDLED, "web", evidence=serves()), SERVER)
    assert stop.actions == (WatchInit(holds_exit=True),)
    assert stop.give(Traced()) == (Persist(), AskEngine())


def test_s31_nothing_is_told_or_ended_before_the_signal_has_arrived_at_a_deaf_pid_1():
    stop = asked(WRAPPER, SERVER)
    assert stop.look_until(ARRIVES_S - 0.2, WRAPPER, SERVER) == []
    assert stop.state.hold.asked == ()


def test_s31_once_it_has_arrived_all_is_as_with_a_container_of_bentos_own():
    stop = asked(WRAPPER, SERVER)
    assert stop.give(SignalNoted((1, 7), is_only_noted=False), after_s=0.05) == (Look(examine=True),)
    assert stop.state.ask is Ask.ARRIVED
    stop.look(WRAPPER, SERVER)
    stop.look_until(0.2, WRAPPER, SERVER)
    assert stop.state.hold.asked == ((1, 7),)
    stop.give(HeldBack(((1, 7),)))
    assert stop.look(WRAPPER, SERVER) == [2]


def test_s31_where_no_tracer_shows_it_the_signal_counts_as_sent_after_a_while():
    stop = begun()
    stop.look(WRAPPER, SERVER)
    assert stop.give(Traced("refused")) == (Persist(), AskEngine())
    assert stop.look_until(ARRIVES_S - 0.2, WRAPPER, SERVER) == []
    stop.look_until(ARRIVES_S + 0.2, WRAPPER, SERVER)
    assert stop.state.hold.asked == ((1, 7),)


def test_s31_an_idle_pid_1_is_ended_only_after_the_engine_knows_of_the_stop():
    stop = asked(DEAF)
    stop.look_until(1.0, DEAF)
    assert stop.state.kill_cause is None
    stop.give(SignalNoted((1, 7), is_only_noted=False))
    stop.look_until(1.05, DEAF)
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION


def test_s31_what_comes_to_receive_the_signal_on_the_way_is_not_signalled_again():
    stop = asked(DEAF)
    changed = proc(1, HANDLED, "sleep", evidence=sleeps())
    assert stop.look_until(9.0, changed) == []
    assert [one.pid for one in stop.state.signalled] == [1]


def test_s31_what_comes_to_receive_it_after_it_was_lost_is_signalled_by_bento_once():
    stop = asked(DEAF, on_deaf="wait")
    stop.give(SignalNoted((1, 7), is_only_noted=False))
    assert stop.look(DEAF) == []
    assert stop.state.ask is Ask.SETTLED
    assert stop.state.hold.trace is Trace.NONE
    assert stop.look(proc(1, HANDLED, "sleep", evidence=sleeps())) == [1]


def test_s31_a_handler_that_only_gives_up_is_seen_by_its_reaction():
    """As node's: its signal has arrived, as its mask shows."""
    stop = begun()
    stop.look(proc(1, HANDLED, "node", evidence=sleeps()))
    dropped = proc(1, DROPPED, "node", evidence=sleeps())
    stop.look_until(0.7, dropped)
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION


def test_s31_an_ignored_signal_leaves_the_whole_grace():
    ignoring = proc(1, IGNORED, "job", evidence=sleeps())
    stop = asked(ignoring)
    stop.give(SignalNoted((1, 7), is_only_noted=False))
    assert stop.look_until(9.9, ignoring) == []


@pytest.mark.parametrize("signal", [15, 9])
def test_s31_what_the_engine_did_not_end_is_killed_at_the_deadline(signal):
    stop = begun(signal=signal, scope=Scope.MAIN)
    stop.look(DEAF)
    assert stop.did(Persist(), AskEngine())
    stop.look_until(10.05, DEAF)
    assert stop.state.kill_cause is KillCause.GRACE_OVER

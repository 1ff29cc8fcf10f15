"""Rule S17a: new connections are refused first, out of the grace, and nothing of that cancels the stop."""

from __future__ import annotations

import msgspec
import pytest

from bento.model.stop import Hook, StopRequest
from bento.stop.actions import Drain, KillAll, Look, Persist, RunHook
from bento.stop.forecast.forecast import forecast
from bento.stop.inputs import DeadlineMoved, Drained, Looked, MainExited, Resumed, TimerFired
from bento.stop.states import KillCause, Phase, StopState, Timer
from bento.units import NO_LIMIT

from support.looks import HANDLED, Stop, proc


def draining(**request) -> Stop:
    return Stop(StopRequest(drain=True, **request))


def phases(stop: Stop) -> list[str]:
    return [mark.name for mark in stop.state.marks]


def test_s17a_no_process_is_looked_at_before_the_ports_are_closed():
    stop = draining()
    assert stop.state.phase is Phase.DRAINING
    assert stop.actions == (Persist(), Drain())
    assert stop.look(proc(1, HANDLED)) == []
    assert stop.state.phase is Phase.DRAINING
    assert stop.give(Drained(), after_s=0.02) == (Persist(), Look())
    assert stop.look(proc(1, HANDLED)) == [1]
    assert phases(stop) == ["drain", "signal"]
    assert stop.state.notes == ()
    assert Timer.LAST_CALL in stop.state.timers


def test_s17a_hooks_come_after_it():
    stop = draining(pre_stop=(Hook(kind="inside", command="x"),))
    assert stop.give(Drained()) == (Persist(), RunHook(0))
    assert phases(stop) == ["drain", "hooks"]


def test_s17a_a_failure_is_noted_and_cancels_nothing():
    stop = draining()
    assert stop.give(Drained("nft: no such table")) == (Persist(), Look())
    assert stop.state.notes == ("drain: nft: no such table",)
    assert stop.look(proc(1, HANDLED)) == [1]
    assert stop.state.errors == ()


@pytest.mark.parametrize(("grace_s", "limit_s"), [(60.0, 5.0), (10.0, 5.0), (3.0, 1.5), (NO_LIMIT, 5.0)])
def test_s17a_what_takes_too_long_is_given_up_within_the_grace(grace_s, limit_s):
    stop = draining(grace_s=grace_s)
    assert stop.state.timers[Timer.DRAIN_LIMIT] == 1000.0 + limit_s
    assert stop.give(TimerFired(Timer.DRAIN_LIMIT), after_s=limit_s) == (Persist(), Look())
    assert stop.state.notes == ("drain: took too long",)
    assert stop.give(Drained()) == ()  # too late
    if grace_s != NO_LIMIT:
        assert stop.state.timers[Timer.DEADLINE] == 1000.0 + grace_s


def test_s17a_what_is_killed_at_once_has_no_time_for_it():
    stop = draining(grace_s=0.0)
    assert stop.actions == (Look(), Persist())


def test_s17a_a_kill_that_joins_does_not_wait_for_it():
    stop = draining()
    actions = stop.give(DeadlineMoved(stop.now_s), after_s=0.01)
    assert KillAll() in actions
    assert stop.state.kill_cause is KillCause.ASKED
    assert stop.give(Drained()) == ()


def test_s17a_an_exit_meanwhile_is_cleaned_up():
    stop = draining()
    stop.give(MainExited(), after_s=0.01)
    assert stop.state.phase is Phase.CLEANING


def test_s17a_it_is_begun_again_only_where_its_end_was_not_seen():
    stop = draining()
    stop.state = msgspec.json.decode(msgspec.json.encode(stop.state), type=StopState)
    assert stop.give(Resumed()) == (Drain(),)
    stop.give(Drained())
    stop.state = msgspec.json.decode(msgspec.json.encode(stop.state), type=StopState)
    assert stop.give(Resumed()) == (Look(),)
    stop.give(Looked((proc(1, HANDLED),)))
    assert stop.give(Resumed()) == (Look(),)


def test_s17a_explain_says_it():
    found = forecast("web", StopRequest(drain=True), (proc(1, HANDLED),), age_s=100.0)
    assert "new connections are refused" in found.steps[0].text
    assert found.steps[0].at_s == 0.0
    assert not any("closed" in step.text for step in forecast("w", StopRequest(), (proc(1, HANDLED),), age_s=9.0).steps)

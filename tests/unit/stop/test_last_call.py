"""Rule S15: shortly before the deadline, what receives the signal and cannot have been told gets it."""

from __future__ import annotations

import pytest

from bento.model.stop import Occasion, Scope, StopRequest
from bento.stop.actions import Look, WatchInit
from bento.stop.inputs import TimerFired, Traced
from bento.stop.states import Timer

from support.looks import DEFAULT, DROPPED, HANDLED, IGNORED, Stop, polls, proc, runs, serves, sleeps, waits

MAIN = proc(1, HANDLED, "web", evidence=polls())
DROPS = proc(1, DROPPED, "web", evidence=runs())
AT_WORK = proc(2, DEFAULT, "sh", under=1, evidence=runs())


def called(*processes, then=None, **request) -> list[int]:
    """The last call with these processes alive, without an exit hold."""
    stop = Stop(StopRequest(exit_hold_s=0.0, **request))
    stop.look(*processes)
    if stop.actions == (Look(examine=True),):
        stop.look(*processes)
    if any(isinstance(action, WatchInit) for action in stop.actions):
        stop.give(Traced())
    assert stop.state.timers[Timer.LAST_CALL] == pytest.approx(1008.0)
    stop.now_s = 1008.0
    assert stop.give(TimerFired(Timer.LAST_CALL)) == (Look(examine=True),)
    bare = proc(1, HANDLED, "web")
    stop.look(bare)
    assert stop.did(Look(examine=True))
    told = stop.look(*(then or processes))
    assert all(one.occasion is Occasion.LAST_CALL for one in stop.state.signalled if one.pid in told)
    assert stop.look_until(9.9, *(then or processes)) == []
    return told


@pytest.mark.parametrize(
    ("processes", "told"),
    [
        ([DROPS, proc(2, HANDLED, under=1, evidence=serves())], [2]),
        ([DROPS, proc(2, DEFAULT, under=1, evidence=runs())], []),
        ([DROPS, proc(2, IGNORED, under=1, evidence=runs())], []),
        ([DROPS, AT_WORK, proc(3, HANDLED, under=2, evidence=serves())], [3]),
        (
            [DROPS, proc(2, HANDLED, under=1, evidence=waits(3)), proc(3, HANDLED, under=2, evidence=serves())],
            [2],
        ),
        (
            [DROPS, proc(2, DEFAULT, under=1, evidence=waits(3)), proc(3, HANDLED, under=2, evidence=serves())],
            [],
        ),
        ([DROPS, proc(2, DEFAULT, under=1), proc(3, HANDLED, under=2, evidence=serves())], []),
        # It may pass the signal on to what the plain stop lets work until the deadline; a server may not.
        ([DROPS, proc(2, HANDLED, under=1, evidence=waits(3)), proc(3, DEFAULT, under=2, evidence=runs())], []),
        ([DROPS, proc(2, HANDLED, under=1, evidence=waits(3)), proc(3, DEFAULT, under=2)], []),
        ([DROPS, proc(2, HANDLED, under=1, evidence=serves()), proc(3, DEFAULT, under=2, evidence=runs())], [2]),
        ([DROPS, proc(2, HANDLED, under=1, evidence=waits(3)), proc(3, DEFAULT, under=2, evidence=sleeps(3600))], [2]),
        ([DROPS, proc(2, HANDLED, under=1, evidence=waits(3)), proc(3, IGNORED, under=2, evidence=runs())], [2]),
        ([MAIN, proc(2, HANDLED, under=1, evidence=serves())], []),  # PID 1 may still tell it
        ([proc(1, HANDLED, evidence=waits()), proc(2, HANDLED, under=1, evidence=serves())], [2]),
        ([MAIN, proc(9, HANDLED, under=77, is_main=False, is_entered=True, evidence=serves())], [9]),
    ],
)
def test_s15_only_what_receives_the_signal_and_nothing_can_have_signalled(processes, told):
    assert called(*processes) == told


def test_s15_what_has_run_since_pid_1_was_signalled_may_have_been_signalled():
    main, child = proc(1, HANDLED, evidence=waits()), proc(2, HANDLED, under=1, evidence=serves())
    ran = proc(2, HANDLED, under=1, evidence=serves(), switches=3)
    assert called(main, child, then=[main, ran]) == []


def test_s15_all_of_them_where_that_is_asked_for():
    ran = proc(2, DEFAULT, under=1, evidence=runs(), switches=3)
    assert called(MAIN, AT_WORK, then=[MAIN, ran], last_call_all=True) == [2]
    assert called(MAIN, proc(2, IGNORED, under=1, evidence=runs()), last_call_all=True) == []


@pytest.mark.parametrize(
    ("request_", "lead_s"),
    [
        ({}, 2.0),
        ({"grace_s": 5.0}, 1.0),
        ({"last_call_s": 4.0}, 4.0),
        ({"last_call_s": 40.0}, 10.0),
        ({"last_call_s": 0.0}, None),
        ({"grace_s": -1.0}, None),
        ({"scope": Scope.MAIN}, None),
    ],
)
def test_s15_two_seconds_or_a_fifth_of_the_grace_before_the_deadline(request_, lead_s):
    stop = Stop(StopRequest(**request_))
    at_s = stop.state.timers.get(Timer.LAST_CALL)
    assert at_s == (None if lead_s is None else stop.state.deadline_s - lead_s)

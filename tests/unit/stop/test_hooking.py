"""Rule S9: hooks in order, out of the grace, never twice, and no hook cancels the stop."""

from __future__ import annotations

import msgspec
import pytest

from bento.model.stop import Hook, HookResult, StopRequest
from bento.stop import machine
from bento.stop.actions import KillAll, KillHook, Look, Persist, RunHook, RunStep
from bento.stop.hooking import AFTERWARDS_S
from bento.stop.inputs import DeadlineMoved, HookDone, MainExited, Resumed, StepDone, TimerFired
from bento.stop.states import KillCause, Phase, Step, StopState, Timer
from bento.units import NO_LIMIT

from support.looks import HANDLED, Stop, proc

DRAIN, NAP, TELL = Hook(kind="inside", command="drain"), Hook(kind="sleep", seconds=1.5), Hook(kind="host", command="x")


def hooking(*hooks: Hook, **request) -> Stop:
    return Stop(StopRequest(pre_stop=hooks or (DRAIN, NAP), **request))


def after_clean_up(**request) -> Stop:
    """A stop whose first hook after the clean-up has been begun."""
    stop = Stop(StopRequest(post_stop=(TELL, TELL), **request))
    stop.look(proc(1, HANDLED))
    stop.give(MainExited(), after_s=0.5)
    for step in (Step.MONITOR, Step.RUNTIME, Step.CGROUP, Step.NETWORK, Step.OVERLAY):
        stop.give(StepDone(step))
    return stop


def crash(stop: Stop) -> Stop:
    stop.state = msgspec.json.decode(msgspec.json.encode(stop.state), type=StopState)
    return stop


def errors(stop: Stop) -> list[str]:
    return [hook.error for hook in stop.state.hooks]


# -- before the signal ------------------------------------------------------------------------------


def test_s09_hooks_run_in_order_before_any_process_is_looked_at():
    stop = hooking()
    assert stop.state.phase is Phase.HOOKING
    assert stop.actions == (Persist(), RunHook(0))
    assert stop.give(HookDone(0), after_s=0.5) == (Persist(), RunHook(1))
    assert stop.give(HookDone(1), after_s=1.5) == (Persist(), Look())
    assert stop.look(proc(1, HANDLED)) == [1]
    assert stop.state.hooks == (
        HookResult(when="pre-stop", kind="inside", command="drain", start_s=0.0, duration_s=0.5),
        HookResult(when="pre-stop", kind="sleep", command="1.5 s", start_s=0.5, duration_s=1.5),
    )


def test_s09_a_hook_that_fails_is_reported_and_cancels_nothing():
    stop = hooking()
    assert stop.give(HookDone(0, "exit status 1: no")) == (Persist(), RunHook(1))
    stop.give(HookDone(1))
    assert stop.look(proc(1, HANDLED)) == [1]
    assert errors(stop) == ["exit status 1: no", ""]


def test_s09_two_seconds_are_left_for_the_signal():
    stop = hooking(grace_s=10.0)
    assert stop.state.timers == {Timer.DEADLINE: 1010.0, Timer.HOOK_LIMIT: 1008.0}
    assert stop.give(TimerFired(Timer.HOOK_LIMIT), after_s=8.0) == (KillHook(), Persist(), Look())
    assert errors(stop) == ["took too long and was ended", "left out: the grace leaves no time for it"]
    assert stop.look(proc(1, HANDLED)) == [1]
    assert stop.state.timers[Timer.DEADLINE] == 1010.0


@pytest.mark.parametrize("grace_s", [0.0, 0.5, 2.0])
def test_s09_all_of_a_small_grace_is_left_for_the_signal(grace_s):
    stop = hooking(grace_s=grace_s)
    assert stop.actions == (Persist(), Look())
    assert errors(stop) == ["left out: the grace leaves no time for it"] * 2


def test_s09_a_kill_leaves_the_hooks_out():
    stop = hooking(grace_s=0.0)
    stop.look(proc(1, HANDLED))
    assert KillAll() in stop.actions
    assert stop.state.kill_cause is KillCause.ASKED


def test_s09_each_hook_has_a_limit_of_its_own():
    stop = hooking(hook_timeout_s=1.0)
    assert stop.state.timers[Timer.HOOK_LIMIT] == 1001.0
    assert stop.give(TimerFired(Timer.HOOK_LIMIT), after_s=1.0) == (KillHook(), Persist(), RunHook(1))
    assert stop.state.timers[Timer.HOOK_LIMIT] == 1002.0


def test_s09_without_a_grace_only_its_own_limit_ends_a_hook():
    assert hooking(grace_s=NO_LIMIT).state.timers == {}
    assert hooking(grace_s=NO_LIMIT, hook_timeout_s=3.0).state.timers == {Timer.HOOK_LIMIT: 1003.0}


def test_s09_a_hook_that_ends_late_or_was_never_begun_changes_nothing():
    stop = hooking()
    stop.give(TimerFired(Timer.HOOK_LIMIT), after_s=8.0)
    assert stop.give(HookDone(0)) == ()
    assert hooking().give(HookDone(1)) == ()


def test_s09_a_look_that_comes_early_changes_nothing():
    stop = hooking()
    assert stop.look(proc(1, HANDLED)) == []
    assert stop.state.phase is Phase.HOOKING


def test_s15_the_last_call_waits_for_the_hooks_and_is_made():
    stop = hooking(NAP, grace_s=10.0, last_call_s=1.0)
    assert Timer.LAST_CALL not in stop.state.timers
    stop.give(HookDone(0), after_s=7.0)
    stop.look(proc(1, HANDLED))
    assert stop.state.timers[Timer.LAST_CALL] == 1009.0


# -- what comes between --------------------------------------------------------------------------------


def test_s05_a_nearer_deadline_shortens_the_hook_too():
    stop = hooking(grace_s=60.0)
    stop.give(DeadlineMoved(1010.0), after_s=1.0)
    assert stop.state.timers == {Timer.DEADLINE: 1010.0, Timer.HOOK_LIMIT: 1008.0}


def test_s05_a_deadline_so_near_that_nothing_is_left_ends_the_hook_now():
    stop = hooking(grace_s=60.0)
    stop.give(DeadlineMoved(1006.0), after_s=5.0)
    assert stop.state.timers[Timer.HOOK_LIMIT] == 1005.0
    assert stop.give(TimerFired(Timer.HOOK_LIMIT)) == (KillHook(), Persist(), Look())


def test_s05_an_extended_deadline_gives_the_hook_its_time_back_up_to_its_own_limit():
    stop = hooking(grace_s=10.0, hook_timeout_s=20.0)
    stop.give(DeadlineMoved(1060.0, extend=True), after_s=1.0)
    assert stop.state.timers[Timer.HOOK_LIMIT] == 1020.0
    stop = hooking(grace_s=10.0)
    assert stop.give(DeadlineMoved(None, extend=True), after_s=1.0) == (Persist(),)
    assert stop.state.timers == {}


def test_s05_a_kill_that_joins_ends_the_hook():
    stop = hooking()
    assert stop.give(DeadlineMoved(1001.0), after_s=1.0) == (KillHook(), Persist(), KillAll())
    assert stop.state.kill_cause is KillCause.ASKED
    assert errors(stop) == ["was ended: the time for it was over", "left out: the time for it was over"]


def test_s09_an_exit_ends_the_hook_and_leaves_the_others_out():
    stop = hooking()
    assert stop.give(MainExited(), after_s=1.0) == (KillHook(), Persist(), RunStep(Step.MONITOR))
    assert errors(stop) == ["was ended: the container had ended", "left out: the container had ended"]
    assert not stop.state.is_hooking


def test_s02_what_had_ended_has_no_hooks_before_its_signal():
    state, actions = machine.begin(StopRequest(pre_stop=(DRAIN,)), now_s=5.0, born_s=0.0, has_exited=True)
    assert actions == (Persist(), RunStep(Step.MONITOR))
    assert [hook.error for hook in state.hooks] == ["left out: the container had ended"]


# -- interruptions ----------------------------------------------------------------------------------


def test_s06_a_hook_whose_driver_died_is_ended_and_not_begun_again():
    stop = crash(hooking())
    assert stop.give(Resumed(1010.0), after_s=3.0) == (KillHook(), Persist(), RunHook(1))
    assert errors(stop)[0] == "interrupted: the process that ran it died"
    assert stop.state.timers == {Timer.DEADLINE: 1010.0, Timer.HOOK_LIMIT: 1008.0}


def test_s06_after_the_last_hook_the_signal_comes():
    stop = hooking(NAP)
    stop.give(HookDone(0))
    assert crash(stop).give(Resumed(1010.0)) == (Persist(), Look())


def test_s06_a_recorded_deadline_that_is_nearer_counts_for_hooks_too():
    stop = crash(hooking(grace_s=60.0))
    stop.give(Resumed(1020.0))
    assert stop.state.timers == {Timer.DEADLINE: 1020.0, Timer.HOOK_LIMIT: 1018.0}


# -- after the clean-up -------------------------------------------------------------------------------


def test_s09_hooks_after_the_clean_up_come_before_the_record():
    stop = after_clean_up()
    assert stop.actions == (Persist(), RunHook(0))
    assert stop.state.timers == {Timer.HOOK_LIMIT: stop.now_s + AFTERWARDS_S}
    assert stop.give(HookDone(0, "exit status 3"), after_s=1.0) == (Persist(), RunHook(1))
    assert stop.give(HookDone(1), after_s=1.0) == (RunStep(Step.RECORD),)
    assert [(hook.when, hook.error) for hook in stop.state.hooks] == [("post-stop", "exit status 3"), ("post-stop", "")]
    assert stop.state.errors == ()


def test_s09_one_that_takes_too_long_is_ended():
    stop = after_clean_up(hook_timeout_s=2.0)
    assert stop.give(TimerFired(Timer.HOOK_LIMIT), after_s=2.0) == (KillHook(), Persist(), RunHook(1))
    assert stop.give(TimerFired(Timer.HOOK_LIMIT), after_s=2.0) == (KillHook(), RunStep(Step.RECORD))


def test_s09_they_do_not_answer_for_steps():
    stop = after_clean_up()
    assert stop.give(StepDone(Step.HOOKS)) == ()
    assert stop.state.step is Step.HOOKS


def test_s06_those_after_the_clean_up_are_not_begun_twice_either():
    stop = crash(after_clean_up())
    assert stop.give(Resumed(), after_s=100.0) == (KillHook(), Persist(), RunHook(1))
    assert crash(stop).give(Resumed()) == (KillHook(), RunStep(Step.RECORD))


def test_s09_hooks_before_and_after_are_numbered_through():
    stop = Stop(StopRequest(pre_stop=(DRAIN,), post_stop=(TELL,)))
    stop.give(MainExited())
    for step in (Step.MONITOR, Step.RUNTIME, Step.CGROUP, Step.NETWORK, Step.OVERLAY):
        stop.give(StepDone(step))
    assert stop.actions == (Persist(), RunHook(1))
    assert [hook.command for hook in stop.state.hooks] == ["drain", "x"]

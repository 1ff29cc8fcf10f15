"""Every phase of a stop and every input to it; joins, kill rounds, clean-up steps, resuming."""

from __future__ import annotations

import msgspec
import pytest

from bento.model.stop import OnDeaf, StopRequest
from bento.stop import machine
from bento.stop.actions import HoldBack, KillAll, KillInit, LetGo, Look, Persist, ReportStuck, RunStep, SendSignal
from bento.stop.cleaning import STEP_LIMIT_S
from bento.stop.inputs import DeadlineMoved, Input, Looked, MainExited, Resumed, SignalledExited, StepDone, TimerFired
from bento.stop.invariants import check_invariants
from bento.stop.states import FINAL, MOVES, Hold, KillCause, Mark, Phase, Step, StopState, Timer, Trace, go
from bento.units import NO_LIMIT

from support.looks import DROPPED, HANDLED, IGNORED, Stop, pauses, proc

STEPS_WITHOUT_HOOKS = [step for step in Step if step is not Step.HOOKS]
"""Hooks are proved in test_hooking."""


def asked(**request) -> Stop:
    return Stop(StopRequest(**request))


def telling(**request) -> Stop:
    stop = asked(**request)
    stop.look(proc(1, HANDLED))
    return stop


def killing(**request) -> Stop:
    stop = telling(**request)
    stop.give(TimerFired(Timer.DEADLINE), after_s=stop.state.request.grace_s)
    return stop


def cleaning(step: Step = Step.MONITOR) -> Stop:
    stop = telling()
    stop.give(MainExited(), after_s=0.5)
    while stop.state.step is not step:
        assert stop.state.step
        stop.give(StepDone(stop.state.step))
    return stop


def stuck_in_kill() -> Stop:
    stop = killing()
    stop.give(TimerFired(Timer.KILL_LIMIT), after_s=30.0)
    return stop


def stuck_in_cleaning() -> Stop:
    stop = cleaning(Step.RUNTIME)
    stop.give(TimerFired(Timer.STEP_LIMIT), after_s=30.0)
    return stop


def done() -> Stop:
    stop = cleaning(Step.RECORD)
    stop.give(StepDone(Step.RECORD))
    return stop


PHASES = {
    Phase.REQUESTED: asked,
    Phase.GRACE: telling,
    Phase.KILLING: killing,
    Phase.CLEANING: cleaning,
    Phase.STUCK: stuck_in_kill,
    Phase.DONE: done,
}
A, T, K, C, S, D = PHASES
INPUTS: dict[str, Input] = {
    "looked": Looked((proc(1, HANDLED),)),
    "exited": MainExited(),
    "told exited": SignalledExited(1),
    "deadline": TimerFired(Timer.DEADLINE),
    "kill again": TimerFired(Timer.KILL_AGAIN),
    "kill limit": TimerFired(Timer.KILL_LIMIT),
    "step again": TimerFired(Timer.STEP_AGAIN),
    "step limit": TimerFired(Timer.STEP_LIMIT),
    "join": DeadlineMoved(2000.0),
    "kill": DeadlineMoved(0.0),
    "step done": StepDone(Step.MONITOR),
    "wrong step": StepDone(Step.RECORD),
    "resumed": Resumed(),
}
TABLE = {
    "looked": {A: T},
    "exited": {A: C, T: C, K: C},
    "deadline": {A: K, T: K},
    "kill limit": {K: S},
    "step limit": {},
    "kill": {A: K, T: K},
    "resumed": {S: K},
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", INPUTS)
def test_every_input_in_every_phase(phase, name):
    stop = PHASES[phase]()
    assert stop.state.phase is phase
    before = stop.state
    if isinstance(event := INPUTS[name], TimerFired):
        stop.now_s = max(stop.now_s, stop.state.timers.get(event.timer, 0.0))
    stop.give(event)
    assert stop.state.phase is TABLE.get(name, {}).get(phase, phase)
    if phase in FINAL and name != "resumed":
        assert stop.state == before
        assert stop.actions == ()


def test_moves_lead_from_the_beginning_to_an_end():
    reached, queue = {Phase.REQUESTED}, [Phase.REQUESTED]
    while queue:
        new = MOVES[queue.pop()] - reached
        reached |= new
        queue += new
    assert reached == set(Phase)
    assert not MOVES[Phase.DONE]


def test_a_move_that_is_not_in_the_table_is_a_defect():
    with pytest.raises(AssertionError, match="DONE"):
        go(done().state, Phase.GRACE, "again", 0.0)


# -- beginning (S2, S4, S7) ------------------------------------------------------------------------


def test_s04_the_intent_is_written_before_anything_is_decided_on_the_look():
    assert asked().actions == (Look(), Persist())


def test_s02_a_process_that_has_gone_already_is_cleaned_up():
    state, actions = machine.begin(StopRequest(), now_s=5.0, born_s=0.0, has_exited=True)
    assert actions == (Persist(), RunStep(Step.MONITOR))
    assert state.phase is Phase.CLEANING
    assert state.had_exited
    assert state.exited_s == 5.0


def test_s07_a_grace_of_0_kills_at_the_first_look():
    stop = asked(grace_s=0.0)
    assert stop.look(proc(1, HANDLED)) == []
    assert stop.actions == (Persist(), KillAll())
    assert stop.state.kill_cause is KillCause.ASKED
    assert stop.state.watch.first


def test_s07_also_when_the_timer_is_faster_than_the_look():
    stop = asked(grace_s=0.0)
    stop.give(TimerFired(Timer.DEADLINE))
    assert stop.state.kill_cause is KillCause.ASKED


def test_s07_no_limit_never_kills():
    stop = asked(grace_s=NO_LIMIT)
    assert stop.state.deadline_s is None
    assert Timer.DEADLINE not in stop.state.timers
    assert stop.look_until(100_000.0, proc(1, IGNORED)) == []
    assert stop.state.phase is Phase.GRACE


def test_s07_after_the_grace_it_is_killed():
    stop = telling()
    stop.give(TimerFired(Timer.DEADLINE), after_s=10.0)
    assert stop.actions == (Persist(), KillAll())
    assert stop.state.kill_cause is KillCause.GRACE_OVER


def test_s07_a_look_after_the_deadline_kills_and_signals_nothing():
    stop = asked(grace_s=1.0)
    assert stop.look(proc(1, HANDLED), after_s=1.0) == []
    assert stop.state.kill_cause is KillCause.GRACE_OVER


def test_next_timer_is_the_one_that_is_due_first():
    stop = telling()
    assert machine.next_timer(stop.state) == (Timer.LOOK, stop.now_s + 0.5)
    assert machine.next_timer(done().state) is None


def test_a_timer_that_is_not_due_does_nothing():
    stop = killing()
    before = stop.state
    assert stop.give(TimerFired(Timer.KILL_LIMIT), after_s=29.9) == ()
    assert stop.state == before


def test_a_timer_that_is_not_armed_does_nothing():
    stop = telling()
    before = stop.state
    assert stop.give(TimerFired(Timer.KILL_AGAIN)) == ()
    assert stop.state == before


def test_s13_an_exit_that_comes_late_is_not_looked_at():
    assert killing().give(SignalledExited(1)) == ()


def test_a_late_look_changes_nothing():
    stop = killing()
    before = stop.state
    assert stop.give(Looked((proc(1, HANDLED),))) == ()
    assert stop.state == before


# -- joins (S5) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [asked, telling])
def test_s05_a_second_caller_brings_the_deadline_nearer(make):
    stop = make()
    assert stop.give(DeadlineMoved(1003.0), after_s=1.0) == (Persist(),)
    assert stop.state.deadline_s == 1003.0
    assert stop.state.timers[Timer.DEADLINE] == 1003.0


@pytest.mark.parametrize("later_s", [1010.0, 1060.0, None])
def test_s05_but_does_not_make_it_later(later_s):
    stop = telling()
    assert stop.give(DeadlineMoved(later_s)) == ()
    assert stop.state.deadline_s == 1010.0


def test_s05_unless_told_to_extend():
    stop = telling()
    assert stop.give(DeadlineMoved(1060.0, extend=True)) == (Persist(),)
    assert stop.state.timers[Timer.DEADLINE] == 1060.0
    assert stop.state.timers[Timer.LAST_CALL] == 1058.0


def test_s05_for_ever_when_that_is_asked():
    stop = telling()
    stop.give(DeadlineMoved(None, extend=True))
    assert stop.state.deadline_s is None
    assert set(stop.state.timers) == {Timer.LOOK}


def test_s05_a_stop_without_limit_gets_one():
    stop = telling(grace_s=NO_LIMIT)
    assert stop.give(DeadlineMoved(1004.0)) == (Persist(),)
    assert stop.state.timers[Timer.DEADLINE] == 1004.0
    assert stop.state.timers[Timer.LAST_CALL] == pytest.approx(1003.2)


def test_s05_nor_is_the_signal_sent_again():
    stop = telling()
    stop.give(DeadlineMoved(1001.0))
    assert stop.look_until(0.99, proc(1, HANDLED)) == []


@pytest.mark.parametrize("make", [asked, telling])
def test_s05_a_kill_that_joins_kills_now(make):
    stop = make()
    stop.now_s += 3.0
    assert stop.give(DeadlineMoved(stop.now_s)) == (Persist(), KillAll())
    assert stop.state.kill_cause is KillCause.ASKED


def test_s05_a_wish_that_comes_too_late():
    stop = killing()
    before = stop.state
    assert stop.give(DeadlineMoved(2000.0, extend=True)) == ()
    assert stop.state == before


def test_s05_a_join_while_the_only_look_is_on_its_way():
    stop = asked()
    assert stop.give(DeadlineMoved(None, extend=True)) == (Persist(), Look())


# -- killing (S14, S18, S19) -----------------------------------------------------------------------


def test_s14_the_default_action_ends_pid_1_alone_and_then_everything():
    stop = asked()
    main = proc(1, DROPPED, evidence=pauses())
    stop.look(main)
    stop.look(main, after_s=0.051)
    assert stop.actions == (Persist(), KillInit())
    assert set(stop.state.timers) == {Timer.KILL_LIMIT, Timer.KILL_AGAIN}
    assert stop.give(TimerFired(Timer.KILL_AGAIN), after_s=0.1) == (KillAll(),)


def test_s19_sigkill_is_repeated_with_backoff():
    stop = killing()
    pauses = []
    for _ in range(9):
        at_s = stop.state.timers[Timer.KILL_AGAIN]
        pauses.append(round(at_s - stop.now_s, 3))
        stop.now_s = at_s
        assert stop.give(TimerFired(Timer.KILL_AGAIN)) == (KillAll(),)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_s19_many_rounds_are_no_problem_for_the_arithmetic():
    stop = killing(kill_timeout_s=1e6)
    for _ in range(2000):
        stop.give(TimerFired(Timer.KILL_AGAIN), after_s=5.0)
    assert stop.state.timers[Timer.KILL_AGAIN] == pytest.approx(stop.now_s + 5.0)


def test_s19_after_the_kill_limit_it_is_stuck_and_nothing_is_released():
    stop = killing(kill_timeout_s=7.0)
    assert stop.state.timers[Timer.KILL_LIMIT] == pytest.approx(stop.now_s + 7.0)
    assert stop.give(TimerFired(Timer.KILL_LIMIT), after_s=7.0) == (ReportStuck(), Persist())
    assert stop.state.phase is Phase.STUCK
    assert stop.state.timers == {}
    assert stop.state.exited_s is None


def test_s19_a_later_stop_goes_on():
    stop = stuck_in_kill()
    assert stop.give(Resumed(), after_s=100.0) == (KillAll(),)
    assert stop.state.phase is Phase.KILLING
    assert stop.state.timers[Timer.KILL_LIMIT] == pytest.approx(stop.now_s + 30.0)
    assert stop.give(MainExited()) == (Persist(), RunStep(Step.MONITOR))


# -- cleaning (S20, S21) ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [asked, telling, killing])
def test_s20_only_the_exit_leads_to_the_clean_up(make):
    stop = make()
    assert stop.give(MainExited(), after_s=0.1) == (Persist(), RunStep(Step.MONITOR))
    assert stop.state.exited_s == stop.now_s


def test_s21_the_steps_come_in_order_and_the_record_is_last():
    stop = cleaning()
    order = []
    while stop.state.step:
        order.append(stop.state.step)
        stop.give(StepDone(stop.state.step))
    assert order == [Step.MONITOR, Step.RUNTIME, Step.CGROUP, Step.NETWORK, Step.OVERLAY, Step.RECORD]
    assert stop.state.phase is Phase.DONE
    assert stop.state.timers == {}
    assert [mark.name for mark in stop.state.marks][-7:] == [*(step.value for step in order), "done"]


@pytest.mark.parametrize("step", [Step.MONITOR, Step.RUNTIME, Step.CGROUP, Step.NETWORK, Step.OVERLAY])
def test_s21_an_error_is_kept_and_the_next_step_comes(step):
    stop = cleaning(step)
    following = STEPS_WITHOUT_HOOKS[STEPS_WITHOUT_HOOKS.index(step) + 1]
    assert stop.give(StepDone(step, "broken")) == (RunStep(following),)
    assert stop.state.errors == (f"{step.value}: broken",)


def test_s21_a_step_is_tried_again_with_backoff():
    stop = cleaning(Step.RUNTIME)
    pauses = []
    for _ in range(8):
        assert stop.give(StepDone(Step.RUNTIME, "still running", retry=True)) == ()
        at_s = stop.state.timers[Timer.STEP_AGAIN]
        pauses.append(round(at_s - stop.now_s, 3))
        stop.now_s = at_s
        assert stop.give(TimerFired(Timer.STEP_AGAIN)) == (RunStep(Step.RUNTIME),)
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
    stop.give(StepDone(Step.RUNTIME))
    assert stop.state.step is Step.CGROUP
    assert stop.state.errors == ()


def test_s21_many_tries_are_no_problem_for_the_arithmetic():
    stop = cleaning(Step.CGROUP)
    for _ in range(1500):
        stop.give(StepDone(Step.CGROUP, "busy", retry=True))
    assert stop.state.timers[Timer.STEP_AGAIN] == pytest.approx(stop.now_s + 0.5)


@pytest.mark.parametrize(
    ("step", "limit_s"), [(Step.MONITOR, 10.0), (Step.CGROUP, 5.0), (Step.NETWORK, 20.0), (Step.OVERLAY, 5.0)]
)
def test_s21_a_step_that_takes_too_long_is_given_up(step, limit_s):
    stop = cleaning(step)
    assert stop.state.timers == {Timer.STEP_LIMIT: stop.now_s + limit_s}
    stop.give(TimerFired(Timer.STEP_LIMIT), after_s=limit_s)
    assert stop.state.errors == (f"{step.value}: not done after {limit_s:g} s",)
    assert stop.state.step is STEPS_WITHOUT_HOOKS[STEPS_WITHOUT_HOOKS.index(step) + 1]


def test_s20_a_runtime_that_never_says_stopped_keeps_the_record_open():
    stop = stuck_in_cleaning()
    assert stop.state.phase is Phase.STUCK
    assert stop.actions == (Persist(),)
    assert stop.state.errors == ("runtime: not done after 30 s",)


def test_s21_and_the_next_stop_goes_on_from_there():
    stop = stuck_in_cleaning()
    assert stop.give(Resumed()) == (RunStep(Step.RUNTIME),)
    assert stop.state.errors == ()
    assert stop.state.phase is Phase.CLEANING


def test_s21_what_was_said_last_is_reported_with_a_step_that_is_given_up():
    stop = cleaning(Step.RUNTIME)
    for words in ("busy", "still busy"):
        stop.give(StepDone(Step.RUNTIME, words, retry=True))
    stop.give(TimerFired(Timer.STEP_LIMIT), after_s=30.0)
    assert stop.state.errors == ("runtime: not done after 30 s: still busy",)


def test_s21_what_an_earlier_try_said_is_forgotten_once_the_step_is_done():
    stop = cleaning(Step.CGROUP)
    stop.give(StepDone(Step.CGROUP, "busy", retry=True))
    stop.give(StepDone(Step.CGROUP))
    assert stop.state.errors == ()


def test_s21_a_record_that_is_tried_again_does_not_stand_in_itself():
    stop = cleaning(Step.RECORD)
    stop.give(StepDone(Step.RECORD, "locked", retry=True))
    assert stop.state.errors == ()


def test_s21_what_other_steps_said_is_kept():
    stop = cleaning()
    stop.give(StepDone(Step.MONITOR, "hangs"))
    stop.give(TimerFired(Timer.STEP_LIMIT), after_s=30.0)
    stop.give(Resumed())
    assert stop.state.errors == ("log drain: hangs",)


def test_s21_a_record_that_cannot_be_written_is_not_done():
    stop = cleaning(Step.RECORD)
    assert stop.give(StepDone(Step.RECORD, "disk full")) == ()
    assert stop.state.phase is Phase.STUCK
    assert stop.give(Resumed()) == (RunStep(Step.RECORD),)


def test_s21_nor_is_one_that_hangs():
    stop = cleaning(Step.RECORD)
    stop.give(TimerFired(Timer.STEP_LIMIT), after_s=30.0)
    assert stop.state.phase is Phase.STUCK


# -- resuming (S6) ---------------------------------------------------------------------------------


def after_a_crash(stop: Stop) -> Stop:
    stop.state = msgspec.json.decode(msgspec.json.encode(stop.state), type=StopState)
    return stop


@pytest.mark.parametrize("make", [asked, telling])
def test_s06_within_the_grace_it_looks_again_with_the_time_that_is_left(make):
    stop = after_a_crash(make())
    assert stop.give(Resumed(1010.0), after_s=4.0) == (Look(),)
    assert stop.state.deadline_s == 1010.0
    assert stop.look(proc(1, HANDLED)) == ([1] if make is asked else [])


def test_s06_a_machine_that_was_suspended_has_less_time_left():
    stop = after_a_crash(telling())
    stop.give(Resumed(1006.0), after_s=4.0)
    assert stop.state.timers[Timer.DEADLINE] == 1006.0
    assert stop.state.timers[Timer.LAST_CALL] == pytest.approx(1005.6)


def test_s06_never_more():
    stop = after_a_crash(telling())
    stop.give(Resumed(1060.0))
    assert stop.state.deadline_s == 1010.0


def test_s06_no_limit_stays_no_limit():
    stop = after_a_crash(telling(grace_s=NO_LIMIT))
    stop.give(Resumed())
    assert stop.state.deadline_s is None


def test_s06_a_deadline_that_was_recorded_for_a_stop_without_limit_counts():
    stop = after_a_crash(telling(grace_s=NO_LIMIT))
    stop.give(Resumed(1005.0))
    assert stop.state.timers[Timer.DEADLINE] == 1005.0


def test_s06_killing_goes_on():
    stop = after_a_crash(killing())
    assert stop.give(Resumed(), after_s=300.0) == (KillAll(),)
    assert stop.state.timers[Timer.KILL_LIMIT] == pytest.approx(stop.now_s + 30.0)


@pytest.mark.parametrize("step", STEPS_WITHOUT_HOOKS)
def test_s06_cleaning_goes_on_at_its_step(step):
    stop = after_a_crash(cleaning(step))
    assert stop.give(Resumed(), after_s=300.0) == (RunStep(step),)
    assert stop.state.timers == {Timer.STEP_LIMIT: stop.now_s + STEP_LIMIT_S[step]}


def test_s06_what_is_done_is_done():
    assert after_a_crash(done()).give(Resumed()) == ()


@pytest.mark.parametrize("make", [*PHASES.values(), stuck_in_cleaning])
def test_s06_every_state_survives_its_journal(make):
    stop = make()
    before = stop.state
    assert after_a_crash(stop).state == before


# -- the checker itself -----------------------------------------------------------------------------


def test_invariants_are_checked_in_earnest():
    stop = telling(on_deaf=OnDeaf.WAIT)
    state, look = stop.state, Looked(())
    replace = msgspec.structs.replace
    broken = {
        "grace -> Phase.DONE": replace(state, phase=Phase.DONE),
        "without an observed exit": replace(state, phase=Phase.CLEANING, step=Step.MONITOR),
        "dropped": replace(state, deadline_s=None),
        "later": replace(state, deadline_s=1011.0),
        "twice": replace(state, signalled=state.signalled * 2),
        "nothing is waited for": replace(state, timers={}),
    }
    for words, after in broken.items():
        with pytest.raises(AssertionError, match=words if "->" not in words else "GRACE"):
            check_invariants(state, look, after, ())
    with pytest.raises(AssertionError, match="frozen"):
        check_invariants(state, Looked((), is_frozen=True), state, ())
    with pytest.raises(AssertionError, match="before it was written"):
        check_invariants(state, look, state, (SendSignal(2, 1, 15, False),))
    with pytest.raises(AssertionError, match="twice"):
        check_invariants(state, look, state, (Persist(), SendSignal(1, 7, 15, False)))
    check_invariants(state, look, state, (Persist(), SendSignal(2, 1, 15, False)))
    frozen = Looked((), is_frozen=True)
    asked_ = replace(state, hold=Hold(trace=Trace.ASKED, thaws=True))
    check_invariants(state, frozen, asked_, ())
    check_invariants(state, frozen, state, (Look(examine=True),))


def test_invariants_of_what_is_held_are_checked_in_earnest():
    stop = telling()
    replace, look = msgspec.structs.replace, Looked(())
    state = replace(stop.state, hold=Hold(held=frozenset({(2, 7)}), at_exit_s=1000.0))
    broken = {
        "killed at its exit": (replace(state, hold=Hold()), (KillAll(),)),
        "forgotten": (replace(state, hold=Hold()), ()),
        "outside the grace": (replace(state, phase=Phase.KILLING), ()),
        "without an end": (replace(state, timers={Timer.LOOK: 1.0}), ()),
        "never answer": (state, (Persist(), HoldBack(()))),
    }
    for words, (after, actions) in broken.items():
        with pytest.raises(AssertionError, match=words):
            check_invariants(state, look, after, actions)
    with pytest.raises(AssertionError, match="killed at its exit"):
        check_invariants(state, look, replace(state, hold=Hold()), (KillAll(), LetGo()))
    with pytest.raises(AssertionError, match="has not ended"):
        check_invariants(state, look, replace(state, hold=Hold()), (LetGo(), KillInit()))
    asked_ = replace(state, timers=state.timers | {Timer.TRACER_LIMIT: 1.0})
    with pytest.raises(AssertionError, match="before it was written"):
        check_invariants(state, look, asked_, (HoldBack(()),))
    check_invariants(state, Looked((), is_frozen=True), state, ())


def test_marks_tell_when_each_phase_began():
    stop = telling()
    stop.give(MainExited(), after_s=2.0)
    assert stop.state.marks == (Mark("signal", 1000.0), Mark("exit", 1002.0), Mark("log drain", 1002.0))

"""The stop as a state machine: ``step(state, input, now_s) -> (state, actions)``. Pure.

Theory. A stop begins with a look, because what a signal does can be read before it is sent. The
telling phase (``telling``) tells whom the plan names and watches; the grace ends in the killing
phase; the observed exit of PID 1, and nothing else, leads to the cleaning phase, whose steps run
one after the other, whatever becomes of each. The driver carries out actions in order and may be
killed between any two: what must not happen twice is in the state that Persist wrote before.

Invariants (rule numbers of the stop contract, part 7):
1. ``stopped`` follows only from an observed exit.
2. A deadline never moves later without extend.
3. Every state that is not final has a timer armed or an observation pending.
4. Nobody gets the stop signal twice, and PID 1 no request by the same method.
5. From any interruption, Resumed leads to the same end.
6. A look that shows the container frozen is answered with Thaw.
"""

from __future__ import annotations

from typing import Final, assert_never

from msgspec.structs import replace

from bento.model.stop import StopRequest
from bento.stop import asking, draining, hooking, telling
from bento.stop.actions import Action, Ask, Drain, EndMain, KillAll, Look, Persist, ReportStuck, RunHook, RunStep, Thaw
from bento.stop.inputs import (
    Asked,
    DeadlineMoved,
    Drained,
    HookDone,
    Identified,
    Input,
    Looked,
    MainExited,
    Resumed,
    StepDone,
    TimerFired,
    ToldExited,
)
from bento.stop.states import (
    FINAL,
    MOVES,
    STEPS,
    KillCause,
    Mark,
    Phase,
    Step,
    StopState,
    Timer,
)

KILL_AGAIN_S: Final = 0.1  # doubled each round
KILL_AGAIN_MAX_S: Final = 5.0
STEP_AGAIN_S: Final = 0.01  # doubled each try
STEP_AGAIN_MAX_S: Final = 0.5
STEP_LIMIT_S: Final[dict[Step, float]] = {
    Step.MONITOR: 10.0,
    Step.RUNTIME: 30.0,  # virtualised runtimes tear down after the process is gone
    Step.CGROUP: 5.0,
    Step.NETWORK: 20.0,  # links of many containers go one after the other
    Step.OVERLAY: 5.0,
    Step.RECORD: 30.0,
}
"""Of each step but the hooks, each of which has a limit of its own."""

Result = tuple[StopState, tuple[Action, ...]]


def begin(request: StopRequest, *, now_s: float, born_s: float, has_exited: bool = False) -> Result:
    """Start a stop. ``born_s``: when the container was started; ``has_exited``: its process is known to be gone."""
    deadline_s = now_s + request.grace_s if request.may_kill else None
    state = StopState(
        request=request,
        phase=Phase.ASKED,
        began_s=now_s,
        born_s=born_s,
        deadline_s=deadline_s,
        had_exited=has_exited,
    )
    if has_exited:
        state, _ = hooking.cut_short(state, "the container had ended", now_s)
        state, actions = _clean(state, now_s)
        return state, (Persist(), *actions)
    if draining.is_wanted(request):
        state = _arm_deadline(go(state, Phase.DRAINING, "drain", now_s), now_s)
        return draining.begin(state, now_s), (Persist(), Drain())
    return _begin_hooks(_arm_deadline(state, now_s), now_s)


def _begin_hooks(state: StopState, now_s: float) -> Result:
    if not state.request.pre_stop:
        return state, (Persist(), Look())
    state = _arm_deadline(go(state, Phase.HOOKING, "hooks", now_s), now_s)
    return _after_hook(hooking.begin_next(state, now_s))


def step(state: StopState, event: Input, now_s: float) -> Result:
    """Return the next state and what to do. Inputs that come too late, or timers too early, change nothing."""
    if state.phase in FINAL and not isinstance(event, Resumed):
        return state, ()
    match event:
        case MainExited():
            return _main_exited(state, now_s)
        case Looked():
            return _looked(state, event, now_s)
        case ToldExited():
            return state, ((Look(),) if state.phase is Phase.TELLING else ())
        case Drained():
            return _drained(state, event.error, now_s)
        case Identified():
            return asking.identified(state, event, now_s) if state.phase is Phase.TELLING else (state, ())
        case Asked():
            return asking.answered(state, event, now_s) if state.phase is Phase.TELLING else (state, ())
        case DeadlineMoved():
            return _deadline_moved(state, event, now_s)
        case HookDone():
            return _hook_over(hooking.ended(state, event.number, event.error, now_s), now_s)
        case StepDone():
            return _step_done(state, event, now_s)
        case Resumed():
            return _resumed(state, event, now_s)
        case TimerFired():
            return _timer_fired(state, event.timer, now_s)
        case _:
            assert_never(event)


def next_timer(state: StopState) -> tuple[Timer, float] | None:
    """Return the timer that is due first, and when; None when only observations are waited for."""
    return min(state.timers.items(), key=lambda item: item[1]) if state.timers else None


def check_invariants(before: StopState, event: Input, after: StopState, actions: tuple[Action, ...]) -> None:
    """Raise AssertionError where a move breaks a rule. For tests."""
    if after.phase is not before.phase:
        assert after.phase in MOVES[before.phase], f"{before.phase} -> {after.phase}"
    if after.phase is Phase.CLEANING and before.phase is not Phase.CLEANING:
        assert isinstance(event, MainExited) or before.exited_s is not None, "cleaning without an observed exit"
    extends = isinstance(event, DeadlineMoved) and event.extend
    if before.deadline_s is not None and not extends:
        assert after.deadline_s is not None, "the deadline was dropped"
        assert after.deadline_s <= before.deadline_s, "the deadline moved later"
    assert len(after.told) == len(after.tellings), "somebody was told twice"
    tried = [one.method for one in after.askings]
    assert len(tried) == len(set(tried)), "a method was tried twice"
    assert not any(isinstance(action, Ask) for action in actions) or Persist() in actions, "asked before it was written"
    begun = [action.number for action in actions if isinstance(action, RunHook)]
    assert all(number >= before.hooks_begun for number in begun), "a hook was begun twice"
    assert all(after.is_hooking and number == after.hooks_begun - 1 for number in begun), "a hook was not written down"
    waits = after.timers or after.is_hooking or any(isinstance(action, (Look, RunStep)) for action in actions)
    waited = not before.timers and not isinstance(event, Looked)  # for the look that is on its way
    assert after.phase in FINAL or waits or waited or after.step is not None, "nothing is waited for"
    if isinstance(event, Looked) and event.is_frozen and after.phase is Phase.TELLING:
        assert Thaw() in actions, "left frozen"


# -- moves ---------------------------------------------------------------------------------------


def go(state: StopState, phase: Phase, name: str, now_s: float) -> StopState:
    """Move to a phase that MOVES allows, and mark when."""
    assert phase in MOVES[state.phase], f"{state.phase} -> {phase}"
    return replace(state, phase=phase, marks=(*state.marks, Mark(name, now_s)))


def _looked(state: StopState, look: Looked, now_s: float) -> Result:
    is_busy = state.is_hooking or draining.is_under_way(state)
    if state.phase not in (Phase.ASKED, Phase.DRAINING, Phase.HOOKING, Phase.TELLING) or is_busy:
        return state, ()
    if state.deadline_s is not None and state.deadline_s <= now_s:
        return _kill(telling.watch(state, look, now_s), _deadline_cause(state), now_s)
    if state.phase is not Phase.TELLING:
        was_first = state.phase is Phase.ASKED
        state = go(state, Phase.TELLING, "signal", now_s)
        state = state if was_first else _arm_deadline(state, now_s)
    is_asked = asking.is_in_charge(state)
    state, actions, end_main = (asking if is_asked else telling).after_look(state, look, now_s)
    if look.is_frozen:
        actions = (*actions, Thaw())
    if end_main:
        state, killing = _kill(state, KillCause.HALTED if is_asked else KillCause.DEFAULT_ACTION, now_s)
        return state, (*actions, *killing)
    return state, actions


def _drained(state: StopState, error: str, now_s: float) -> Result:
    if not draining.is_under_way(state):
        return state, ()
    return _begin_hooks(draining.ended(state, error), now_s)


def _hook_over(outcome: hooking.Outcome, now_s: float) -> Result:
    return _after_hook(outcome) if outcome[0].phase is Phase.HOOKING else _after_late_hook(outcome, now_s)


def _after_hook(outcome: hooking.Outcome) -> Result:
    """Go on to the signal when all hooks before it are through."""
    state, actions, is_through = outcome
    return state, (*actions, Persist(), Look()) if is_through else actions


def _after_late_hook(outcome: hooking.Outcome, now_s: float) -> Result:
    """Go on to the next step when all hooks after the clean-up are through."""
    state, actions, is_through = outcome
    if not is_through:
        return state, actions
    state, following = _after_step(state, Step.HOOKS, now_s)
    return state, (*actions, *following)


def _timer_fired(state: StopState, timer: Timer, now_s: float) -> Result:
    if timer not in state.timers or state.timers[timer] > now_s:
        return state, ()
    if timer is Timer.DRAIN_LIMIT:
        return _drained(state, "took too long", now_s)
    state = replace(state, timers={name: at for name, at in state.timers.items() if name is not timer})
    match timer:
        case Timer.LOOK:
            return state, (Look(),)
        case Timer.LAST_CALL:
            return replace(state, marks=(*state.marks, Mark("last call", now_s))), (Look(),)
        case Timer.DEADLINE:
            return _kill(state, _deadline_cause(state), now_s)
        case Timer.HOOK_LIMIT:
            return _hook_over(hooking.took_too_long(state, now_s), now_s)
        case Timer.KILL_AGAIN:
            return _kill_round(state, now_s)
        case Timer.KILL_LIMIT:
            return replace(go(state, Phase.STUCK, "stuck", now_s), timers={}), (ReportStuck(), Persist())
        case Timer.STEP_AGAIN:
            return state, (RunStep(_step_of(state)),)
        case Timer.STEP_LIMIT:
            return _step_gave_up(state, now_s)
        case _:
            assert_never(timer)


def _deadline_moved(state: StopState, event: DeadlineMoved, now_s: float) -> Result:
    if state.phase not in (Phase.ASKED, Phase.DRAINING, Phase.HOOKING, Phase.TELLING):
        return state, ()
    if event.deadline_s is None:
        wanted = None if event.extend else state.deadline_s
    elif event.extend or state.deadline_s is None:
        wanted = event.deadline_s
    else:
        wanted = min(event.deadline_s, state.deadline_s)
    if wanted == state.deadline_s:
        return state, ()
    state = replace(state, deadline_s=wanted)
    if wanted is not None and wanted <= now_s:
        return _kill(state, KillCause.ASKED, now_s)
    state = hooking.deadline_moved(_arm_deadline(state, now_s), now_s)
    return state, (Persist(),) if state.timers or state.is_hooking else (Persist(), Look())


def _deadline_cause(state: StopState) -> KillCause:
    """A deadline at the very beginning was a wish to kill."""
    return KillCause.ASKED if state.deadline_s == state.began_s else KillCause.GRACE_OVER


def _arm_deadline(state: StopState, now_s: float) -> StopState:
    """Arm the deadline and the last call before it (rule S15), or neither. Drain and hooks come before any call."""
    moved = (Timer.DEADLINE, Timer.LAST_CALL)
    timers: dict[Timer, float] = {name: at for name, at in state.timers.items() if name not in moved}
    if state.deadline_s is not None:
        timers[Timer.DEADLINE] = state.deadline_s
        lead_s = telling.last_call_lead_s(state, now_s)
        is_called = any(mark.name == "last call" for mark in state.marks)
        if lead_s > 0 and not is_called and state.phase not in (Phase.DRAINING, Phase.HOOKING):
            timers[Timer.LAST_CALL] = state.deadline_s - lead_s
    return replace(state, timers=timers)


def _resumed(state: StopState, event: Resumed, now_s: float) -> Result:
    """Go on where the last driver was. Its timers are still right; what was under way is asked for again."""
    match state.phase:
        case Phase.ASKED | Phase.DRAINING | Phase.TELLING | Phase.HOOKING:
            if event.deadline_s is not None and (state.deadline_s is None or event.deadline_s < state.deadline_s):
                state = _arm_deadline(replace(state, deadline_s=event.deadline_s), now_s)
            if state.phase is Phase.HOOKING:
                return _after_hook(hooking.resume(state, now_s))
            return state, ((Drain(),) if draining.is_under_way(state) else (Look(),))
        case Phase.KILLING:  # with a limit of its own: the old one may have passed while nobody was there to kill
            return _kill_round(_arm_kill_limit(state, now_s), now_s)
        case Phase.CLEANING:
            if state.step is Step.HOOKS:
                return _after_late_hook(hooking.resume(state, now_s), now_s)
            return _run_step(state, _step_of(state), now_s)
        case Phase.STUCK:
            if state.exited_s is not None:
                again = _step_of(state)
                errors = tuple(text for text in state.errors if not text.startswith(f"{again.value}: "))
                state = go(replace(state, errors=errors), Phase.CLEANING, "clean up again", now_s)
                return _run_step(state, again, now_s)
            return _kill_round(_arm_kill_limit(go(state, Phase.KILLING, "kill", now_s), now_s), now_s)
        case Phase.DONE:
            return state, ()
        case _:
            assert_never(state.phase)


def _step_of(state: StopState) -> Step:
    """The clean-up step that is under way; for phases that have one."""
    assert state.step is not None
    return state.step


# -- killing (S18, S19) ---------------------------------------------------------------------------


def _kill(state: StopState, cause: KillCause, now_s: float) -> Result:
    state, killing_hook = hooking.cut_short(state, "the time for it was over", now_s)
    state = replace(go(state, Phase.KILLING, "kill", now_s), kill_cause=cause, timers={})
    state = _arm_kill_limit(state, now_s)
    if cause in (KillCause.DEFAULT_ACTION, KillCause.HALTED):
        # PID 1 alone: the kernel ends the rest with it, as it would after the default action of any signal.
        timers = state.timers | {Timer.KILL_AGAIN: now_s + KILL_AGAIN_S}
        return replace(state, timers=timers), (Persist(), EndMain())
    state, actions = _kill_round(state, now_s)
    return state, (Persist(), *killing_hook, *actions)


def _arm_kill_limit(state: StopState, now_s: float) -> StopState:
    return replace(state, timers={Timer.KILL_LIMIT: now_s + state.request.kill_timeout_s})


def _kill_round(state: StopState, now_s: float) -> Result:
    pause_s = _backoff_s(KILL_AGAIN_S, state.kill_rounds, KILL_AGAIN_MAX_S)
    timers = state.timers | {Timer.KILL_AGAIN: now_s + pause_s}
    return replace(state, timers=timers, kill_rounds=state.kill_rounds + 1), (KillAll(),)


def _backoff_s(first_s: float, tries: int, most_s: float) -> float:
    return min(first_s * 2.0 ** min(tries, 32), most_s)  # 2**1024 is no float


# -- cleaning (S20, S21) --------------------------------------------------------------------------


def _main_exited(state: StopState, now_s: float) -> Result:
    if state.phase is Phase.CLEANING:
        return state, ()
    state, killing_hook = hooking.cut_short(state, "the container had ended", now_s)
    state, actions = _clean(replace(state, exited_s=now_s), now_s)
    return state, (Persist(), *killing_hook, *actions)


def _clean(state: StopState, now_s: float) -> Result:
    exited_s = now_s if state.exited_s is None else state.exited_s
    state = replace(go(state, Phase.CLEANING, "exit", now_s), exited_s=exited_s)
    return _run_step(state, STEPS[0], now_s)


def _run_step(state: StopState, wanted: Step, now_s: float) -> Result:
    state = replace(state, step=wanted, step_tries=0, timers={}, marks=(*state.marks, Mark(wanted.value, now_s)))
    if wanted is Step.HOOKS:
        return _after_late_hook(hooking.begin_next(state, now_s), now_s)
    return replace(state, timers={Timer.STEP_LIMIT: now_s + STEP_LIMIT_S[wanted]}), (RunStep(wanted),)


def _step_done(state: StopState, done: StepDone, now_s: float) -> Result:
    if state.phase is not Phase.CLEANING or done.step is not state.step or done.step is Step.HOOKS:
        return state, ()
    if done.error and done.retry:
        pause_s = _backoff_s(STEP_AGAIN_S, state.step_tries, STEP_AGAIN_MAX_S)
        timers = state.timers | {Timer.STEP_AGAIN: now_s + pause_s}
        return replace(state, timers=timers, step_tries=state.step_tries + 1), ()
    if done.error:
        state = replace(state, errors=(*state.errors, f"{done.step.value}: {done.error}"))
        if done.step is Step.RECORD:  # not written: not done
            return replace(go(state, Phase.STUCK, "stuck", now_s), timers={}), ()
    return _after_step(state, done.step, now_s)


def _after_step(state: StopState, done: Step, now_s: float) -> Result:
    if done is Step.RECORD:
        return replace(go(state, Phase.DONE, "done", now_s), step=None, timers={}), ()
    following = STEPS[STEPS.index(done) + 1]
    if following is Step.HOOKS and not state.request.post_stop:
        following = Step.RECORD
    return _run_step(state, following, now_s)


def _step_gave_up(state: StopState, now_s: float) -> Result:
    """A step that was retried until its limit. A runtime that never says stopped keeps the record open (S20)."""
    step = _step_of(state)
    error = f"{step.value}: not done after {STEP_LIMIT_S[step]:g} s"
    state = replace(state, errors=(*state.errors, error))
    if step in (Step.RUNTIME, Step.RECORD):
        return replace(go(state, Phase.STUCK, "stuck", now_s), timers={}), (Persist(),)
    return _after_step(state, step, now_s)

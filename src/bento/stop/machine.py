"""The stop as a state machine: ``step(state, input, now_s) -> (state, actions)``. Pure.

Theory. A stop begins with a look, because what a signal does can be read before it is sent. In the grace (``grace``)
the program is signalled and watched; it ends in the killing phase (``killing``); the observed exit of PID 1, and
nothing else, leads to the cleaning phase (``cleaning``), whose steps run one after the other, whatever becomes of each.
The driver carries out actions in order and may be killed between any two: what must not happen twice is in the state
that Persist wrote before.

Invariants (part 7 of the stop contract; ``invariants`` checks them in tests):
1. ``stopped`` follows only from an observed exit.
2. A deadline never moves later without extend.
3. Every state that is not final has a timer armed or an observation pending.
4. No process gets the stop signal twice, and PID 1 no request by the same method.
4a. What is held is let go before anything is killed, and when the exit was seen.
5. From any interruption, Resumed leads to the same end.
6. A look that shows the container frozen is answered with Thaw, or the signal that comes before it is on its way.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from bento.model.stop import StopRequest
from bento.stop import cleaning, draining, grace, hooking, init_requests, killing
from bento.stop.actions import Action, Drain, LetGo, Look, Persist, ReportStuck, Result, RunStep, Thaw
from bento.stop.inputs import (
    DeadlineMoved,
    Drained,
    HeldBack,
    HookDone,
    Identified,
    InitAnswered,
    InitGaveUp,
    InitLeaving,
    Input,
    Looked,
    MainExited,
    Resumed,
    SignalledExited,
    SignalNoted,
    StepDone,
    TimerFired,
    Traced,
    TracerLost,
)
from bento.stop.rules import asking, holding, last_call, leaving, watching
from bento.stop.rules.signalling import look, note
from bento.stop.states import FINAL, Ask, KillCause, Mark, Phase, Step, StopState, Timer, Trace, go


def begin(request: StopRequest, *, now_s: float, born_s: float, has_exited: bool = False) -> Result:
    """Start a stop. ``born_s``: when the container was started; ``has_exited``: its process is known to be gone."""
    deadline_s = now_s + request.grace_s if request.may_kill else None
    state = StopState(
        request=request,
        phase=Phase.REQUESTED,
        began_s=now_s,
        born_s=born_s,
        deadline_s=deadline_s,
        had_exited=has_exited,
    )
    if has_exited:
        state, _ = hooking.cut_short(state, "the container had ended", now_s)
        state, actions = cleaning.begin(state, now_s)
        return state, (Persist(), *actions)
    if draining.is_wanted(request):
        state = _arm_deadline(go(state, Phase.DRAINING, "drain", now_s), now_s)
        return draining.begin(state, now_s), (Persist(), Drain())
    if not request.pre_stop:  # what the look shows is got ready for while the disk is waited for
        return _arm_deadline(state, now_s), (Look(), Persist())
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
        case SignalledExited():
            return state, ((look(state),) if state.phase is Phase.GRACE else ())
        case Traced() | HeldBack() | SignalNoted() | InitGaveUp() | InitLeaving() | TracerLost():
            return _from_tracer(state, event, now_s)
        case Drained():
            return _drained(state, event.error, now_s)
        case Identified():
            return init_requests.identified(state, event, now_s) if state.phase is Phase.GRACE else (state, ())
        case InitAnswered():
            return init_requests.answered(state, event, now_s) if state.phase is Phase.GRACE else (state, ())
        case DeadlineMoved():
            return _deadline_moved(state, event, now_s)
        case HookDone():
            return _hook_over(hooking.ended(state, event.number, event.error, now_s), now_s)
        case StepDone():
            return cleaning.step_done(state, event, now_s)
        case Resumed():
            return _resumed(state, event, now_s)
        case TimerFired():
            return _timer_fired(state, event.timer, now_s)
        case _:
            assert_never(event)


def next_timer(state: StopState) -> tuple[Timer, float] | None:
    """Return the timer that is due first, and when; None when only observations are waited for."""
    return min(state.timers.items(), key=lambda item: item[1]) if state.timers else None


# -- moves ---------------------------------------------------------------------------------------


def _looked(state: StopState, shown: Looked, now_s: float) -> Result:
    is_busy = state.is_hooking or draining.is_under_way(state)
    if state.phase not in (Phase.REQUESTED, Phase.DRAINING, Phase.HOOKING, Phase.GRACE) or is_busy:
        return state, ()
    if state.deadline_s is not None and state.deadline_s <= now_s:
        return killing.kill(watching.watch(state, shown, now_s), _deadline_cause(state), now_s)
    if state.request.is_sigkill:
        return killing.kill(watching.watch(state, shown, now_s), KillCause.ASKED, now_s)
    if state.phase is not Phase.GRACE:
        was_first = state.phase is Phase.REQUESTED
        state = go(state, Phase.GRACE, "signal", now_s)
        state = state if was_first else _arm_deadline(state, now_s)
    after_look = init_requests.after_look if init_requests.is_in_charge(state) else grace.after_look
    state, actions, cause = after_look(state, shown, now_s)
    if shown.is_frozen and state.hold.trace is Trace.ASKED and not state.signalled:  # pending first, then thawed
        state = replace(state, hold=replace(state.hold, thaws=True))
    elif shown.is_frozen and not _is_frozen_for_now(state, actions):
        actions = (*actions, Thaw())
    if cause is not None:
        state, following = killing.kill(state, cause, now_s)
        return state, (*actions, *following)
    return state, actions


def _is_frozen_for_now(state: StopState, actions: tuple[Action, ...]) -> bool:
    """Whether the tracer has frozen it, and thaws it; or the look that decides on the signal is on its way."""
    is_for_exit = state.hold.at_exit_s is not None and not state.hold.is_settled
    return is_for_exit or any(isinstance(action, Look) for action in actions)


def _from_tracer(
    state: StopState,
    event: Traced | HeldBack | SignalNoted | InitGaveUp | InitLeaving | TracerLost,
    now_s: float,
) -> Result:
    """Take what the tracer says. Outside the grace nothing is held: what still comes is let go."""
    if isinstance(event, TracerLost):
        state = holding.lost(state, event.reason)
        return state, (Persist(), look(state)) if state.phase is Phase.GRACE else ()
    if state.phase is not Phase.GRACE:
        return state, (LetGo(),)
    match event:
        case Traced() if state.hold.trace is not Trace.ASKED:  # after its time: it was asked to let everything go
            return state, ()
        case Traced():
            trace = Trace.OFF if event.error else Trace.ON
            timers = {name: at for name, at in state.timers.items() if name is not Timer.TRACER_LIMIT}
            state = replace(state, hold=replace(state.hold, trace=trace), timers=timers)
            state = note(state, f"PID 1 is not held at its exit: {event.error}") if event.error else state
            return grace.traced(state, now_s)
        case HeldBack():
            state = holding.held_back(state, event.keys, event.refused, event.error)
            return state, (Persist(), look(state))
        case SignalNoted():
            state = asking.arrived(state, event.key)
            if not event.is_only_noted:
                return state, ((look(state),) if state.ask is Ask.ARRIVED else ())
            state = replace(state, hold=replace(state.hold, noted=(*state.hold.noted, event.key)))
            return state, (look(state),)
        case InitGaveUp():
            return replace(state, gave_up=True), (Persist(), look(state))
        case InitLeaving():
            return leaving.begin(state, now_s)
        case _:
            assert_never(event)


def _drained(state: StopState, error: str, now_s: float) -> Result:
    if not draining.is_under_way(state):
        return state, ()
    return _begin_hooks(draining.ended(state, error), now_s)


def _hook_over(outcome: hooking.Outcome, now_s: float) -> Result:
    return _after_hook(outcome) if outcome[0].phase is Phase.HOOKING else cleaning.after_hook(outcome, now_s)


def _after_hook(outcome: hooking.Outcome) -> Result:
    """Go on to the signal when all hooks before it are through."""
    state, actions, is_through = outcome
    return state, (*actions, Persist(), Look()) if is_through else actions


def _timer_fired(state: StopState, timer: Timer, now_s: float) -> Result:
    if timer not in state.timers or state.timers[timer] > now_s:
        return state, ()
    if timer is Timer.DRAIN_LIMIT:
        return _drained(state, "took too long", now_s)
    state = replace(state, timers={name: at for name, at in state.timers.items() if name is not timer})
    match timer:
        case Timer.LOOK:
            return state, (look(state),)
        case Timer.LAST_CALL:
            state = replace(state, marks=(*state.marks, Mark("last call", now_s)))
            return state, (look(state),)
        case Timer.EXIT_HOLD:
            return leaving.release(state, now_s)
        case Timer.TRACER_LIMIT:  # it may answer yet, or have done it all without an answer
            state, actions = _from_tracer(state, TracerLost("the tracer did not answer"), now_s)
            return state, (LetGo(), *actions)
        case Timer.DEADLINE:
            return killing.kill(state, _deadline_cause(state), now_s)
        case Timer.HOOK_LIMIT:
            return _hook_over(hooking.took_too_long(state, now_s), now_s)
        case Timer.KILL_AGAIN:
            return killing.kill_round(state, now_s)
        case Timer.KILL_LIMIT:
            return replace(go(state, Phase.STUCK, "stuck", now_s), timers={}), (ReportStuck(), Persist())
        case Timer.STEP_AGAIN:
            return state, (RunStep(cleaning.step_of(state)),)
        case Timer.STEP_LIMIT:
            return cleaning.gave_up(state, now_s)
        case _:
            assert_never(timer)


def _deadline_moved(state: StopState, event: DeadlineMoved, now_s: float) -> Result:
    if state.phase not in (Phase.REQUESTED, Phase.DRAINING, Phase.HOOKING, Phase.GRACE):
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
        return killing.kill(state, KillCause.ASKED, now_s)
    state = leaving.arm(hooking.deadline_moved(_arm_deadline(state, now_s), now_s), now_s)
    return state, (Persist(),) if state.timers or state.is_hooking else (Persist(), look(state))


def _deadline_cause(state: StopState) -> KillCause:
    """A deadline at the very beginning is a request to kill."""
    return KillCause.ASKED if state.deadline_s == state.began_s else KillCause.GRACE_OVER


def _arm_deadline(state: StopState, now_s: float) -> StopState:
    """Arm the deadline and the last call before it (rule S15), or neither. Drain and hooks come before any call."""
    moved = (Timer.DEADLINE, Timer.LAST_CALL)
    timers: dict[Timer, float] = {name: at for name, at in state.timers.items() if name not in moved}
    if state.deadline_s is not None:
        timers[Timer.DEADLINE] = state.deadline_s
        lead_s = last_call.lead_s(state, now_s)
        is_called = any(mark.name == "last call" for mark in state.marks)
        if lead_s > 0 and not is_called and state.phase not in (Phase.DRAINING, Phase.HOOKING):
            timers[Timer.LAST_CALL] = state.deadline_s - lead_s
    return replace(state, timers=timers)


def _main_exited(state: StopState, now_s: float) -> Result:
    if state.phase is Phase.CLEANING:
        return state, ()
    state, killing_hook = hooking.cut_short(state, "the container had ended", now_s)
    is_lost = state.phase is Phase.GRACE and state.hold.at_exit_s is not None  # its end was seen before the tracer's
    state, letting_go = holding.let_go(state)
    if is_lost:
        state = replace(note(state, holding.ENDED_AT_EXIT), has_lost_hold=True)
    state, actions = cleaning.begin(replace(state, exited_s=now_s), now_s)
    return state, (*killing_hook, *letting_go, Persist(), *actions)  # the hook would not be known to run any more


def _resumed(state: StopState, event: Resumed, now_s: float) -> Result:
    """Go on where the last driver was. Its timers are still right; what was under way is asked for again."""
    state = holding.lost(state, "the process that drove this stop ended", is_resumed=True)
    match state.phase:
        case Phase.REQUESTED | Phase.DRAINING | Phase.GRACE | Phase.HOOKING:
            if event.deadline_s is not None and (state.deadline_s is None or event.deadline_s < state.deadline_s):
                state = _arm_deadline(replace(state, deadline_s=event.deadline_s), now_s)
            if state.phase is Phase.HOOKING:
                return _after_hook(hooking.resume(state, now_s))
            return state, ((Drain(),) if draining.is_under_way(state) else (look(state),))
        case Phase.KILLING:  # with a limit of its own: the old one may have passed while no driver was there to kill
            return killing.kill_round(killing.arm_limit(state, now_s), now_s)
        case Phase.CLEANING:
            if state.step is Step.HOOKS:
                return cleaning.after_hook(hooking.resume(state, now_s), now_s)
            return cleaning.run_step(state, cleaning.step_of(state), now_s)
        case Phase.STUCK:
            if state.exited_s is not None:
                again = cleaning.step_of(state)
                errors = cleaning.without(state.errors, again)
                state = go(replace(state, errors=errors), Phase.CLEANING, "clean up again", now_s)
                return cleaning.run_step(state, again, now_s)
            return killing.kill_round(killing.arm_limit(go(state, Phase.KILLING, "kill", now_s), now_s), now_s)
        case Phase.DONE:
            return state, ()
        case _:
            assert_never(state.phase)

"""The cleaning phase: what the container held is released, one step after the other (rules S20, S21). Pure."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.stop import hooking
from bento.stop.actions import Persist, Result, RunStep
from bento.stop.inputs import StepDone
from bento.stop.states import STEPS, Mark, Phase, Step, StopState, Timer, backoff_s, go

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


def begin(state: StopState, now_s: float) -> Result:
    """Begin the cleaning phase: the exit was seen."""
    exited_s = now_s if state.exited_s is None else state.exited_s
    state = replace(go(state, Phase.CLEANING, "exit", now_s), exited_s=exited_s)
    return run_step(state, STEPS[0], now_s)


def run_step(state: StopState, wanted: Step, now_s: float) -> Result:
    """Begin a step, or begin it again."""
    state = replace(state, step=wanted, step_tries=0, timers={}, marks=(*state.marks, Mark(wanted.value, now_s)))
    if wanted is Step.HOOKS:
        return after_hook(hooking.begin_next(state, now_s), now_s)
    return replace(state, timers={Timer.STEP_LIMIT: now_s + STEP_LIMIT_S[wanted]}), (RunStep(wanted),)


def step_done(state: StopState, done: StepDone, now_s: float) -> Result:
    """Take the end of a step: try it again, or go on to the next one, whatever became of it."""
    if state.phase is not Phase.CLEANING or done.step is not state.step or done.step is Step.HOOKS:
        return state, ()
    state = replace(state, errors=without(state.errors, done.step))  # of an earlier try
    if done.error and done.retry:
        pause_s = backoff_s(STEP_AGAIN_S, state.step_tries, STEP_AGAIN_MAX_S)
        timers = state.timers | {Timer.STEP_AGAIN: now_s + pause_s}
        # Kept for the end of the step's time. The record's own is left out: it would stand in what is being recorded.
        said = () if done.step is Step.RECORD else (f"{done.step.value}: {done.error}",)
        return replace(state, timers=timers, step_tries=state.step_tries + 1, errors=(*state.errors, *said)), ()
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
    return run_step(state, following, now_s)


def gave_up(state: StopState, now_s: float) -> Result:
    """End a step that was retried until its limit. A runtime that never says stopped keeps the record open (S20)."""
    step = step_of(state)
    others = without(state.errors, step)
    said = "".join(f": {text.removeprefix(f'{step.value}: ')}" for text in state.errors if text not in others)
    error = f"{step.value}: not done after {STEP_LIMIT_S[step]:g} s{said}"
    state = replace(state, errors=(*others, error))
    if step in (Step.RUNTIME, Step.RECORD):
        return replace(go(state, Phase.STUCK, "stuck", now_s), timers={}), (Persist(),)
    return _after_step(state, step, now_s)


def without(errors: tuple[str, ...], step: Step) -> tuple[str, ...]:
    """Return what other steps have said."""
    return tuple(text for text in errors if not text.startswith(f"{step.value}: "))


def after_hook(outcome: hooking.Outcome, now_s: float) -> Result:
    """Go on to the next step when all hooks after the clean-up are through."""
    state, actions, is_through = outcome
    if not is_through:
        return state, actions
    state, following = _after_step(state, Step.HOOKS, now_s)
    return state, (*actions, *following)


def step_of(state: StopState) -> Step:
    """The clean-up step that is under way; for phases that have one."""
    assert state.step is not None
    return state.step

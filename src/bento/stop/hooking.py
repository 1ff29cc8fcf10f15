"""The hooks of a stop: in order, each with a limit of its own (rule S9). Pure.

Those before the signal take their time out of the grace; those after the clean-up have one of their own. A hook that
fails or takes too long is reported and never cancels the stop. What is begun is recorded before, so that a stop that
changes hands does not run it again. Hooks are numbered through, those before the signal first.
"""

from __future__ import annotations

import math
from typing import Final

from msgspec.structs import replace

from bento.model.stop import HookResult
from bento.stop.actions import Action, KillHook, Persist, RunHook
from bento.stop.states import Phase, StopState, Timer

LEFT_FOR_SIGNAL_S: Final = 2.0
"""So much of the grace is kept for the signal, or all of it where it is less."""
AFTERWARDS_S: Final = 60.0
"""What a hook after the clean-up may take where no limit was given."""

Outcome = tuple[StopState, tuple[Action, ...], bool]
"""The state, what to do, and whether all hooks of this phase are through."""


def begin_next(state: StopState, now_s: float) -> Outcome:
    """Begin the next hook of this phase, or say that there is none; those that no time is left for are left out."""
    hooks = state.request.hooks
    end = len(state.request.pre_stop) if state.phase is Phase.HOOKING else len(hooks)
    for number in range(state.hooks_begun, end):
        limit_s = _limit_s(state, now_s, now_s)
        if limit_s > 0:
            state = _note(state, number, now_s, now_s, "interrupted: the process that ran it died")
            state = _limit(replace(state, is_hooking=True), now_s + limit_s)
            return state, (Persist(), RunHook(number)), False
        state = _note(state, number, now_s, now_s, "left out: the grace leaves no time for it")
    return state, (), True


def ended(state: StopState, number: int, error: str, now_s: float) -> Outcome:
    """Take the end of a hook and begin the next one."""
    if not state.is_hooking or number != state.hooks_begun - 1:
        return state, (), False
    return begin_next(_close(state, error, now_s), now_s)


def took_too_long(state: StopState, now_s: float) -> Outcome:
    """End the hook that runs, and go on."""
    state, actions, is_through = ended(state, state.hooks_begun - 1, "took too long and was ended", now_s)
    return state, (KillHook(), *actions), is_through


def resume(state: StopState, now_s: float) -> Outcome:
    """Go on after the death of the driver. A hook that was begun and not seen to end is ended, not begun again."""
    killing = (KillHook(),) if state.is_hooking else ()
    state, actions, is_through = begin_next(_limit(replace(state, is_hooking=False), math.inf), now_s)
    return state, (*killing, *actions), is_through


def cut_short(state: StopState, why: str, now_s: float) -> tuple[StopState, tuple[Action, ...]]:
    """The time before the signal is over: end the hook that runs, and leave those out that would follow."""
    killing = (KillHook(),) if state.is_hooking else ()
    if state.is_hooking:
        state = _close(state, f"was ended: {why}", now_s)
    for number in range(state.hooks_begun, len(state.request.pre_stop)):
        state = _note(state, number, now_s, now_s, f"left out: {why}")
    return state, killing


def deadline_moved(state: StopState, now_s: float) -> StopState:
    """Give the hook that runs more or less time, as the deadline has it now."""
    if not state.is_hooking:
        return state
    return _limit(state, now_s + max(0.0, _limit_s(state, _began_s(state), now_s)))


def _limit_s(state: StopState, began_s: float, now_s: float) -> float:
    """What is left to a hook begun at ``began_s``: of its own limit, and of the grace without the signal's share."""
    own_s = state.request.hook_timeout_s
    if state.phase is not Phase.HOOKING:
        return AFTERWARDS_S if own_s is None else own_s
    limits = [] if own_s is None else [began_s + own_s - now_s]
    if state.deadline_s is not None:
        kept_s = min(LEFT_FOR_SIGNAL_S, state.deadline_s - state.began_s)
        limits.append(state.deadline_s - now_s - kept_s)
    return min(limits, default=math.inf)


def _limit(state: StopState, at_s: float) -> StopState:
    timers: dict[Timer, float] = {timer: at for timer, at in state.timers.items() if timer is not Timer.HOOK_LIMIT}
    if at_s != math.inf:
        timers[Timer.HOOK_LIMIT] = at_s
    return replace(state, timers=timers)


def _began_s(state: StopState) -> float:
    return state.hooks[state.hooks_begun - 1].start_s + state.began_s


def _close(state: StopState, error: str, now_s: float) -> StopState:
    """Note how the hook that runs has ended."""
    state = _limit(replace(state, is_hooking=False), math.inf)
    return _note(state, state.hooks_begun - 1, _began_s(state), now_s, error)


def _note(state: StopState, number: int, began_s: float, now_s: float, error: str) -> StopState:
    hook = state.request.hooks[number]
    result = HookResult(
        when="pre-stop" if number < len(state.request.pre_stop) else "post-stop",
        kind=hook.kind,
        command=hook.command or f"{hook.seconds:g} s",
        start_s=began_s - state.began_s,
        duration_s=now_s - began_s,
        error=error,
    )
    return replace(state, hooks=(*state.hooks[:number], result), hooks_begun=number + 1)

"""The killing phase: SIGKILL, again and again, until the exit is seen or the limit is over (rules S18, S19). Pure."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.stop import hooking
from bento.stop.actions import KillAll, KillInit, Persist, Result
from bento.stop.rules import holding
from bento.stop.states import KillCause, Phase, StopState, Timer, backoff_s, go

INIT_ENDED: Final = frozenset({KillCause.DEFAULT_ACTION, KillCause.PROMPT, KillCause.HALTED, KillCause.WRAPPED})
"""PID 1 alone is ended: nothing else is there, or nothing that could do anything."""
KILL_AGAIN_S: Final = 0.1  # doubled each round
KILL_AGAIN_MAX_S: Final = 5.0


def kill(state: StopState, cause: KillCause, now_s: float) -> Result:
    """Begin the killing phase, whatever runs before it.

    A PID 1 at its exit is let go before the kill, which would not wake it; what is held elsewhere only after it was
    killed, so that it does not go on.
    """
    state, releasing = holding.release_init(state)
    state, killing_hook = hooking.cut_short(state, "the time for it was over", now_s)
    state = replace(go(state, Phase.KILLING, "kill", now_s), kill_cause=cause, timers={})
    state = arm_limit(state, now_s)
    is_guest = state.watch.main is not None and not state.watch.main.is_namespace_init
    if cause in INIT_ENDED and not is_guest:
        # PID 1 alone: the kernel ends the rest with it, as it would after the default action of any signal. What is
        # held stays so until PID 1 has gone: on a busy machine it would else run before PID 1 has begun to end.
        timers = state.timers | {Timer.KILL_AGAIN: now_s + KILL_AGAIN_S}
        return replace(state, timers=timers), (*killing_hook, Persist(), *releasing, KillInit())
    state, actions = kill_round(state, now_s)
    return state, (*killing_hook, Persist(), *releasing, *actions)  # it would not be known to run any more


def arm_limit(state: StopState, now_s: float) -> StopState:
    """Begin the time within which SIGKILL has to help."""
    return replace(state, timers={Timer.KILL_LIMIT: now_s + state.request.kill_timeout_s})


def kill_round(state: StopState, now_s: float) -> Result:
    """Kill everything once more, and arm the next round. What is held is let go: it can only end now."""
    state, letting_go = holding.let_go(state)
    pause_s = backoff_s(KILL_AGAIN_S, state.kill_rounds, KILL_AGAIN_MAX_S)
    timers = state.timers | {Timer.KILL_AGAIN: now_s + pause_s}
    return replace(state, timers=timers, kill_rounds=state.kill_rounds + 1), (KillAll(), *letting_go)

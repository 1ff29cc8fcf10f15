"""The first thing a stop may do: close the container to new connections (rule S17a). Pure.

It takes its time out of the grace. What fails or takes too long is noted and never cancels the stop. A drain whose end
was not seen, because its driver died, is begun again: closing what is closed changes nothing.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.model.stop import StopRequest
from bento.stop.states import StopState, Timer

LIMIT_S: Final = 5.0  # milliseconds, as a rule; half of the grace where that is less


def is_wanted(request: StopRequest) -> bool:
    """Whether a stop begins with it: not one that kills at once, which leaves no time to end a connection."""
    return request.drain and request.grace_s != 0


def begin(state: StopState, now_s: float) -> StopState:
    """Arm the limit; ``is_under_way`` from now on."""
    limit_s = LIMIT_S if state.deadline_s is None else min(LIMIT_S, (state.deadline_s - now_s) / 2)
    return replace(state, timers=state.timers | {Timer.DRAIN_LIMIT: now_s + limit_s})


def is_under_way(state: StopState) -> bool:
    """Whether its end has not been seen yet."""
    return Timer.DRAIN_LIMIT in state.timers


def ended(state: StopState, error: str) -> StopState:
    """Take the end. ``error`` "" is success."""
    timers = {timer: at for timer, at in state.timers.items() if timer is not Timer.DRAIN_LIMIT}
    notes = (*state.notes, f"drain: {error}") if error else state.notes
    return replace(state, timers=timers, notes=notes)

"""The grace of a system container: its PID 1 is asked, by the method that it obeys (rule S10). Pure.

Which one that is may have to be found out first (Identify). A method whose trigger cannot be delivered falls back: from
the one that was wanted to the one that fits the live PID 1, and from there to signalling it like an application. A
method is recorded before it is tried, and is tried again only after a failure that sent nothing.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.stop.actions import Action, Identify, Look, Persist, RequestInit
from bento.stop.inputs import Identified, InitAnswered, Looked
from bento.stop.methods import AUTO, METHODS, SIGNAL, Trigger
from bento.stop.rules import watching
from bento.stop.rules.signalling import Outcome, look_again, note
from bento.stop.states import InitRequest, KillCause, Mark, StopState

LOOK_S: Final = 0.5
AGAIN_S: Final = 0.2
BECOMES_INIT_S: Final = 1.0
"""So young a container may still be in a script that executes its init."""


def is_in_charge(state: StopState) -> bool:
    """Whether PID 1 is asked by a method, and not signalled like an application."""
    return state.request.method != SIGNAL and state.method != SIGNAL


def after_look(state: StopState, look: Looked, now_s: float) -> Outcome:
    """Decide on a look within the grace."""
    state = look_again(_mark_reaction(watching.watch(state, look, now_s), now_s), LOOK_S, now_s)
    if not state.method:
        if state.request.method == AUTO or state.init_requests:
            return state, (Identify(),), None
        return _ask(state, state.request.method, look, now_s)
    if state.init_requests[-1].error:  # it could not be delivered then; nothing was sent
        return _ask(state, state.method, look, now_s)
    return state, (), KillCause.HALTED if _has_halted(state, look, now_s) else None


def identified(state: StopState, event: Identified, now_s: float) -> tuple[StopState, tuple[Action, ...]]:
    """Take what kind of init PID 1 is, and look at it again to ask it."""
    if state.method or not is_in_charge(state):
        return state, ()
    if event.method == SIGNAL and now_s - state.born_s < BECOMES_INIT_S:
        return look_again(state, AGAIN_S, now_s), ()
    state = note(state, f"method {event.method}: {event.reason}")
    if event.method == SIGNAL or any(request.method == event.method for request in state.init_requests):
        return _signal_instead(state)
    return _record(replace(state, is_identified=True), event.method, now_s)


def answered(state: StopState, event: InitAnswered, now_s: float) -> tuple[StopState, tuple[Action, ...]]:
    """Take how a request went: wait for the end, try again, or fall back."""
    if not is_in_charge(state) or event.method != state.method or state.init_requests[-1].error is not None:
        return state, ()
    state = replace(
        state, init_requests=(*state.init_requests[:-1], replace(state.init_requests[-1], error=event.error))
    )
    if not event.error:
        return state, (Persist(),)
    if event.retry and _may_become_ready(state, now_s):
        return look_again(state, AGAIN_S, now_s), (Persist(),)
    state = note(state, f"method {event.method} failed: {event.error}")
    if state.is_identified or state.request.method == AUTO:
        return _signal_instead(state)
    return replace(state, method=""), (Persist(), Look())


def _ask(state: StopState, method: str, look: Looked, now_s: float) -> Outcome:
    if look.is_frozen and METHODS[method].trigger is Trigger.COMMAND:  # nothing runs before it is thawed
        return look_again(state, AGAIN_S, now_s), (), None
    if state.request.method == method and not state.init_requests:
        state = note(state, f"method {method}: asked for")
    state, actions = _record(state, method, now_s)
    return state, actions, None


def _record(state: StopState, method: str, now_s: float) -> tuple[StopState, tuple[Action, ...]]:
    earlier = tuple(request for request in state.init_requests if request.method != method)
    state = replace(
        state, method=method, init_requests=(*earlier, InitRequest(method=method, at_s=now_s - state.began_s))
    )
    return state, (Persist(), RequestInit(method, _may_become_ready(state, now_s)))


def _signal_instead(state: StopState) -> tuple[StopState, tuple[Action, ...]]:
    """Go on as with an application. What the looks showed so far was for other signals."""
    fresh = replace(state.watch, blocked=(), later=())
    return replace(state, method=SIGNAL, watch=fresh), (Persist(), Look())


def _may_become_ready(state: StopState, now_s: float) -> bool:
    """Whether an init may still be on its way up: the container is young, and half of the grace is left."""
    if state.deadline_s is not None and now_s - state.began_s >= (state.deadline_s - state.began_s) / 2:
        return False
    return now_s - state.born_s < state.request.start_window_s


def _has_halted(state: StopState, look: Looked, now_s: float) -> bool:
    """Whether PID 1 is alone and idle: it has shut down and may not reboot. For a moment that is so on the way, too."""
    if look.is_frozen or [process.is_main for process in look.processes] != [True]:
        return False
    seen, asked_s = state.watch, state.init_requests[-1].at_s + state.began_s
    idle_since_s = max(asked_s, seen.changed_s, seen.worked_s)
    return now_s - idle_since_s >= METHODS[state.method].idle_s


def _mark_reaction(state: StopState, now_s: float) -> StopState:
    if not state.init_requests or any(mark.name == "reaction" for mark in state.marks):
        return state
    asked_s = state.init_requests[-1].at_s + state.began_s
    if max(state.watch.changed_s, state.watch.worked_s) <= asked_s:
        return state
    return replace(state, marks=(*state.marks, Mark("reaction", now_s)))

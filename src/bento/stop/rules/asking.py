"""A container of another engine: that is asked to stop it before anything is ended, and signals PID 1 (rule S31). Pure.

So it knows of a stop that was wanted, and its restart policy starts nothing. Until its signal has arrived, which takes
as long as its command needs to begin, nothing is ended that could end the container. To a PID 1 that does not receive
the signal the kernel delivers nothing, and shows nothing of it, but to a tracer: so such a PID 1 is watched for it.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.model.stop import Occasion
from bento.stop.actions import Action, AskEngine, Persist, WatchInit
from bento.stop.process import Key, Process
from bento.stop.rules.holding import limit_s
from bento.stop.rules.signalling import look_again, told
from bento.stop.states import Ask, StopState, Timer, Trace

ARRIVES_S: Final = 2.0
"""So long after it was asked an engine has sent its signal, where nothing has shown that."""
LOOK_S: Final = 0.05


def is_awaited(state: StopState) -> bool:
    """Whether the engine is still to be asked, or its signal may be on the way: nothing is ended meanwhile."""
    return state.request.by_engine and state.ask in (Ask.NO, Ask.ASKED)


def go_on(state: StopState, main: Process, now_s: float) -> tuple[StopState, tuple[Action, ...]]:
    """PID 1 does not receive the signal: have it watched for it, then ask the engine, then wait for it to arrive."""
    if state.ask is Ask.NO and state.hold.trace is Trace.NONE:
        timers = state.timers | {Timer.TRACER_LIMIT: now_s + limit_s(state, now_s)}
        state = replace(state, hold=replace(state.hold, trace=Trace.ASKED), timers=timers)
        return state, (WatchInit(holds_exit=False, noting=(main.key,)),)
    if state.ask is Ask.NO and state.hold.trace is Trace.ASKED:
        return state, ()
    actions: tuple[Action, ...] = ()
    if state.ask is Ask.NO:
        state, actions = replace(state, ask=Ask.ASKED, asked_s=now_s), (Persist(), AskEngine())
    return look_again(state, LOOK_S, now_s), actions


def after_look(state: StopState, main: Process, now_s: float) -> StopState:
    """Fold what a look shows of PID 1 into what is known of the engine's signal."""
    if not state.request.by_engine or state.ask in (Ask.NO, Ask.SETTLED):
        return state
    is_known = main.key in state.signalled_keys
    if main.disposition.receives and not main.is_at_prompt:
        # It may have got it, where it has come to receive it since the engine was asked: it is not sent again.
        return state if is_known else _settled(told(state, main, Occasion.INIT, now_s), is_watched=False)
    has_reacted = any(mark.name == "reaction" for mark in state.marks)
    if state.ask is Ask.ARRIVED or has_reacted or now_s - state.asked_s >= ARRIVES_S:
        return _settled(state, is_watched=is_known)
    return state


def arrived(state: StopState, key: Key) -> StopState:
    """Take the tracer's word that a process got the signal."""
    main = state.watch.main
    if state.ask is not Ask.ASKED or main is None or main.key != key:
        return state
    return replace(state, ask=Ask.ARRIVED)


def _settled(state: StopState, *, is_watched: bool) -> StopState:
    """From here on all is as with a container of Bento's own. ``is_watched``: PID 1 is still, for its exit."""
    is_over = state.hold.trace is Trace.ON and not is_watched
    return replace(state, ask=Ask.SETTLED, hold=replace(state.hold, trace=Trace.NONE) if is_over else state.hold)

"""The grace: after each look, which processes get the signal now, and when to look again (rules S12 - S16). Pure.

``plain`` is the plain stop, the measure of all else (rule S0). A PID 1 that receives the signal gets it, and is left
alone; ``leaving`` is what happens at its exit, ``noting`` what a shell does with a trap, ``dropped`` what becomes of a
PID 1 that does not receive it, ``last_call`` what goes out shortly before the deadline.
"""

from __future__ import annotations

import math
from typing import Final

from msgspec.structs import replace

from bento.model.stop import Occasion, OnWrapper, Scope
from bento.stop.actions import Action, Look, Thaw, WatchInit
from bento.stop.inputs import Looked
from bento.stop.process import Disposition, Process
from bento.stop.rules import asking, dropped, last_call, leaving, noting, prompt, watching
from bento.stop.rules.holding import limit_s
from bento.stop.rules.signalling import Outcome, is_examined, is_last_call, look, look_again, signal
from bento.stop.rules.tree import Tree, is_shell
from bento.stop.states import StopState, Timer, Trace

LOOK_SOON_S: Final = 0.05
LOOK_AT_ONCE_S: Final = 0.01
LOOK_LATER_S: Final = 1.0


def after_look(state: StopState, look_: Looked, now_s: float) -> Outcome:
    """Decide on a look within the grace."""
    state = watching.watch(state, look_, now_s)
    processes = tuple(watching.as_it_acts(state, process, now_s) for process in look_.processes)
    if state.request.scope is Scope.MAIN:
        return _plain(state, processes, now_s)
    state = prompt.follow(state, processes)
    processes = prompt.mark(state, processes, now_s)
    if is_last_call(state):
        if not is_examined(processes):
            return state, (look(state),), None
        state, actions, _ = last_call.make(state, processes, now_s)
        return look_again(state, LOOK_SOON_S, now_s), actions, None
    main = Tree(processes).main()
    if state.hold.at_exit_s is not None or (main is None and _was_a_guest(state)):
        return leaving.after_look(state, processes, now_s)
    if main is None:  # it has not been seen yet, or ends at this moment
        return look_again(state, LOOK_SOON_S, now_s), (), None
    if look_.is_frozen and not _is_received(state, main):  # nothing in it can act before it is thawed
        return look_again(state, LOOK_SOON_S, now_s), (), None
    state = asking.after_look(state, main, now_s)
    if main.key in state.signalled_keys:
        return _signalled(state, main, processes, now_s)
    if _is_unsure(state, main, look_.processes, now_s):
        return look_again(state, LOOK_AT_ONCE_S, now_s), (), None
    if prompt.is_settling(state, Tree(processes), main, now_s):
        return look_again(state, LOOK_SOON_S, now_s), (), None
    if not _is_received(state, main) or (main.is_at_prompt and asking.is_awaited(state)):
        return _not_received(state, main, processes, now_s)
    state = replace(state, watch=replace(state.watch, main=main))  # with its mark, for when the tracer has answered
    return _begin(state, main, processes, now_s)


def may_hold(state: StopState, look_: Looked) -> bool:
    """Whether the decision on this look will most likely have something watched or held: the tracer can get ready."""
    request, main = state.request, Tree(look_.processes).main()
    if main is None or request.scope is Scope.MAIN or request.grace_s == 0 or not _others_receive(look_.processes):
        return False
    if main.disposition.receives:
        return main.is_namespace_init and request.exit_hold_s != 0
    return request.on_wrapper is OnWrapper.HOLD


def traced(state: StopState, now_s: float) -> tuple[StopState, tuple[Action, ...]]:
    """The tracer has answered: PID 1 gets its signal now."""
    main, thawing = state.watch.main, (Thaw(),) if state.hold.thaws else ()
    if main is None or main.key in state.signalled_keys:
        return state, thawing
    if not _is_received(state, main) and asking.is_awaited(state):
        state, actions = asking.go_on(state, main, now_s)
        return state, (*actions, *thawing)
    if not _is_received(state, main):  # it has changed its mind meanwhile
        return state, (look(state), *thawing)
    state, actions, _ = signal(state, (main,), Occasion.INIT, now_s)
    return look_again(state, watching.UNREAD_S, now_s), (*actions, *thawing)


def _plain(state: StopState, processes: tuple[Process, ...], now_s: float) -> Outcome:
    """The signal to PID 1 alone, whatever it makes of it."""
    main = Tree(processes).main()
    actions: tuple[Action, ...] = ()
    if main is not None and main.key not in state.signalled_keys:
        state, actions, _ = signal(state, (main,), Occasion.INIT, now_s)
    return look_again(state, LOOK_LATER_S, now_s), actions, None


def _is_received(state: StopState, main: Process) -> bool:
    """Whether PID 1 takes the signal, be it to end by its default action as a guest in another PID namespace."""
    return main.disposition.receives or main.disposition is Disposition.DEFAULT


def _not_received(state: StopState, main: Process, processes: tuple[Process, ...], now_s: float) -> Outcome:
    """PID 1 does not receive the signal, or not any more."""
    if asking.is_awaited(state):
        state, actions = asking.go_on(state, main, now_s)
        return state, actions, None
    return dropped.after_look(state, processes, now_s)


def _was_a_guest(state: StopState) -> bool:
    """Whether PID 1 shared the PID namespace of others: its exit has ended nothing else."""
    return state.watch.main is not None and not state.watch.main.is_namespace_init


def _is_unsure(state: StopState, main: Process, seen: tuple[Process, ...], now_s: float) -> bool:
    """Whether PID 1 blocks the signal, maybe for a moment only; or another does, and it depends on that one.

    A PID 1 that receives the signal gets it whatever the others do. A shell below it reads no signal that it blocks.
    """
    if watching.may_block_for_a_moment(state, main, now_s):
        return True
    if _is_received(state, main):
        return False
    others = (process for process in seen if not process.is_main and not is_shell(process))
    return any(watching.may_block_for_a_moment(state, process, now_s) for process in others)


# -- PID 1 receives the signal -----------------------------------------------------------------------


def _begin(state: StopState, main: Process, processes: tuple[Process, ...], now_s: float) -> Outcome:
    """Signal PID 1; where something could be lost with it, or hangs on its child, have the tracer watch it first."""
    if state.watch.looks < 2 and any(prompt.saves(process) and process.evidence is None for process in processes):
        return state, (Look(examine=True),), None  # it may leave its prompt with PID 1: it is remembered to be there
    if len(processes) > 1 and state.hold.trace is Trace.NONE:
        state, actions = _watch_init(state, main, processes, now_s)
        if actions:
            return state, actions, None
    if state.hold.trace is Trace.ASKED:
        return state, (), None
    state, actions, _ = signal(state, (main,), Occasion.INIT, now_s)
    return look_again(state, watching.UNREAD_S, now_s), actions, None


def _watch_init(
    state: StopState, main: Process, processes: tuple[Process, ...], now_s: float
) -> tuple[StopState, tuple[Action, ...]]:
    """Ask the tracer to watch PID 1; no actions where nothing else receives the signal, and no child is waited for."""
    holds_exit = (
        _others_receive(processes)
        and main.is_namespace_init
        and state.request.exit_hold_s != 0
        and state.request.grace_s != 0
    )
    noting_ = () if main.key in state.signalled_keys else noting.candidates(processes)
    if not holds_exit and not noting_:
        return state, ()
    timers = state.timers | {Timer.TRACER_LIMIT: now_s + limit_s(state, now_s)}
    state = replace(state, hold=replace(state.hold, trace=Trace.ASKED), timers=timers)
    # Freezing wakes what it freezes, and so blurs what has run since: only where it is needed.
    freezes = any(leaving.would_go_on(state, Tree(processes), process) for process in processes)
    return state, (WatchInit(holds_exit, holds_exit and freezes, noting_),)


def _others_receive(processes: tuple[Process, ...]) -> bool:
    """Whether something beside PID 1 receives the signal, or SIGHUP in its place."""
    return any((process.disposition.receives and not process.is_main) or prompt.saves(process) for process in processes)


def _signalled(state: StopState, main: Process, processes: tuple[Process, ...], now_s: float) -> Outcome:
    """PID 1 has the signal, and answers for what it has started. It is watched for what it makes of it."""
    if state.hold.noted:
        if not is_examined(processes):
            return state, (look(state),), None
        state, actions, _ = noting.after_look(state, processes, now_s)
        return look_again(state, LOOK_SOON_S, now_s), actions, None
    if len(processes) > 1 and state.hold.trace is Trace.NONE and main.disposition.receives:
        # Others have come since, or the tracer or the driver has died: what PID 1 leaves behind is held from now on.
        state, actions = _watch_init(state, main, processes, now_s)
        if actions:
            return look_again(state, LOOK_SOON_S, now_s), actions, None
    if not main.disposition.receives:  # it has removed its handler and lives on, or never reads what it blocks
        return _not_received(state, main, processes, now_s)
    signalled_s = watching.signalled_at_s(state, main.key)
    is_fresh = now_s - (signalled_s if signalled_s is not None else -math.inf) < watching.UNREAD_S
    shells = [] if is_fresh or asking.is_awaited(state) else prompt.left_to_it(state, Tree(processes), main)
    if shells:
        state, actions, _ = signal(state, shells, Occasion.PROMPT, now_s)
        return look_again(state, watching.UNREAD_S, now_s), actions, None
    return look_again(state, watching.UNREAD_S if is_fresh else LOOK_LATER_S, now_s), (), None

"""A PID 1 that does not receive the signal: the program that it waits for is signalled instead, or it is ended once
nothing in the container can wake any more (rules S13.2, S14). Pure.

The plain stop would leave such a container all of its grace and then kill it. So whatever may still be at work is
waited for, and what waits for a process that Bento signals is held first: it must not go on to its next command, which
was written for a program that had finished its work.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.model.stop import Occasion, OnDeaf, OnWrapper
from bento.model.waits import Evidence
from bento.stop.actions import Look
from bento.stop.process import Disposition, Key, Process
from bento.stop.rules import holding, watching
from bento.stop.rules.signalling import Outcome, left_s, look_again, note, signal
from bento.stop.rules.tree import Tree, named
from bento.stop.rules.wake import NEVER, container_wake, is_at_rest, process_wake
from bento.stop.rules.wrapping import (
    READS,
    Way,
    find_way,
    is_passive,
    is_soft,
    not_held_above,
    rest,
    waits_on_the_way,
)
from bento.stop.states import Hold, KillCause, StopState, Wrapped

STILL_S: Final = 0.01  # nothing has run in looks that far apart
STEADY_AGE_S: Final = 0.3  # a child so old that its parent still waits for is no step of a loop
REST_S: Final = 1.0  # without CPU time
WHY_HELD: Final = "it only waits for what is signalled"
_WHY_LATER: Final = "PID 1 is held until what it has started is at rest"
LOOK_SOON_S: Final = 0.012
LOOK_YOUNG_S: Final = 0.05  # while it may install its handler at any moment
LOOK_LATER_S: Final = 0.25


def after_look(state: StopState, processes: tuple[Process, ...], now_s: float) -> Outcome:
    """Decide on a look at a container whose PID 1 does not receive the signal."""
    tree = Tree(processes)
    main = tree.main()
    if main is None or state.hold.asked:
        return look_again(state, LOOK_YOUNG_S, now_s), (), None
    if main.evidence is None:  # a look of another kind; the next one has what is needed
        return state, (Look(examine=True),), None
    if state.wrapped.is_begun:
        return _go_on(state, tree, processes, now_s)
    if state.gave_up:  # what it was going to do at the signal it has done, and may have passed it on to all below it
        state = watching.below_signalled(state, tree, (main,))
    is_at_it = main.key in state.signalled_keys and not state.gave_up  # what is below it is left to it
    at_rest = _at_rest(state, processes, now_s)
    way = None if is_at_it or state.deadline_s is None else find_way(tree, main, left_s(state, now_s), at_rest)
    if way is not None and way.is_open and _receivers(state, tree, now_s):
        state = _follow(state, way, now_s)
        if _is_steady(state, way, now_s):
            return _hold(state, way, now_s)
        return look_again(state, LOOK_SOON_S, now_s), (), None
    state = replace(state, wrapped=Wrapped())
    reason = _why_ended(state, processes, now_s)
    if not reason:
        return look_again(state, _pause_s(state, processes, now_s), now_s), (), None
    state = note(state, reason)
    if main.is_at_prompt:
        return state, (), KillCause.PROMPT
    if way is None or not way.ends or way.wrappers[0].key in state.hold.refused:
        return state, (), KillCause.DEFAULT_ACTION
    return _hold(replace(state, wrapped=_wrapped(way, now_s, is_idle=True)), way, now_s)


# -- before: is it one that only waits? ------------------------------------------------------------


def _receivers(state: StopState, tree: Tree, now_s: float) -> list[Process]:
    """Return the top-most processes that receive the signal, have not got it, and were there before any was sent.

    What appears later was started by one that was signalled, and belongs to its shutdown. Exec sessions come last,
    and for their own sake alone nothing is held.
    """
    first = {process.key for process in state.watch.first}
    return [
        process
        for process in tree.top_receivers()
        if process.key in first
        and process.key not in state.signalled_keys | state.watch.sessions
        and not _may_be_at_it(state, tree, process, now_s)
    ]


def _may_be_at_it(state: StopState, tree: Tree, process: Process, now_s: float) -> bool:
    """Whether a process may be in its shutdown, as another one that was signalled has passed the signal on to it.

    Calm alone proves nothing: a shutdown waits for a peer, a lock, a child. So nothing of it may be able to wake
    either, but by a new client.
    """
    if not watching.may_have_been_notified(state, process):
        return False
    below = tree.below([process.key])
    group = [process, *(one for one in tree.by_pid.values() if one.key in below)]
    calm_s = now_s - max(watching.calm_since_s(state, one.key) for one in group)
    limit_s = left_s(state, now_s)
    return calm_s < watching.CALM_S or not all(_is_resting(one, limit_s) for one in group)


def _wrapped(way: Way, since_s: float, *, is_idle: bool = False) -> Wrapped:
    wrappers, ends = (tuple(process.key for process in found) for found in (way.wrappers, way.ends))
    return Wrapped(wrappers=wrappers, ends=ends, since_s=since_s, is_idle=is_idle)


def _follow(state: StopState, way: Way, now_s: float) -> StopState:
    """Remember since when the looks have shown this way."""
    wrapped, old = _wrapped(way, now_s), state.wrapped
    is_same = (wrapped.wrappers, wrapped.ends) == (old.wrappers, old.ends)
    return replace(state, wrapped=old if is_same else wrapped)


def _is_steady(state: StopState, way: Way, now_s: float) -> bool:
    """Whether the wrappers have waited for the same children for a while, and have not run in between.

    ``producer | while read line`` waits for each of its commands in turn, and must go on to the next.
    """
    if any(process.key in state.hold.refused for process in way.wrappers):
        return False
    idle_s = now_s - watching.last_run_s(state, way.wrappers)
    is_old = all(process.age_s >= STEADY_AGE_S for process in way.ends)
    return is_old and min(idle_s, now_s - state.wrapped.since_s) >= STILL_S


def _hold(state: StopState, way: Way, now_s: float) -> Outcome:
    if state.request.on_wrapper is OnWrapper.CONTINUE:
        return look_again(replace(state, wrapped=replace(state.wrapped, is_begun=True)), 0.0, now_s), (), None
    state = replace(state, wrapped=replace(state.wrapped, is_begun=True))
    state, actions = holding.ask_to_hold(state, way.wrappers, WHY_HELD, now_s)
    return state, actions, None


# -- after: one after the other, and then the end --------------------------------------------------


def _go_on(state: StopState, tree: Tree, processes: tuple[Process, ...], now_s: float) -> Outcome:
    """The wrappers are held: signal the next program, or end PID 1 when nothing is left that could do anything."""
    wrapped = state.wrapped
    is_signalled_alive = any(process.key in state.signalled_keys and not process.is_main for process in processes)
    loose = _not_held(state, wrapped.wrappers, processes)
    if loose and is_signalled_alive and not any(one.key in state.hold.refused for one in loose):
        state, actions = holding.ask_to_hold(state, loose, WHY_HELD, now_s)  # the tracer or the driver has died
        return state, actions, None
    if loose or not _is_as_it_was(state, tree):
        return _begin_anew(state, now_s)
    if is_signalled_alive and not _is_share_over(state, tree, now_s):
        return look_again(state, LOOK_LATER_S, now_s), (), None
    targets = _next_targets(state, tree, now_s)
    keys = tuple(above.key for target in targets for above in tree.ancestors(target) if not above.disposition.receives)
    loose = _not_held(state, keys, processes)
    if loose:
        state, actions = holding.ask_to_hold(state, loose, WHY_HELD, now_s)
        return state, actions, None
    if targets:
        occasion = Occasion.DEFAULT_ACTION if wrapped.is_idle else Occasion.PROGRAM
        state, actions, _ = signal(watching.below_signalled(state, tree, targets), targets, occasion, now_s)
        return look_again(state, LOOK_LATER_S, now_s), actions, None
    if is_signalled_alive:
        return look_again(state, LOOK_LATER_S, now_s), (), None
    if state.request.on_wrapper is OnWrapper.CONTINUE:  # it leaves by itself, or goes on to what follows
        return look_again(replace(state, wrapped=Wrapped()), LOOK_LATER_S, now_s), (), None
    return _end_when_still(state, processes, now_s)


def _not_held(state: StopState, keys: tuple[Key, ...], processes: tuple[Process, ...]) -> list[Process]:
    """Return which of these live and are not held, though they should be."""
    if state.request.on_wrapper is OnWrapper.CONTINUE:
        return []
    return [process for process in processes if process.key in keys and process.key not in state.hold.held]


def _end_when_still(state: StopState, processes: tuple[Process, ...], now_s: float) -> Outcome:
    """End PID 1 once nothing but what is held could do anything before the deadline."""
    others = tuple(rest(processes, state.hold.held))
    wake = container_wake(_evidence(others))
    if wake.in_s >= min(left_s(state, now_s), NEVER):
        if _is_still(state, others, now_s):
            return state, (), KillCause.WRAPPED
        return look_again(state, LOOK_SOON_S, now_s), (), None
    if _are_resting(state, others, now_s):
        return state, (), KillCause.WRAPPED
    if not any(text.startswith(_WHY_LATER) for text in state.notes):  # what it waits for counts down with each look
        state = note(state, f"{_WHY_LATER}: {wake.reason}")
    return look_again(state, LOOK_LATER_S, now_s), (), None


def _begin_anew(state: StopState, now_s: float) -> Outcome:
    """Let the wrappers go on: they cannot be held, or what they waited for has ended before it was signalled."""
    refused = state.hold.refused
    state, actions = holding.let_go(state)
    state = replace(state, wrapped=Wrapped(), hold=Hold(refused=refused))
    return look_again(state, LOOK_SOON_S, now_s), actions, None


def _is_as_it_was(state: StopState, tree: Tree) -> bool:
    """Whether what the wrappers wait for is still there, or was signalled. It may have ended just before the hold."""
    if state.signalled_keys & frozenset(state.wrapped.ends) or not state.wrapped.ends:
        return True
    alive = {process.key for process in tree.by_pid.values()}
    return all(key in alive for key in state.wrapped.ends)


def _next_targets(state: StopState, tree: Tree, now_s: float) -> list[Process]:
    """Return what is signalled now: first what is waited for, then the others, the newest first, sessions at the end.

    A service is mostly started after those that it needs.
    """
    ends = [p for p in tree.by_pid.values() if p.key in state.wrapped.ends and p.key not in state.signalled_keys]
    if state.wrapped.is_idle:
        return [process for process in ends if not process.disposition.receives]
    awaited = [process for process in ends if process.disposition.receives]
    left = [process for process in _receivers(state, tree, now_s) if _may_be_signalled(state, tree, process, now_s)]
    if awaited and not state.signalled_keys:
        return [max(awaited, key=_order)]
    if left:
        return [max(left, key=_order)]
    sessions = [p for p in tree.top_receivers() if p.key in state.watch.sessions and p.key not in state.signalled_keys]
    return [process for process in sessions if _may_be_signalled(state, tree, process, now_s)]


def _may_be_signalled(state: StopState, tree: Tree, process: Process, now_s: float) -> bool:
    """Whether what stands above can be held: it only waits for this process, and has for a while.

    What is at work above is not touched, and what it has started is left to it. Nor is a job that would give up, or
    what may pass the signal on to one (tini in an exec session).
    """
    limit_s = left_s(state, now_s)
    if not is_soft(tree, process, limit_s):
        return False
    if state.request.on_wrapper is OnWrapper.CONTINUE:
        return True
    return all(
        above.key not in state.hold.refused
        and waits_on_the_way(tree, above, process, limit_s)
        and now_s - watching.idle_since_s(state, above.key) >= STILL_S
        and process.age_s >= STEADY_AGE_S
        for above in not_held_above(tree, process, state.hold.held)
    )


def _order(process: Process) -> tuple[bool, Key]:
    """The newest is the greatest. What reads from a pipe inside ends by itself, at the end of what is written."""
    threads = process.evidence.threads if process.evidence else ()
    is_reader = any(thread.call in READS and any(fd.is_inside for fd in thread.fds) for thread in threads)
    return (not is_reader, (process.start_ticks, process.pid))


def _is_share_over(state: StopState, tree: Tree, now_s: float) -> bool:
    """Whether the program that was signalled last has used up its share of the grace."""
    left = len(_receivers(state, tree, now_s))
    if not left or state.deadline_s is None:
        return False
    last_s = max(one.at_s for one in state.signalled) + state.began_s
    return now_s - last_s >= (state.deadline_s - last_s) / (left + 1)


# -- nothing receives the signal ---------------------------------------------------------------------


def _why_ended(state: StopState, processes: tuple[Process, ...], now_s: float) -> str:
    """Return why the default action is carried out now (rule S14); "" while it is not."""
    tree, request = Tree(processes), state.request
    main = tree.main()
    if main is None or not _may_be_ended(state, processes):
        return ""
    if main.is_at_prompt:
        return f"a shell alone at its prompt: {named(main)} ends by SIGHUP there, which the kernel does not deliver"
    is_young = now_s - state.born_s < request.start_window_s
    if request.on_deaf is OnDeaf.END:
        return "" if is_young else f"{named(main)} does not receive the signal, and --deaf end was given"
    if any(process.evidence is None for process in processes) or _receivers(state, tree, now_s):
        return ""
    limit_s = left_s(state, now_s)
    if container_wake(_evidence(processes)).in_s >= min(limit_s, NEVER) and _is_still(state, processes, now_s):
        return f"nothing in the container could wake before the deadline: {_words(processes)}"
    if not _are_resting(state, processes, now_s):
        return ""
    return f"a listener at rest, without CPU time for {REST_S:g} s: {_words(processes)}"


def _are_resting(state: StopState, processes: tuple[Process, ...], now_s: float) -> bool:
    """Whether each is a listener at rest, or cannot wake; not while one may be about to install a handler.

    Once that has been found, the end of what was signalled for it is no sign of work.
    """
    is_young = now_s - state.born_s < state.request.start_window_s
    is_quiet = state.wrapped.is_idle or now_s - max(state.watch.worked_s, state.watch.changed_s) >= REST_S
    limit_s = left_s(state, now_s)
    return is_quiet and not is_young and all(_is_resting(process, limit_s) for process in processes)


def _at_rest(state: StopState, processes: tuple[Process, ...], now_s: float) -> frozenset[Key]:
    """Return what does not receive the signal, where all of that is at rest: each may be at work for another one."""
    others = tuple(process for process in processes if not process.disposition.receives)
    is_wanted = state.request.on_deaf is not OnDeaf.WAIT and _are_resting(state, others, now_s)
    return frozenset(process.key for process in others) if is_wanted else frozenset()


def _may_be_ended(state: StopState, processes: tuple[Process, ...]) -> bool:
    """Whether PID 1 may be ended before the deadline: it does not ignore the signal, and the caller lets it.

    A shell at its prompt does, but not what would end it there.
    """
    main = Tree(processes).main()
    is_left_alone = state.request.on_deaf is OnDeaf.WAIT or state.deadline_s is None
    is_ended = main is not None and (main.disposition is Disposition.DROPPED or main.is_at_prompt)
    return is_ended and not is_left_alone


def _is_still(state: StopState, processes: tuple[Process, ...], now_s: float) -> bool:
    """Whether these have not run for a moment, and none has come or gone.

    What waits for a child that has just ended has not run yet, and looks as if it waited for ever.
    """
    return now_s - max(watching.last_run_s(state, processes), state.watch.changed_s) >= STILL_S


def _is_resting(process: Process, limit_s: float) -> bool:
    if is_passive(process, limit_s):
        return True
    return process.evidence is not None and is_at_rest(process, process.evidence, within_s=limit_s)[0]


def _evidence(processes: tuple[Process, ...]) -> list[tuple[Process, Evidence | None]]:
    return [(process, process.evidence) for process in processes]


def _words(processes: tuple[Process, ...]) -> str:
    """What each of the first few waits for, for the report."""
    return "; ".join(process_wake(one, one.evidence).reason for one in processes[:8] if one.evidence is not None)


def _pause_s(state: StopState, processes: tuple[Process, ...], now_s: float) -> float:
    """Return when to look again: soon where two looks decide, else as its age has it."""
    limit_s = left_s(state, now_s)
    if _may_be_ended(state, processes) and all(is_passive(process, limit_s) for process in processes):
        return LOOK_SOON_S
    is_young = now_s - state.born_s < state.request.start_window_s
    first_s = LOOK_YOUNG_S if is_young else LOOK_LATER_S
    return max(first_s, min((now_s - state.began_s) / 10, 4 * first_s))  # a look reads much

"""Exec sessions within the telling phase (rule S16): ways of their own beside PID 1, by the same rules. Pure.

Whoever entered from outside is below nobody of the container, and no signal of PID 1's reaches it. It is told when
PID 1 is, and its waves wait for those of the sessions alone. It gets SIGTERM: the stop signal is a word between the
image and its own program, and the trigger of an init even more so. A session that began later was begun in the
knowledge of the stop: it is left to work until the last call. A PID 1 that is to be ended is ended after the sessions
that are at work on their own end, because they would go with it.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bento.stop import asking, telling, watching
from bento.stop.actions import Action, Persist
from bento.stop.inputs import Looked
from bento.stop.plan import Tree, make_plan
from bento.stop.process import Key, Process
from bento.stop.states import StopState, Timer

SIGNAL: Final = 15

Outcome = tuple[StopState, tuple[Action, ...], bool]


class _Groups(Struct, frozen=True):
    """A look, divided. Who is of a session stays so, also when its parents have left it to PID 1."""

    own: tuple[Process, ...]  # PID 1 and who is below
    known: tuple[Process, ...]  # of the sessions that are told
    members: frozenset[Key]  # of all sessions
    late: frozenset[Key]  # of those that are left to work


def after_look(state: StopState, look: Looked, now_s: float) -> Outcome:
    """Decide on a look within the grace: what PID 1 and its own are told, and what the sessions are."""
    decide = asking.after_look if asking.is_in_charge(state) else telling.after_look
    groups = _divided(state, look.processes)
    if groups is None:
        return decide(state, look, now_s)
    before = _without(state)
    after, actions, end_main = decide(before, Looked(groups.own, look.is_frozen), now_s)
    after = replace(after, signalled=state.signalled + after.signalled[len(before.signalled) :])
    after, more = _tell(state, _remember(after, groups), Looked(groups.known, look.is_frozen), now_s)
    if Persist() in actions:  # it writes what was decided for the sessions, too
        more = tuple(action for action in more if action != Persist())
    if end_main and _are_busy(after, groups.known):
        return replace(after, timers=after.timers | {Timer.LOOK: now_s + telling.LOOK_SOON_S}), (*actions, *more), False
    return after, (*actions, *more), end_main


def watch(state: StopState, look: Looked, now_s: float) -> StopState:
    """Fold a look into what the stop remembers, when nobody is to be told any more."""
    groups = _divided(state, look.processes)
    if groups is None:
        return watching.watch(state, look, now_s)
    after = watching.watch(_without(state), Looked(groups.own, look.is_frozen), now_s)
    seen = watching.watch(_alone(state), Looked(groups.known, look.is_frozen), now_s)
    return _remember(replace(after, signalled=state.signalled, sessions=seen.watch), groups)


def _divided(state: StopState, processes: tuple[Process, ...]) -> _Groups | None:
    """Divide a look into PID 1's own and the sessions; None when there are none, and never were any."""
    there = frozenset(process.key for process in processes)
    came_in = frozenset(process.key for process in processes if process.is_entered)
    roots = came_in | (state.in_sessions & there)
    if not roots and not state.sessions.looks:
        return None
    tree = Tree(processes)
    members = roots | tree.below(roots)
    late = state.late & there
    if state.signalled or state.init_requests:
        late |= came_in - state.in_sessions
    late |= tree.below(late)
    left_out = frozenset() if telling.is_last_call(state) else late
    return _Groups(
        own=tuple(process for process in processes if process.key not in members),
        known=tuple(process for process in processes if process.key in members - left_out),
        members=members,
        late=late,
    )


def _remember(state: StopState, groups: _Groups) -> StopState:
    return replace(state, in_sessions=groups.members, late=groups.late)


def _without(state: StopState) -> StopState:
    """The stop as if there were no sessions."""
    return replace(state, signalled=tuple(one for one in state.signalled if not one.session))


def _alone(state: StopState) -> StopState:
    """The stop as if there were nothing but sessions. Their signalled are its own there."""
    request = replace(state.request, signal=SIGNAL)
    theirs = tuple(replace(one, session=False) for one in state.signalled if one.session)
    return replace(state, request=request, watch=state.sessions, signalled=theirs)


def _tell(state: StopState, after: StopState, look: Looked, now_s: float) -> tuple[StopState, tuple[Action, ...]]:
    """Have the sessions told by the rules of the telling phase. ``after``: what was decided for PID 1 in this look."""
    before = _alone(state)
    done, actions, _ = telling.after_look(before, look, now_s)
    new = tuple(
        replace(one, session=True, why=f"exec session: {one.why}") for one in done.signalled[len(before.signalled) :]
    )
    look_s = min(timers[Timer.LOOK] for timers in (after.timers, done.timers) if Timer.LOOK in timers)
    after = replace(after, sessions=done.watch, signalled=after.signalled + new)
    return replace(after, timers=after.timers | {Timer.LOOK: look_s}), actions


def _are_busy(state: StopState, processes: tuple[Process, ...]) -> bool:
    """Whether somebody of the sessions was told and is there, or is still to be told."""
    plan = make_plan(processes)
    waited = {process.key for process in (*plan.hearing, *plan.plain)} - state.sessions.answered
    return bool(waited | (state.told & {process.key for process in processes}))

"""What the looks of a stop have shown over time, and what follows from it (rules S12 - S15). Pure."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.model.stop import Signalled
from bento.stop.inputs import Looked
from bento.stop.plan import Plan, Tree, program
from bento.stop.process import Disposition, Key, Process
from bento.stop.states import Mark, StopState

FIRST_MAX: Final = 8192  # processes that a stop remembers
UNMOVED_S: Final = 0.5  # a wrapper, or a shell with a trap, that has not moved for so long
PLAIN_AFTER_HEARERS_S: Final = 0.1  # lets a reader end by end-of-file first
PLAIN_BUSY_S: Final = 2.0  # a reader that still works on what it has read, such as gzip, gets so long


def watch(state: StopState, look: Looked, now_s: float) -> StopState:
    """Fold a look into what the stop remembers."""
    old = state.watch
    keys = frozenset(process.key for process in look.processes)
    cpu_ticks = sum(process.cpu_ticks for process in look.processes)
    main = Tree(look.processes).main()
    has_worked = main is not None and (old.main is None or main.cpu_ticks != old.main.cpu_ticks)
    is_deaf = main is not None and main.disposition is Disposition.DROPPED
    blocked_since = dict(old.blocked)
    blocked = [process.key for process in look.processes if process.disposition is Disposition.BLOCKED]
    hearers = {(telling.pid, telling.start_ticks) for telling in state.signalled if telling.wave == 1}
    heard_out = bool(hearers) and not hearers & keys
    new = replace(
        old,
        first=old.first if state.signalled else _joined(old.first, look.processes)[:FIRST_MAX],
        main=main or old.main,
        keys=keys,
        cpu_ticks=cpu_ticks,
        changed_s=now_s if keys != old.keys else old.changed_s,
        worked_s=now_s if cpu_ticks != old.cpu_ticks else old.worked_s,
        blocked=tuple((key, blocked_since.get(key, now_s)) for key in blocked),
        main_worked_s=now_s if has_worked else old.main_worked_s,
        deaf_since_s=(old.deaf_since_s if old.deaf_since_s is not None else now_s) if is_deaf else None,
        hearers_left_s=(old.hearers_left_s if old.hearers_left_s is not None else now_s) if heard_out else None,
        looks=old.looks + 1,
    )
    state = replace(state, watch=new)
    return _mark_reaction(state, look, now_s)


def _joined(old: tuple[Process, ...], new: tuple[Process, ...]) -> tuple[Process, ...]:
    """Newcomers before anybody was told were there at the beginning as well: a look misses who is just forked."""
    known = {process.key for process in old}
    return old + tuple(process for process in new if process.key not in known)


def _mark_reaction(state: StopState, look: Looked, now_s: float) -> StopState:
    """Mark the first sign that a telling was noticed: somebody told left, changed its mask, or worked."""
    if not state.signalled or any(mark.name == "reaction" for mark in state.marks):
        return state
    by_key = {process.key: process for process in look.processes}
    before = {process.key: process for process in state.watch.first}
    for told in state.told:
        now, then = by_key.get(told), before.get(told)
        if now is None or (then and (now.cpu_ticks > then.cpu_ticks or now.disposition is not then.disposition)):
            return replace(state, marks=(*state.marks, Mark("reaction", now_s)))
    return state


def remember(state: StopState, plan: Plan, tree: Tree, opened: frozenset[Key], unsure: frozenset[Key]) -> StopState:
    """Remember wrappers, and who is left to somebody above, also once that one has left and they are orphans."""
    wrappers = state.watch.wrappers | {process.key for process in plan.wrappers if tree.children(process)}
    owners = {process.key for process in plan.hearing} - tree.above(opened) - unsure
    # Who turned out not to hear has told nobody.
    told_deaf = {key for key in state.told - owners if any(p.key == key for p in plan.wrappers)}
    # Where PID 1 has left somebody behind, it will not tell them any more. Sessions never had one.
    before = state.watch.answered if tree.main() or state.watch.main is None else frozenset()
    answered = before - tree.below(told_deaf | opened) - opened | tree.below(owners)
    return replace(state, watch=replace(state.watch, wrappers=wrappers, answered=answered))


def signalled_of(state: StopState, key: Key) -> Signalled | None:
    """Return how this process was told; None: it was not."""
    return next((telling for telling in state.signalled if (telling.pid, telling.start_ticks) == key), None)


def first_keys(state: StopState) -> frozenset[Key]:
    """Return everybody who was there before anybody was told."""
    return frozenset(process.key for process in state.watch.first)


def is_quiet(state: StopState, now_s: float) -> bool:
    """Whether nobody has come, gone, or worked for a while."""
    return now_s - max(state.watch.changed_s, state.watch.worked_s) >= UNMOVED_S


def was_told_before(state: StopState, process: Process) -> bool:
    """Whether a newcomer runs what somebody ran who was told: then its wrapper restarts it."""
    same = {p.key for p in state.watch.first if p.argv == process.argv and program(p) == program(process)}
    return bool(same & state.told)


def are_readers_at_work(state: StopState, now_s: float) -> bool:
    """Whether those who read what the hearers wrote may still be at it."""
    left_s = state.watch.hearers_left_s
    if left_s is None:
        return False
    is_working = now_s - state.watch.worked_s < PLAIN_AFTER_HEARERS_S and now_s - left_s < PLAIN_BUSY_S
    return is_working or now_s - left_s < PLAIN_AFTER_HEARERS_S

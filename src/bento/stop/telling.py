"""The telling phase: after each look, who is told now, and when to look again (rules S12 - S15). Pure."""

from __future__ import annotations

import math
from typing import Final

from msgspec.structs import replace

from bento.model.stop import OnDeaf, Signalled
from bento.stop import watching
from bento.stop.actions import Action, Persist, SendSignal
from bento.stop.inputs import Looked
from bento.stop.plan import (
    Plan,
    Tree,
    is_forwarder,
    is_shell,
    last_call_targets,
    make_plan,
    program,
    tells_only_its_child,
)
from bento.stop.process import Disposition, Key, Process
from bento.stop.states import Mark, StopState, Timer
from bento.stop.watching import UNMOVED_S

LOOK_SOON_S: Final = 0.05
LOOK_AT_ONCE_S: Final = 0.01
LOOK_LATER_S: Final = 1.0
BLOCKED_FOR_S: Final = 0.01
"""Whoever starts a process blocks every signal for a moment (glibc's posix_spawn, dash, bash), and is not one that
reads signals. A shell never is: it gets UNMOVED_S."""
DEAF_FOR_S: Final = 0.05  # deaf in two looks that far apart
RESTARTS_TOLD: Final = 3  # of a program that something restarts again and again
SWALLOWED_IDLE_S: Final = 1.0
"""A program that dropped its handler when told may be cleaning up with the default action restored, as many
do so that a second Ctrl-C ends them, or may have raised the signal again into nothing (node). Only one that
uses no CPU time for this long is taken to have finished with the matter, and only when it is known for it:
others may be waiting for a disk or a network, and are left in peace for half of the grace."""
SWALLOWERS: Final = frozenset({"node", "nodejs"})

Outcome = tuple[StopState, tuple[Action, ...], bool]
"""The state, what to do, and whether PID 1 is to be ended by its default action."""


def last_call_lead_s(state: StopState, now_s: float) -> float:
    """Return how long before the deadline the last call goes out (rule S15); 0: not at all."""
    left_s = max(0.0, state.deadline_s - now_s) if state.deadline_s is not None else 0.0
    wanted_s = state.request.last_call_s
    return min(2.0, left_s / 5) if wanted_s is None else min(wanted_s, left_s)


def after_look(state: StopState, look: Looked, now_s: float) -> Outcome:
    """Decide on a look within the grace."""
    state = watching.watch(state, look, now_s)
    processes = tuple(_as_it_acts(state, process, now_s) for process in look.processes)
    if is_last_call(state):
        return _last_call(state, processes, now_s)
    tree = Tree(processes)
    opened = _opened(state, Tree(look.processes), now_s)  # as the masks are: who has dropped its trap has run it
    plan = make_plan(processes, opened=opened)
    unsure = frozenset() if look.is_frozen else _unsure(state, processes, now_s)
    state = watching.remember(state, plan, tree, opened, unsure)
    waiting = tree.above(opened)  # told, by us or through an init, and waiting for what is to be told now
    not_now = waiting | unsure
    hearing = [process for process in plan.hearing if process.key not in not_now and _is_due(state, process, now_s)]
    is_heard = bool(unsure) or any(process.key in state.told - waiting for process in plan.hearing)
    plain, is_respawning = ([], False) if hearing or is_heard else _due_plain(state, plan, tree, now_s)
    if hearing or plain:
        state, actions = _tell(state, hearing, plain, now_s)
        return _look_again(state, LOOK_SOON_S, now_s), actions, False
    if _may_end_main(state, plan, tree, now_s, is_respawning=is_respawning):
        return state, (), True
    return _look_again(state, LOOK_AT_ONCE_S if unsure else _pause_s(state, now_s), now_s), (), False


# -- who is due ----------------------------------------------------------------------------------


def _as_it_acts(state: StopState, process: Process, now_s: float) -> Process:
    """What a process that was told does about it counts for more than its masks."""
    told = watching.signalled_of(state, process.key)
    if told is None or told.wave != 1:
        return process
    told_s = told.at_s + state.began_s
    if process.disposition is Disposition.BLOCKED:
        # The signal is still pending, and nobody reads it: it does not hear.
        is_unread = process.is_pending and not process.is_halted and now_s - told_s >= UNMOVED_S
        return replace(process, disposition=Disposition.IGNORED) if is_unread else process
    if process.disposition.receives or (process.is_main and _has_swallowed(state, process, told_s, now_s)):
        return process
    # It dropped its handler and lives on: it is at its clean-up, and still answers for its own children.
    return replace(process, disposition=Disposition.HANDLED)


def _has_swallowed(state: StopState, main: Process, told_s: float, now_s: float) -> bool:
    """Whether PID 1, deaf since it was told, has finished with the matter (see SWALLOWED_IDLE_S)."""
    seen, request = state.watch, state.request
    patience_s = SWALLOWED_IDLE_S
    if program(main) not in SWALLOWERS:
        if len(seen.keys) > 1:  # its handler has run, and may have told its children
            return False
        patience_s = max(patience_s, request.grace_s / 2 if request.may_kill else SWALLOWED_IDLE_S * 10)
    return now_s - max(told_s, seen.main_worked_s, seen.changed_s) >= patience_s


def _unsure(state: StopState, processes: tuple[Process, ...], now_s: float) -> frozenset[Key]:
    """Return who blocks the signal, maybe for a moment only (see BLOCKED_FOR_S). Newcomers are waited for by nobody."""
    since, candidates = dict(state.watch.blocked), watching.first_keys(state) - state.told
    return frozenset(
        process.key
        for process in processes
        if process.key in candidates
        and not is_forwarder(process)
        and now_s - since.get(process.key, -math.inf) < (UNMOVED_S if is_shell(process) else BLOCKED_FOR_S)
    )


def _is_due(state: StopState, process: Process, now_s: float) -> bool:
    """Whether somebody who hears is to be told now."""
    if process.key in state.told | state.watch.answered:
        return False
    if process.key in state.watch.wrappers and is_forwarder(process):
        # It wrapped something that has left; told now, it would end the shell that is about to go on.
        return watching.is_quiet(state, now_s)
    return not _is_next_command(state, process) and not _is_restarted_for_ever(state, process)


def _is_next_command(state: StopState, process: Process) -> bool:
    """Whether a newcomer is what a wrapper went on to, such as a clean-up. It is left to work."""
    if process.key in watching.first_keys(state) or watching.was_told_before(state, process):
        return False
    return process.ppid in {pid for pid, _ in state.watch.wrappers}


def _is_restarted_for_ever(state: StopState, process: Process) -> bool:
    if process.key in watching.first_keys(state) or not watching.was_told_before(state, process):
        return False
    name, first = program(process), state.watch.first
    there = sum(program(one) == name for one in first)
    return sum(telling.comm == name for telling in state.signalled) >= there + RESTARTS_TOLD


def _opened(state: StopState, tree: Tree, now_s: float) -> frozenset[Key]:
    """Return what shells with a trap, that were told and have not moved, wait for."""
    opened: set[Key] = set()
    first = {process.key: process.ppid for process in state.watch.first}
    for process in tree.by_pid.values():
        told_s = _shell_told_s(state, tree, process)
        if told_s is None or now_s - told_s < UNMOVED_S:
            continue
        children = tree.children(process)
        if all(child.key in first for child in children):  # else it has moved: its trap runs a command
            # A shell does not wait for its background jobs: its trap has run, and may have told them itself.
            # Nor for orphans that came to it as PID 1.
            opened |= {c.key for c in children if not c.is_background and first[c.key] == process.pid}
    return frozenset(opened)


def _shell_told_s(state: StopState, tree: Tree, process: Process) -> float | None:
    """When a shell with a trap was told, by us or by an init above it that was told; None: neither, or no shell."""
    if not is_shell(process) or not process.disposition.receives:
        return None
    told = watching.signalled_of(state, process.key)
    for above in tree.ancestors(process) if told is None else ():
        if not tells_only_its_child(above):
            break
        told = told or watching.signalled_of(state, above.key)
    return told.at_s + state.began_s if told else None


def _due_plain(state: StopState, plan: Plan, tree: Tree, now_s: float) -> tuple[list[Process], bool]:
    """Return who is to be told now in wave 2, and whether PID 1 keeps restarting what was told.

    Only asked when nobody of wave 1 is left who was told and could still be working.
    """
    told, first, is_quiet = state.told, watching.first_keys(state), watching.is_quiet(state, now_s)
    plain: list[Process] = []
    is_respawning = False
    are_readers_at_work = watching.are_readers_at_work(state, now_s)
    restarted = [process for process in plan.hearing if _is_restarted_for_ever(state, process)]
    for process in (*plan.plain, *restarted):
        if process.key in told | state.watch.answered:
            continue
        if process.key in state.watch.wrappers:
            # It wrapped something that has left; normally it leaves by itself now, with its child's status.
            if is_quiet:
                plain.append(process)
        elif process.key in first:
            if not are_readers_at_work:
                plain.append(process)
        elif watching.was_told_before(state, process):
            wrapper = tree.by_pid.get(process.ppid)
            if wrapper is not None and wrapper.is_main:
                is_respawning = True
            elif wrapper is not None and wrapper.key not in told and wrapper not in plain:
                plain.append(wrapper)
    is_somebody_working = any(_is_next_command(state, process) for process in (*plan.plain, *plan.hearing))
    return plain, is_respawning and not is_somebody_working


def _may_end_main(state: StopState, plan: Plan, tree: Tree, now_s: float, *, is_respawning: bool) -> bool:
    """Whether PID 1 is deaf, alone, and past the time in which it might still learn to hear (rule S14)."""
    main, seen = tree.main(), state.watch
    if main is None or main.disposition is not Disposition.DROPPED or state.request.on_deaf is OnDeaf.WAIT:
        return False
    if seen.deaf_since_s is None or now_s - seen.deaf_since_s < DEAF_FOR_S:
        return False
    if is_respawning:
        return True
    if len(tree.by_pid) > 1:  # somebody is below: told and busy, or at a wrapper's own clean-up
        return False
    if main.key in state.told:  # and has swallowed it, or it would not be shown as deaf
        return True
    if len(seen.first) > 1 and not watching.is_quiet(state, now_s):
        return False
    return now_s - state.born_s >= state.request.start_window_s


# -- telling -------------------------------------------------------------------------------------


def _tell(
    state: StopState, hearing: list[Process], plain: list[Process], now_s: float
) -> tuple[StopState, tuple[Action, ...]]:
    signalled = [_telling(state, process, 1, now_s) for process in hearing]
    signalled += [_telling(state, process, 2, now_s) for process in plain]
    return _record(state, signalled, [*hearing, *plain])


def _record(
    state: StopState, signalled: list[Signalled], targets: list[Process]
) -> tuple[StopState, tuple[Action, ...]]:
    """Persist before sending: after a crash in between, nobody is told twice."""
    state = replace(state, signalled=(*state.signalled, *signalled))
    number = state.request.signal
    tells = (SendSignal(target.pid, target.start_ticks, number, target.is_halted) for target in targets)
    return state, (Persist(), *tells)


def _telling(state: StopState, process: Process, wave: int, now_s: float) -> Signalled:
    if wave == 3:
        why = "last call: nobody else can have told it"
    elif process.is_main and state.watch.looks > 1 and not is_forwarder(process):
        why = "PID 1, as soon as it could hear"
    elif process.key in state.watch.wrappers:
        why = "a wrapper that did not leave with its child"
    elif wave == 2:
        why = "would only die of the default action"
    else:
        why = "PID 1" if process.is_main else "the first on its way down that hears"
    return Signalled(
        pid=process.pid,
        start_ticks=process.start_ticks,
        comm=program(process),
        at_s=now_s - state.began_s,
        why=why,
        receives=process.disposition.value,
        wave=wave,
    )


def is_last_call(state: StopState) -> bool:
    """Whether the last call is due and has not been made: its mark is there and its signalled are not."""
    called = any(mark.name == "last call" for mark in state.marks)
    return called and not any(mark.name == "last call made" for mark in state.marks)


def _last_call(state: StopState, processes: tuple[Process, ...], now_s: float) -> Outcome:
    targets = list(last_call_targets(processes, state.told | state.watch.answered))
    state = replace(state, marks=(*state.marks, Mark("last call made", now_s)))
    signalled = [_telling(state, process, 3, now_s) for process in targets]
    state, actions = _record(state, signalled, targets)
    return _look_again(state, LOOK_SOON_S, now_s), actions if targets else (Persist(),), False


# -- looking again -------------------------------------------------------------------------------


def _pause_s(state: StopState, now_s: float) -> float:
    """How long until the next look: soon while something may be decided by it, seldom while a program works."""
    seen = state.watch
    if seen.deaf_since_s is not None:
        return LOOK_SOON_S
    last_s = max([seen.changed_s, *(telling.at_s + state.began_s for telling in state.signalled)])
    if now_s - last_s < 2 * UNMOVED_S:
        return LOOK_SOON_S
    return LOOK_LATER_S


def _look_again(state: StopState, pause_s: float, now_s: float) -> StopState:
    return replace(state, timers=state.timers | {Timer.LOOK: now_s + pause_s})

"""What the looks of a stop have shown over time, and what follows from it (rules S12 - S16). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from bento.stop.inputs import Looked
from bento.stop.methods import SIGNAL
from bento.stop.process import Disposition, Key, Process
from bento.stop.rules.tree import Tree, entered, is_shell
from bento.stop.states import Idle, Mark, StopState

FIRST_MAX: Final = 1024  # processes that a stop remembers
LATER_MAX: Final = 256
CALM_S: Final = 0.5  # without work: a process that another may have notified does nothing about it
TURNS_OF_CALM: Final = 3  # context switches from one look to the next of a process that only ticks
_RESUMED: Final = "restart_syscall"  # any call with a timeout, once it was interrupted, such as by the freezer
UNREAD_S: Final = 0.5  # a signal that is still pending after so long is read by no thread
BLOCKED_FOR_S: Final = 0.01
"""What starts a process blocks every signal for a moment (glibc's posix_spawn, dash, bash), and is not one that reads
signals. A shell never is: it gets UNREAD_S."""


def watch(state: StopState, look: Looked, now_s: float) -> StopState:
    """Fold a look into what the stop remembers."""
    old, tree = state.watch, Tree(look.processes)
    keys = frozenset(tree_keys(look))
    cpu_ticks = sum(process.cpu_ticks for process in look.processes)
    blocked_since = dict(old.blocked)
    is_asked = bool(state.init_requests) and state.method != SIGNAL  # what an init begins then is its shutdown
    is_before = not state.signalled and not is_asked
    roots = entered(look.processes) | (old.sessions & keys)
    first = _joined(old.first, look.processes)[:FIRST_MAX] if is_before else old.first
    new = replace(
        old,
        first=first,
        receivers=frozenset(p.key for p in first if p.disposition.receives) if is_before else old.receivers,
        later=old.later if is_before else _joined(old.first + old.later, look.processes)[len(old.first) :][:LATER_MAX],
        main=tree.main() or old.main,
        keys=keys,
        sessions=roots | tree.below(roots) if roots else roots,
        idle=_idle(old.idle, look.processes, now_s),
        before=tuple((p.key, p.switches) for p in look.processes) if is_before else old.before,
        calls=tuple((p.key, p.call) for p in look.processes if p.call not in ("", _RESUMED))
        if is_before
        else old.calls,
        parents=frozenset(p.key for p in look.processes if tree.children(p)) if is_before else old.parents,
        cpu_ticks=cpu_ticks,
        changed_s=now_s if keys != old.keys else old.changed_s,
        worked_s=now_s if cpu_ticks != old.cpu_ticks else old.worked_s,
        blocked=tuple(
            (process.key, blocked_since.get(process.key, now_s))
            for process in look.processes
            if process.disposition is Disposition.BLOCKED
        ),
        looks=old.looks + 1,
    )
    return _mark_reaction(replace(state, watch=new), look, now_s)


def tree_keys(look: Looked) -> list[Key]:
    """Return the keys of all processes of a look."""
    return [process.key for process in look.processes]


def _joined(old: tuple[Process, ...], new: tuple[Process, ...]) -> tuple[Process, ...]:
    """Newcomers before the first signal were there at the beginning as well: a look misses what is just forked."""
    known = {process.key for process in old}
    return old + tuple(_remembered(process) for process in new if process.key not in known)


def _remembered(process: Process) -> Process:
    """A shell reads no signal that it blocks: it is kept in mind as what it is once it has started its command."""
    blocks = process.disposition is Disposition.BLOCKED
    shown = process.unblocked if blocks and is_shell(process) else process.disposition
    return replace(process, evidence=None, disposition=shown)


def _idle(old: tuple[Idle, ...], processes: tuple[Process, ...], now_s: float) -> tuple[Idle, ...]:
    known = {one.key: one for one in old}
    found = []
    for process in processes:
        before = known.get(process.key)
        if before is None:
            found.append(Idle(process.key, process.switches, now_s, process.cpu_ticks, now_s))
            continue
        turns = process.switches - before.switches
        is_calm = 0 <= turns <= TURNS_OF_CALM and process.cpu_ticks == before.cpu_ticks
        since_s, calm_s = now_s if turns else before.since_s, before.calm_s if is_calm else now_s
        found.append(Idle(process.key, process.switches, since_s, process.cpu_ticks, calm_s))
    return tuple(found)


def _mark_reaction(state: StopState, look: Looked, now_s: float) -> StopState:
    """Mark the first sign that a signal was noticed: a process left, changed its mask, or worked."""
    if not state.signalled or any(mark.name == "reaction" for mark in state.marks):
        return state
    by_key = {process.key: process for process in look.processes}
    before = {process.key: process for process in state.watch.first}
    for key in state.signalled_keys:
        now, then = by_key.get(key), before.get(key)
        if now is None or (then and (now.cpu_ticks > then.cpu_ticks or now.disposition is not then.disposition)):
            return replace(state, marks=(*state.marks, Mark("reaction", now_s)))
    return state


def signalled_at_s(state: StopState, key: Key) -> float | None:
    """Return when this process got the signal from us, on the machine's clock; None: it did not."""
    at_s = (one.at_s for one in state.signalled if (one.pid, one.start_ticks) == key)
    found = next(at_s, None)
    return None if found is None else found + state.began_s


def idle_since_s(state: StopState, key: Key) -> float:
    """Return since when a process has not run, in every look since; infinity for one that no look has shown."""
    return next((one.since_s for one in state.watch.idle if one.key == key), float("inf"))


def calm_since_s(state: StopState, key: Key) -> float:
    """Return since when a process has not worked in any look (see Idle); infinity for one that no look has shown."""
    return next((one.calm_s for one in state.watch.idle if one.key == key), float("inf"))


def last_run_s(state: StopState, processes: Iterable[Process]) -> float:
    """Return when one of these was last seen to have run; 0 for none of them."""
    times = {one.key: one.since_s for one in state.watch.idle}
    return max((times.get(process.key, float("inf")) for process in processes), default=0.0)


def below_signalled(state: StopState, tree: Tree, targets: Iterable[Process]) -> StopState:
    """Remember what is below these, which are signalled now: they may pass the signal on, and leave it to PID 1."""
    answered = state.watch.answered | tree.below(target.key for target in targets)
    return replace(state, watch=replace(state.watch, answered=answered))


def may_have_been_notified(state: StopState, process: Process) -> bool:
    """Whether a process was below one that was signalled, and has run since."""
    return process.key in state.watch.answered and not is_certainly_unsignalled(state, process)


def is_certainly_unsignalled(state: StopState, process: Process) -> bool:
    """Whether no thread of a process has run since before PID 1 was signalled: so no signal was delivered to it."""
    return any(key == process.key and turns == process.switches for key, turns in state.watch.before)


def has_left_its_wait(state: StopState, process: Process) -> bool:
    """Whether a process is blocked in another system call than before PID 1 was signalled: it is at something.

    A server waits for clients; while it saves, it sleeps, or waits for the disk.
    """
    before = next((call for key, call in state.watch.calls if key == process.key), "")
    return bool(before and process.call) and process.call not in (before, _RESUMED)


def as_it_acts(state: StopState, process: Process, now_s: float) -> Process:
    """What a process does about the signal counts for more than its masks.

    A signal that is still pending after UNREAD_S is read by no thread: such a process does not receive it. One that
    may block it for a moment only is what it is without that; for PID 1 the next look is awaited instead.
    """
    if process.disposition is not Disposition.BLOCKED:
        return process
    at_s = signalled_at_s(state, process.key)
    if process.is_pending and not process.is_halted and at_s is not None and now_s - at_s >= UNREAD_S:
        return replace(process, disposition=Disposition.IGNORED)
    if not process.is_main and may_block_for_a_moment(state, process, now_s):
        return replace(process, disposition=process.unblocked)
    return process


def may_block_for_a_moment(state: StopState, process: Process, now_s: float) -> bool:
    """Whether a process may block the signal only while it starts another (see BLOCKED_FOR_S).

    ``while read line`` starts a command for each line: two looks meet it at two of them. So of a shell only the time
    counts in which it has not run.
    """
    since_s = dict(state.watch.blocked).get(process.key)
    if since_s is None:
        return False
    if not is_shell(process):
        return now_s - since_s < BLOCKED_FOR_S
    began_s = since_s if process.is_main else max(since_s, idle_since_s(state, process.key))
    return now_s - began_s < UNREAD_S

"""A shell that has only noted the signal, and runs its trap when its foreground child ends (rule S13.3). Pure.

The tracer has seen it go from the signal straight back into the wait that it was in. Its foreground child then gets the
signal where that costs nothing: it is a mere waiter, in which nothing can wake before the deadline, or it is a server
that receives the signal. No other child does: the trap may signal it, in an order of its own.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.model.stop import Occasion
from bento.stop.process import Key, Process
from bento.stop.rules import watching
from bento.stop.rules.signalling import Outcome, left_s, signal
from bento.stop.rules.tree import Tree, program
from bento.stop.rules.wrapping import is_passive, waits_for
from bento.stop.states import StopState

BACK_S: Final = 1.0
"""So long after the signal a shell may still be on its way back into its wait: a busy machine lets it wait to run."""
_SINGLE: Final = frozenset({"tini", "tini-static", "docker-init", "catatonit", "podman-init", "dumb-init"})
"""Inits that pass a signal on to their child alone; with an option some signal a group (Process.kills_group)."""


def candidates(processes: tuple[Process, ...]) -> tuple[Key, ...]:
    """Return the processes to be watched by the tracer: they receive the signal, and wait for a child."""
    tree = Tree(processes)
    return tuple(
        process.key
        for process in processes
        if process.is_waiting and process.disposition.receives and tree.children(process)
    )


def _unalarmed(process: Process) -> Process:
    """Return a process without a timer whose signal would only end it.

    It may be another's, of which the kernel says no more. If it is its own, nothing is lost: the shell goes on to its
    trap by that end, or by this one.
    """
    evidence = process.evidence
    if evidence is None or not evidence.is_ended_by_alarm:
        return process
    return replace(process, evidence=replace(evidence, alarm_s=None))


def after_look(state: StopState, processes: tuple[Process, ...], now_s: float) -> Outcome:
    """Signal the foreground children of those that have noted the signal."""
    tree = Tree(processes)
    shells = [process for process in processes if process.key in state.hold.noted]
    is_late = now_s - state.began_s - max((one.at_s for one in state.signalled), default=0.0) >= BACK_S
    # One that is not back in its wait yet, or was not read, is looked at again, while there is something to wait for.
    before = {key for key, _ in state.watch.before}
    not_waiting = (
        one
        for one in shells
        if not waits_for(tree, _unalarmed(one), left_s(state, now_s))
        and any(c.key in before for c in tree.children(one))
    )
    left = () if is_late else tuple(shell.key for shell in not_waiting)
    state = replace(state, hold=replace(state.hold, noted=left))
    targets = [child for shell in shells if (child := _foreground(state, tree, shell, now_s)) is not None]
    return signal(state, targets, Occasion.FOREGROUND, now_s)


def _is_work_under_way(tree: Tree, shell: Process, child: Process, limit_s: float) -> bool:
    """Whether something below the shell is at work that does not receive the signal: the trap would end it.

    The plain stop leaves it the whole grace, since the shell goes on waiting. What the child has started is its own.
    """
    below = tree.below([shell.key]) - tree.below([child.key])
    return any(
        not process.disposition.receives
        and not is_passive(_unalarmed(process) if process.key == child.key else process, limit_s)
        for process in tree.by_pid.values()
        if process.key in below
    )


def _foreground(state: StopState, tree: Tree, shell: Process, now_s: float) -> Process | None:
    """Return the foreground child of a shell when it may be signalled: the youngest of those that are waited for.

    What was not there before the signal may have been started by the trap.
    """
    before = {key for key, _ in state.watch.before}
    limit_s = left_s(state, now_s)
    children = [child for child in waits_for(tree, _unalarmed(shell), limit_s) if child.key in before]
    if not children or shell.kills_group or tree.is_signalled_by_group(shell):
        return None
    child = max(children, key=lambda one: (one.start_ticks, one.pid))
    if _is_work_under_way(tree, shell, child, limit_s):
        return None
    if not tree.children(child) and is_passive(_unalarmed(child), limit_s):
        return child
    is_server = child.evidence is not None and child.evidence.listening > 0
    is_unsignalled = _is_signalled_alone(tree, shell) or watching.is_certainly_unsignalled(state, child)
    return child if is_server and child.disposition.receives and is_unsignalled else None


def _is_signalled_alone(tree: Tree, shell: Process) -> bool:
    """Whether the shell got the signal from Bento, or by inits that pass it on to their one child.

    A process manager may signal a whole group (supervisord, foreman), or all below it (pm2, nodemon): then the server
    has got the signal, too, and many abort at the second one.
    """
    return all(program(above) in _SINGLE for above in tree.ancestors(shell))

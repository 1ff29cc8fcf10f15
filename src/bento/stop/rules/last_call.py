"""Shortly before the deadline: what receives the signal and cannot have got it before gets it (rule S15). Pure."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.model.stop import Occasion, Scope, Signalled
from bento.stop.actions import Action, Persist, SendSignal
from bento.stop.process import Disposition, Key, Process
from bento.stop.rules import watching
from bento.stop.rules.signalling import WHY, Outcome, left_s, signal
from bento.stop.rules.tree import Tree
from bento.stop.rules.wrapping import is_passive, waits_on_the_way
from bento.stop.states import Mark, StopState
from bento.units import signal_name

_CHOSEN: Final = (Occasion.INIT, Occasion.PROGRAM)


def lead_s(state: StopState, now_s: float) -> float:
    """Return how long before the deadline the last call goes out; 0: not at all."""
    limit_s = max(0.0, state.deadline_s - now_s) if state.deadline_s is not None else 0.0
    wanted_s = state.request.last_call_s
    if state.request.scope is Scope.MAIN:
        return 0.0
    return min(2.0, limit_s / 5) if wanted_s is None else min(wanted_s, limit_s)


def make(state: StopState, processes: tuple[Process, ...], now_s: float) -> Outcome:
    """Make the last call, once."""
    state = replace(state, marks=(*state.marks, Mark("last call made", now_s)))
    tree = Tree(processes)
    found = [process for process in processes if _may_be_called(state, tree, process, now_s)]
    keys = {process.key for process in found}
    targets = [process for process in found if not any(above.key in keys for above in tree.ancestors(process))]
    state, actions, _ = signal(watching.below_signalled(state, tree, targets), targets, Occasion.LAST_CALL, now_s)
    state, more = _hasten(state, processes, now_s)
    return state, (*actions, *more), None


def _hasten(state: StopState, processes: tuple[Process, ...], now_s: float) -> tuple[StopState, tuple[Action, ...]]:
    """Have the program that has chosen its stop signal end now, as the plain stop has it do from the start (rule S30).

    Once, and only where the signal that it has chosen was sent: after a crash in between it is not sent again.
    """
    number = state.request.last_signal
    first = {
        (one.pid, one.start_ticks): one
        for one in state.signalled
        if one.occasion in _CHOSEN and not one.session and one.signal == signal_name(state.request.signal)
    }
    is_leaving = state.hold.at_exit_s is not None
    targets = [one for one in processes if one.key in first and not (one.is_main and is_leaving)] if number else []
    if not targets or state.hastened:
        return state, ()
    found = tuple(_again(state, first[process.key], now_s) for process in targets)
    sends = (SendSignal(one.pid, one.start_ticks, number, one.is_halted) for one in targets)
    return replace(state, hastened=found), (Persist(), *sends)


def _again(state: StopState, one: Signalled, now_s: float) -> Signalled:
    return replace(
        one,
        at_s=now_s - state.began_s,
        why=WHY[Occasion.LAST_SIGNAL],
        occasion=Occasion.LAST_SIGNAL,
        signal=signal_name(state.request.last_signal),
    )


def _may_be_called(state: StopState, tree: Tree, process: Process, now_s: float) -> bool:
    """Whether a process cannot have got the signal from another, and nothing that still may act on it stands above."""
    if process.key in state.signalled_keys or process.key in state.hold.held or process.is_main:
        return False
    if process.disposition in (Disposition.IGNORED, Disposition.DROPPED):
        return False
    if state.request.last_call_all:
        return True
    if not process.disposition.receives or not _is_unsignalled(state, process):
        return False
    limit_s = left_s(state, now_s)
    if _may_end_work(tree, process, limit_s):
        return False
    return not any(_may_act(state, tree, above, process, limit_s) for above in tree.ancestors(process))


def _may_end_work(tree: Tree, process: Process, limit_s: float) -> bool:
    """Whether something below is at work that the signal ends, should this process pass it on (timeout, su, tini).

    The plain stop lets that work until the deadline. A server ends its workers in its own way.
    """
    if process.evidence is not None and process.evidence.listening:
        return False
    below = tree.below([process.key])
    at_work = (one for one in tree.by_pid.values() if one.key in below and not is_passive(one, limit_s))
    return any(one.disposition is Disposition.DEFAULT for one in at_work)


def _is_unsignalled(state: StopState, process: Process) -> bool:
    """An exec session is below nothing of the container; any other process has not run since PID 1 got the signal.

    Where PID 1 did not get it, it had nothing to pass on. Where it is at its exit, the plain stop would have ended
    the process by now, signalled or not.
    """
    main: Key | None = state.watch.main.key if state.watch.main else None
    is_session = process.key in state.watch.sessions
    is_left = state.hold.at_exit_s is not None or main not in state.watch.keys
    return (
        is_session or is_left or main not in state.signalled_keys or watching.is_certainly_unsignalled(state, process)
    )


def _may_act(state: StopState, tree: Tree, above: Process, process: Process, limit_s: float) -> bool:
    """Whether a process above may still signal this one, or goes on to its next command when this one ends."""
    if above.key in state.hold.held or (above.is_main and state.hold.at_exit_s is not None):
        return False
    if above.disposition.receives or above.key in state.signalled_keys:  # what has taken the signal may go on (rule S0)
        return above.evidence is None or not is_passive(above, limit_s)
    return above.evidence is None or waits_on_the_way(tree, above, process, limit_s)

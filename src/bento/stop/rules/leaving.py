"""Nothing ends with PID 1 without its signal (rule S13a): PID 1 is held at its exit until the others have ended. Pure.

When PID 1 ends, the kernel kills the rest of its PID namespace at once. The plain stop loses there what PID 1 did not
wait for: a session, a daemon, a child whose parent shell has died. So its exit is held from outside; the processes
that would go on to a next command are held as well; and the top-most ones that receive the signal get it.

Where PID 1 was a guest in another PID namespace, its exit ends nothing else, and the same is done without a hold.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.model.stop import Occasion
from bento.model.waits import Evidence
from bento.stop.actions import Action, Look, Persist
from bento.stop.process import Disposition, Process
from bento.stop.rules import holding, prompt, watching
from bento.stop.rules.signalling import Outcome, is_examined, look, look_again, signal
from bento.stop.rules.tree import Tree, program
from bento.stop.rules.wake import NEVER, process_wake
from bento.stop.rules.wrapping import not_held_above
from bento.stop.states import KillCause, Mark, StopState, Timer

GIVEN_UP_S: Final = 1.0
"""What was signalled, has not run for so long and can be woken by no timer, peer or disk, is not waited for."""
LOOK_S: Final = 0.1
_MULTIPLEXERS: Final = frozenset({"tmux"})
"""Programs that are a server for terminals, and a client of it in front, which is PID 1 where they are the command."""
_INPUTS: Final = frozenset({"tty", "pipe"})
NO_DEADLINE_HOLD_S: Final = 10.0
"""How long PID 1 is held where the grace has no end (rule S13a)."""


def begin(state: StopState, now_s: float) -> tuple[StopState, tuple[Action, ...]]:
    """PID 1 is at its exit, the container is frozen: look at what is left.

    Most often that is nothing, and a look without evidence is enough to see it.
    """
    state = replace(
        state,
        hold=replace(state.hold, at_exit_s=now_s, asked=()),
        marks=(*state.marks, Mark("exit hold", now_s)),
        timers={name: at for name, at in state.timers.items() if name is not Timer.LOOK},
    )
    state = arm(state, now_s)
    return state, (Persist(), Look())


def arm(state: StopState, now_s: float) -> StopState:
    """Arm the end of the hold, where it is not the deadline; also when that is removed meanwhile."""
    limit_s = state.request.exit_hold_s
    if limit_s is None and state.deadline_s is None:
        limit_s = NO_DEADLINE_HOLD_S
    if limit_s is None or state.hold.at_exit_s is None or Timer.EXIT_HOLD in state.timers:
        return state
    return replace(state, timers=state.timers | {Timer.EXIT_HOLD: now_s + limit_s})


def after_look(state: StopState, processes: tuple[Process, ...], now_s: float) -> Outcome:
    """Decide on a look at what PID 1 leaves behind."""
    tree, hold = Tree(processes), state.hold
    if hold.asked:
        return look_again(state, LOOK_S, now_s), (), None
    is_at_exit = hold.at_exit_s is not None
    is_frozen = is_at_exit and not hold.is_settled
    if is_frozen and not any(_concerns(state, tree, process) for process in processes):
        state, actions = release(state, now_s)
        return state, actions, None
    if is_frozen and not is_examined(processes):
        return state, (look(state),), None
    waiting = [p for p in processes if would_go_on(state, tree, p) and p.key not in hold.refused]
    if waiting or is_frozen:
        why = "it would have gone on to its next command"
        state, actions = holding.ask_to_hold(state, waiting, why, now_s, thaw=is_frozen)
        return state, actions, None
    state, actions = holding.let_dying_go(state, processes)
    if actions:
        return look_again(state, LOOK_S, now_s), actions, None
    ending = [process for process in processes if is_ending(state, process)]
    receivers = [
        process
        for process in tree.top_receivers()
        if not _is_below_one_that_goes_on(state, tree, process)
        and not any(above in ending for above in tree.ancestors(process))
    ]
    due = [process for process in receivers if _is_due(state, process, now_s)]
    if due:
        occasion = Occasion.EXIT_HOLD if is_at_exit else Occasion.LEFT_BEHIND
        state, actions, _ = signal(state, due, occasion, now_s)
        return look_again(state, LOOK_S, now_s), actions, None
    if is_at_exit and not hold.has_hung_up and any(_waits_for_pid_1(state, tree, process) for process in receivers):
        state = replace(state, hold=replace(hold, has_hung_up=True))
        state, actions = holding.ask_to_hold(state, (), "", now_s, hang_up=True)
        return state, actions, None
    settling = any(prompt.is_settling(state, tree, process, now_s) for process in processes if prompt.saves(process))
    if settling or any(not _is_given_up(state, tree, process, now_s) for process in (*receivers, *ending)):
        return look_again(state, LOOK_S, now_s), (), None
    if not is_at_exit:
        return state, (), KillCause.LEFT_BEHIND
    state, actions = release(state, now_s)
    return state, actions, None


def release(state: StopState, now_s: float) -> tuple[StopState, tuple[Action, ...]]:
    """Let PID 1 end, and look whether it has."""
    state, actions = holding.release_init(state)
    return look_again(state, LOOK_S, now_s), actions


def _concerns(state: StopState, tree: Tree, process: Process) -> bool:
    """Whether something is to be done about a process before PID 1 may end."""
    receives = process.disposition.receives and not process.is_main
    return receives or is_ending(state, process) or would_go_on(state, tree, process) or prompt.saves(process)


def would_go_on(state: StopState, tree: Tree, process: Process) -> bool:
    """Whether a process does not receive the signal and has, or had when PID 1 got it, a child that it may wait for."""
    if process.is_main or process.disposition.receives or process.key in state.hold.held or is_ending(state, process):
        return False
    if holding.is_dying(process):
        return False
    return bool(tree.children(process)) or process.key in state.watch.parents


def is_ending(state: StopState, process: Process) -> bool:
    """Whether a process received the signal at first, and has removed its handler since: it is in its shutdown.

    Python does so before it writes out its files. Or it is a shell that was at its prompt and has left that, such as by
    the SIGHUP of a terminal that has closed.
    """
    if process.key in state.watch.left_prompt and not process.is_main:
        return True
    if process.is_main or process.disposition is not Disposition.DEFAULT or process.key in state.hold.held:
        return False
    return process.key in state.watch.receivers


def _is_below_one_that_goes_on(state: StopState, tree: Tree, process: Process) -> bool:
    """Whether something above could not be held, and would go on to its next command when this one ends."""
    return any(not above.is_main for above in not_held_above(tree, process, state.hold.held))


def _is_due(state: StopState, process: Process, now_s: float) -> bool:
    """Whether a process gets the signal now: PID 1 cannot have signalled it, or it does nothing about it."""
    if process.key in state.signalled_keys:
        return False
    if process.is_at_prompt or watching.is_certainly_unsignalled(state, process):
        return True
    if watching.has_left_its_wait(state, process):  # as PID 1 has signalled it, and many give up at the second one
        return False
    since_s = max(watching.calm_since_s(state, process.key), state.hold.at_exit_s or 0.0)
    return now_s - since_s >= watching.CALM_S


def _waits_for_pid_1(state: StopState, tree: Tree, process: Process) -> bool:
    """Whether a process has the signal, has ended all that it is for, and stays until PID 1, its client, has gone."""
    is_server = program(process) in _MULTIPLEXERS
    return is_server and process.key in state.signalled_keys and not tree.children(process)


def _is_given_up(state: StopState, tree: Tree, process: Process, now_s: float) -> bool:
    """Whether a process that was signalled only waits for input, or for nothing, such as a shell at its prompt.

    One that waits for a child waits for what that child is at.
    """
    signalled_s = watching.signalled_at_s(state, process.key)
    if signalled_s is None and is_ending(state, process):
        signalled_s = state.hold.at_exit_s or 0.0
    if signalled_s is None:
        return False
    below = tree.below([process.key])
    group = [process, *(one for one in tree.by_pid.values() if one.key in below)]
    idle_s = now_s - max(signalled_s, watching.last_run_s(state, group))
    return idle_s >= GIVEN_UP_S and all(one.evidence and _waits_for_input(one, one.evidence) for one in group)


def _waits_for_input(process: Process, evidence: Evidence) -> bool:
    """Whether each thread waits for a terminal or a pipe, or for what nothing but another process can bring about."""
    return all(
        process_wake(process, replace(evidence, threads=(thread,))).in_s >= NEVER
        or (bool(thread.fds) and all(fd.kind in _INPUTS for fd in thread.fds))
        for thread in evidence.threads
    )

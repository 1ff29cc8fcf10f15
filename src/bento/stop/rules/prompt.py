"""A shell at its prompt, without a job, gets SIGHUP, as from a terminal that closes (rule S29). Pure.

It ignores the stop signal, so the plain stop leaves it its whole grace and kills it. SIGHUP is what it ends by: bash
and zsh save their history first. To a PID 1 that has no handler for it (dash, busybox) the kernel delivers no SIGHUP:
there its default action is carried out, as in rule S14.

A shell is taken to be at its prompt only where that shows, and only a shell: what any other program that reads a
terminal has not saved is not known, and the grace is the time in which the person at it may do so.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bento.stop.process import Disposition, Key, Process
from bento.stop.rules import watching
from bento.stop.rules.tree import Tree, program
from bento.stop.rules.wrapping import READS
from bento.stop.states import StopState

STEADY_S: Final = 0.3
"""It has not run for so long: what types into the terminal for a script sends the next line sooner."""
REST_S: Final = 1.0
"""The same, before it is ended without having been told."""
_SHELLS: Final = frozenset({"sh", "dash", "ash", "bash", "rbash", "zsh"})
"""Shells of which it was measured how they wait at their prompt. mksh, ksh and fish catch SIGTERM there."""
_WAITS: Final = READS | {"poll", "ppoll", "select", "pselect6"}
_MULTICALL: Final = frozenset({"busybox", "toybox"})
_WITH_ARGUMENT: Final = frozenset({"--rcfile", "--init-file", "--emulate"})
_BUFFER: Final = 1024
"""dash fills a buffer of 8192 bytes (BUFSIZ of its libc) at its prompt, and reads a byte at a time in its ``read``."""
_ENDS: Final = frozenset({Disposition.HANDLED, Disposition.DEFAULT, Disposition.DROPPED})


def may_be(process: Process) -> bool:
    """Whether a process is an interactive shell that SIGHUP would end, as far as its names and masks say."""
    is_deaf = process.disposition in (Disposition.IGNORED, Disposition.DROPPED)
    is_shell = program(process) in _SHELLS and process.comm in _SHELLS | _MULTICALL
    return is_deaf and is_shell and process.hangup in _ENDS and not process.is_halted and not _is_script(process.argv)


def saves(process: Process) -> bool:
    """Whether a process may be such a shell that does something at SIGHUP before it ends."""
    return not process.is_main and process.hangup is Disposition.HANDLED and may_be(process)


def _is_script(argv: tuple[str, ...]) -> bool:
    """Whether a shell was given a script, or a command (-c)."""
    words = list(argv[1:])
    if argv and argv[0].rpartition("/")[2] in _MULTICALL:
        words = words[1:]
    while words:
        word = words.pop(0)
        if word in ("-", "--"):
            return bool(words)
        if word in _WITH_ARGUMENT:
            words = words[1:]
        elif word[:1] not in ("-", "+") or ("c" in word[1:] and not word.startswith("--")):
            return True
        elif not word.startswith("--") and word[-1:] in ("o", "O"):
            words = words[1:]
    return False


def is_reading(process: Process) -> bool:
    """Whether its one thread waits for what is typed at a prompt.

    That is: with its line editor on (bash, zsh, busybox), which its builtins ``read`` and ``select`` turn off; or for a
    buffer full of lines, in a shell that has no handler for SIGHUP (dash).
    """
    evidence = process.evidence
    if evidence is None or len(evidence.threads) != 1:
        return False
    thread = evidence.threads[0]
    if thread.state != "S" or thread.call not in _WAITS or thread.timeout_s is not None or not thread.fds:
        return False
    modes = {fd.terminal if fd.kind == "tty" else "" for fd in thread.fds}
    if modes == {"edited"}:
        return True
    is_filling = thread.call == "read" and thread.size >= _BUFFER
    return modes == {"lines"} and is_filling and process.hangup is not Disposition.HANDLED


def follow(state: StopState, processes: tuple[Process, ...]) -> StopState:
    """Remember which shells have been at a prompt, and which of them have left it without a job."""
    tree, watch = Tree(processes), state.watch
    shells = [process for process in processes if may_be(process)]
    at_prompt = frozenset(process.key for process in shells if is_reading(process))
    if not shells and not watch.prompts:
        return replace(state, watch=replace(watch, has_shells=False)) if watch.has_shells else state
    seen = watch.prompts | at_prompt
    left = frozenset(
        process.key
        for process in processes
        if process.key in seen - at_prompt
        and not tree.children(process)
        and (process.evidence is not None or process.key in watch.left_prompt)
    )
    return replace(state, watch=replace(watch, prompts=seen, left_prompt=left, has_shells=bool(shells)))


def mark(state: StopState, processes: tuple[Process, ...], now_s: float) -> tuple[Process, ...]:
    """Return the same, with those marked that SIGHUP is for: they receive it, but for a PID 1 that it does not reach.

    PID 1 ends all others with it, so it is not told while there is any but such shells.
    """
    tree = Tree(processes)
    keys = frozenset(
        process.key for process in processes if _is_at_prompt(tree, process) and _is_steady(state, process, now_s)
    )
    if not keys:
        return processes
    is_all = all(process.key in keys for process in processes)
    return tuple(
        _marked(process, is_alone=len(processes) == 1)
        if process.key in keys and (is_all or not process.is_main)
        else process
        for process in processes
    )


def _marked(process: Process, *, is_alone: bool) -> Process:
    if process.hangup is not Disposition.DROPPED:
        return replace(process, is_at_prompt=True, disposition=Disposition.HANDLED)
    return replace(process, is_at_prompt=is_alone)


def is_settling(state: StopState, tree: Tree, process: Process, now_s: float) -> bool:
    """Whether a shell is at its prompt, has not been told, and has run too lately."""
    is_told = process.key in state.signalled_keys
    return not is_told and _is_at_prompt(tree, process) and not _is_steady(state, process, now_s)


def _is_at_prompt(tree: Tree, process: Process) -> bool:
    return may_be(process) and is_reading(process) and not tree.children(process)


def _is_steady(state: StopState, process: Process, now_s: float) -> bool:
    limit_s = REST_S if process.hangup is Disposition.DROPPED else STEADY_S
    return now_s - watching.idle_since_s(state, process.key) >= limit_s


def left_to_it(state: StopState, tree: Tree, main: Process) -> list[Process]:
    """Return the shells below a PID 1 that has got the stop signal: it can do no more than pass it on to them.

    Such as ``--init``. Only where nothing else is in the container. Exec sessions come when PID 1 leaves.
    """
    others = [process for process in tree.by_pid.values() if process is not main]
    if not all(process.is_at_prompt for process in others):
        return []
    told: frozenset[Key] = state.signalled_keys | state.watch.sessions
    return [process for process in others if process.key not in told]

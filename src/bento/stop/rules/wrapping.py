"""Which process is signalled in PID 1's place (rule S13.2): from the tree and the waits, nothing else. Pure.

A wrapper does not receive the signal and only waits for a child: a shell with a script, ``env``-like launchers that
stay, a Python ``subprocess.call``. The way goes down from PID 1 through what each one waits for, to its ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bento.model.waits import Evidence
from bento.stop.process import Disposition, Key, Process
from bento.stop.rules.tree import Tree, program
from bento.stop.rules.wake import NEVER, process_wake

WAITS: Final = frozenset({"wait4", "waitid"})
_DEPTH: Final = 64
_BUSY: Final = frozenset("RD")
READS: Final = frozenset({"read", "readv"})
_TRANSFERS: Final = READS | frozenset(
    {"pread64", "preadv", "write", "writev", "pwrite64", "pwritev"}
    | {"splice", "tee", "sendfile", "copy_file_range", "fsync", "fdatasync"}
)

_GIVE_UP: Final = frozenset(
    {"node", "nodejs", "java", "ruby", "dotnet", "julia"}
    | {"rsync", "git", "ffmpeg", "borg", "pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup"}
)
"""Programs whose handler is no sign that they save their work: they have it whatever they do, or abort by it."""


_VERSION: Final = re.compile(r"[-.\d]+$")  # ruby3.1


class Way(Struct, frozen=True):
    """From PID 1 down: what only waits, and what is waited for in the end.

    ``is_open``: each end receives the signal, is at rest, or nothing in it can wake before the deadline. Otherwise an
    end is at work which the plain stop would let go on, and nothing on the way is touched.
    """

    wrappers: tuple[Process, ...]
    ends: tuple[Process, ...]
    is_open: bool


def is_passive(process: Process, left_s: float) -> bool:
    """Whether nothing in a process can wake before the deadline but by the end of a child."""
    return process.evidence is not None and process_wake(process, process.evidence).in_s >= min(left_s, NEVER)


def may_be_a_job(process: Process, left_s: float) -> bool:
    """Whether a process that receives the signal may be at work that it gives up at the signal.

    The plain stop would let it finish. That is one without any socket that is in the middle of reading, writing or
    computing: a filter, not a server (gzip and sort remove their output, make removes its target); one that sleeps
    between, or waits for clients, is not of that kind. Or one that does not listen and of whose handler nothing is
    known: the runtimes of node, Java, Ruby and Go have one in every program (Go's catches nearly all signals), and
    rsync and others have one that only gives up.
    """
    evidence = process.evidence
    if evidence is None or evidence.listening or process.is_at_prompt:
        return False
    names = {_VERSION.sub("", name) for name in (program(process), process.comm)}
    if names & _GIVE_UP or process.catches_all:
        return not is_passive(process, left_s) or _waits_inside(evidence)
    is_moving = any(thread.state in _BUSY or thread.call in _TRANSFERS for thread in evidence.threads)
    calm = replace(process, evidence=replace(evidence, alarm_s=None))  # a timer moves no data, whatever has set it
    return is_moving and not evidence.connected and not is_passive(calm, left_s)


def may_be_fed(process: Process, others: Iterable[Process], left_s: float) -> bool:
    """Whether a process reads what one at work that does not receive the signal may write: it is a part of its job."""
    evidence = process.evidence
    if (
        evidence is None
        or evidence.listening
        or process.is_at_prompt
        or not any(thread.call in READS for thread in evidence.threads)
    ):
        return False
    return _waits_inside(evidence) and any(not p.disposition.receives and not is_passive(p, left_s) for p in others)


def waits_for(tree: Tree, process: Process, left_s: float = NEVER) -> list[Process]:
    """Return the children whose end a process waits for, while nothing else in it can wake before the deadline.

    It does so in wait4(2) or waitid(2); or by SIGCHLD, which it catches, in sigsuspend(2) or the like (``wait`` of
    dash); or by what only the container itself makes ready, such as a pipe that they write to (``$(...)``, backticks,
    Python's check_output).
    A wait for any child is one for each of them, but where a shell has a program in its foreground: then for that.
    """
    if process.evidence is None or not is_passive(process, left_s):
        return []
    children = tree.children(process)
    waits = [thread for thread in process.evidence.threads if thread.call in WAITS and thread.is_blocking]
    named = {thread.child for thread in waits}
    if waits and named <= {child.pid for child in children}:
        return [child for child in children if child.pid in named]
    if waits:  # for any child, or for one that is not known
        return _foreground(process, children)
    return children if process.sees_children or _waits_inside(process.evidence) else []


def _waits_inside(evidence: Evidence) -> bool:
    """Whether a thread waits for a pipe, a socket or the like whose other end another process of the container has."""
    return any(fd.is_inside and not fd.is_own for thread in evidence.threads for fd in thread.fds)


def _foreground(shell: Process, children: list[Process]) -> list[Process]:
    """Return the children but for those in a shell's background, where one in its foreground shows.

    That has inherited the shell's standard input. What was started with ``&`` has another /dev/null (Evidence.stdin);
    what has a pipe of its own may be a later part of a pipeline in the foreground.
    """
    own = shell.evidence.stdin if shell.evidence else ""
    stdins = {child.key: child.evidence.stdin if child.evidence else "" for child in children}
    if not own or _is_null(own, "r") or own not in stdins.values():
        return children
    return [child for child in children if stdins[child.key] == own or not _is_null(stdins[child.key])]


def waits_for_jobs(tree: Tree, shell: Process) -> bool:
    """Whether a shell that waits is in its ``wait`` builtin for certain: all that it has started is in the background.

    Then it runs a trap at once. For forecasts: a stop sees what it does with the signal.
    """
    if shell.evidence is None:
        return False
    if any(thread.call == "rt_sigsuspend" for thread in shell.evidence.threads):  # dash, busybox
        return True
    own = shell.evidence.stdin
    stdins = [child.evidence.stdin for child in tree.children(shell) if child.evidence]
    return bool(own and stdins) and not _is_null(own, "r") and all(one != own and _is_null(one) for one in stdins)


def _is_null(stdin: str, mode: str = "") -> bool:
    """Whether a standard input is /dev/null, opened for this."""
    target, _, how = stdin.partition(" ")
    return target == "/dev/null" and (not mode or how.partition(" ")[0] == mode)


def find_way(tree: Tree, main: Process, left_s: float, at_rest: frozenset[Key] = frozenset()) -> Way | None:
    """Return the way down from a PID 1 that does not receive the signal; None when it is no wrapper.

    ``at_rest``: what the plain stop would leave running without a use, listeners to which nothing is connected.
    """
    awaited = waits_for(tree, main, left_s)
    if not awaited:
        # It may also just sleep beside what it has started; to ignore the signal on purpose is another matter.
        is_idle = main.disposition is Disposition.DROPPED and (is_passive(main, left_s) or main.key in at_rest)
        return Way((main,), (), True) if is_idle else None
    wrappers, ends, is_open = [main], [], True
    queue = [(child, 1) for child in awaited]
    while queue:
        process, depth = queue.pop(0)
        below = waits_for(tree, process, left_s) if depth < _DEPTH else []
        if process.disposition.receives:
            ends.append(process)
            is_open = is_open and is_soft(tree, process, left_s, depth)
        elif below:
            wrappers.append(process)
            queue += [(child, depth + 1) for child in below]
        else:
            ends.append(process)
            is_open = is_open and (is_passive(process, left_s) or process.key in at_rest)
    return Way(tuple(wrappers), tuple(ends), is_open)


def not_held_above(tree: Tree, process: Process, held: frozenset[Key]) -> list[Process]:
    """Return what stands above, does not receive the signal and is not held: it goes on when this one ends."""
    return [above for above in tree.ancestors(process) if not above.disposition.receives and above.key not in held]


def waits_on_the_way(tree: Tree, above: Process, process: Process, left_s: float = NEVER) -> bool:
    """Whether a process above only waits for this one, or for what stands between them."""
    on_the_way = {process.pid, *(one.pid for one in tree.ancestors(process))}
    return any(child.pid in on_the_way for child in waits_for(tree, above, left_s))


def is_soft(tree: Tree, process: Process, left_s: float, depth: int = 0) -> bool:
    """Whether the end of a process costs nothing that the plain stop would save.

    One that receives the signal has a shutdown of its own, or is a job that gives up. But one that has children and
    does not listen may pass the signal on to them, or end them (su, timeout, script, and tini, which wakes up each
    second to look for zombies): then each of them has to be soft as well, and none may have ended that it has not seen
    yet. Nor is it known what the signal does to one that is traced (strace, gdb).
    """
    if process.disposition.receives and (
        may_be_a_job(process, left_s) or may_be_fed(process, tree.by_pid.values(), left_s)
    ):
        return False
    if not is_passive(process, left_s):
        if process.evidence is None or not process.disposition.receives or process.disposition is Disposition.UNKNOWN:
            return False
        if process.evidence.listening:
            return True
        if process.evidence.unreaped:
            return False
    children = tree.children(process) if depth < _DEPTH else []
    return all(is_soft(tree, child, left_s, depth + 1) for child in children)


def rest(processes: tuple[Process, ...], held: frozenset[Key]) -> Iterator[Process]:
    """Yield all that may still run: not what is held."""
    return (process for process in processes if process.key not in held)

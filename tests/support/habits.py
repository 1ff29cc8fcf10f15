"""The processes of a container in virtual time: what each is, waits for and does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.world import World

MOVE_S = 0.002
"""How long a parent takes to notice that its child has ended: long enough for a look in between."""


EVER = 1e9


@dataclass(frozen=True)
class Does:
    """What a process is and does."""

    kind: str = "sleep"
    # sleep: for ever, default action. job: ``parts`` in turn, then saves. move: the product of the commands before it
    # takes the place of the last good one. ignores: a job that ignores the signal, and then stays. blocks: never reads.
    # works: a handler that needs ``needs_s`` to save. drops: the same, restoring the default action meanwhile.
    # swallows: as node without a handler. shell: no trap; ``runs`` in turn. trap: a shell with one. supervisor: a
    # handler; restarts its children, tells them. forwarder: to its one child. group: to all below. init: of a system.
    # prompt: a shell at its prompt, which saves its history at SIGHUP; plain-prompt: one without a handler for that.
    # parts with "tty" are of a program in which a person types for so long.
    name: str = ""
    parts: tuple[tuple[str, float], ...] = ()  # work, sleep, lock, peer, pipe: and for how long
    runs: tuple[Does, ...] = ()
    jobs: tuple[Does, ...] = ()  # started by a shell with &
    waits: bool = True  # a shell ends with the wait builtin; else at once
    loops: bool = False  # a shell that begins again
    trap_runs: tuple[Does, ...] = ()
    trap_forwards: bool = False  # the trap tells the jobs and waits for them
    trap_exits: bool = True  # else it only leaves a note, for the loop to see
    needs_s: float = 0.0
    is_busy: bool = False  # a server with a connection; else at rest
    handler_after_s: float = 0.0  # installs its handler so late
    is_halted: bool = False
    dies_after_s: float = 0.0  # hangs in the kernel for so long after SIGKILL
    hidden_looks: int = 0  # so many looks miss it: forked while they went on
    obeys: str = ""  # of an init: the stop method that it knows
    refuses: int = 0  # of an init: so many requests find it still booting
    halts: bool = False  # of an init: shuts all down and stays


@dataclass(frozen=True)
class Wait:
    """What a program waits for: sleep, work, lock, peer, pipe, poll, listen, socket, pause, sigwait, child, wait."""

    on: str
    seconds: float = EVER
    child: int = 0  # of child, the foreground of a shell; "wait" is its builtin


@dataclass
class Proc:
    """One process."""

    pid: int
    ppid: int
    does: Does
    born_s: float
    path: str
    name: str
    program: Iterator[Wait]
    is_main: bool = False
    is_entered: bool = False
    is_halted: bool = False
    is_held: bool = False
    is_at_exit: bool = False
    is_pending: bool = False
    is_reset: bool = False  # has restored the default action
    is_noted: bool = False  # a shell has the signal, and has not run its trap
    is_busy: bool = False  # was told, and works on its end
    is_cut: bool = False  # its product is not whole
    is_dying: bool = False
    hidden_looks: int = 0
    wait: Wait = Wait("work")
    since_s: float = 0.0
    turn: int = 0  # a wait that is over does not wake it again
    switches: int = 0
    ended_children: int = 0
    iteration: int = 0
    deferred: list[Callable[[], None]] = field(default_factory=list)
    started: list[Proc] = field(default_factory=list)
    got: list[str] = field(default_factory=list)  # what sent it the stop signal
    told_s: float | None = None  # by Bento
    ended: str = ""  # "", own, default, killed, killed-with-main, quit
    ended_s: float = 0.0

    @property
    def key(self) -> tuple[int, int]:
        return (self.pid, 1)


def stays(world: World, proc: Proc) -> Iterator[Wait]:
    kind = proc.does.kind
    if kind == "works":
        yield Wait("socket" if proc.does.is_busy else "listen")
    on = {"sleep": "sleep", "forwarder": "sigwait", "group": "sigwait", "supervisor": "poll"}.get(kind, "pause")
    while True:
        yield Wait(on, 3e5 if on == "sleep" else 1.0 if on == "poll" else EVER)


def _job(world: World, proc: Proc) -> Iterator[Wait]:
    for on, seconds in proc.does.parts:
        yield Wait(on, seconds)
    world.save(proc)
    if proc.does.kind == "ignores":
        yield Wait("pause")


def _at_prompt(world: World, proc: Proc) -> Iterator[Wait]:
    while True:
        yield Wait("prompt")


def history(world: World, proc: Proc) -> Iterator[Wait]:
    yield Wait("work", proc.does.needs_s)
    world.save(proc)


def saves(world: World, proc: Proc) -> Iterator[Wait]:
    yield Wait("peer", proc.does.needs_s)
    world.save(proc)


def _move(world: World, proc: Proc) -> Iterator[Wait]:
    """Its shell has judged what came before when it starts; what becomes of that later is no matter."""
    shell = world.procs[proc.ppid]
    is_bad = any(one.is_cut or one.ended not in ("", "own") for one in shell.started)
    yield Wait("work", 0.1)
    if is_bad:
        world.ruined.add(proc.path)
        world.history.append(f"{world.now_s:.3f} mv ruins {proc.path}")
    else:
        world.save(proc)


def supervisor_ends(world: World, proc: Proc) -> Iterator[Wait]:
    for child in world.children(proc):
        world.signal(child, proc.name)
    while world.children(proc):
        yield Wait("wait")
    yield Wait("work", proc.does.needs_s)
    world.save(proc)


def _shell(world: World, proc: Proc) -> Iterator[Wait]:
    does = proc.does
    while True:
        proc.iteration += 1
        yield Wait("work", 0.02)
        for number, command in enumerate(does.runs):
            child = world.spawn(command, proc, f"{proc.path}/{number}#{proc.iteration}")
            if not child.ended:
                yield Wait("child", child=child.pid)
            if proc.is_noted:
                yield from _trap(world, proc)
                if does.trap_exits:
                    return
        if not does.loops or proc.is_noted or not does.runs:
            break
    while does.waits and does.jobs and world.children(proc):
        yield Wait("wait")
        if proc.is_noted:
            yield from _trap(world, proc)
            return


def _trap(world: World, proc: Proc) -> Iterator[Wait]:
    does = proc.does
    proc.is_busy = True
    if does.trap_forwards:
        for job in world.children(proc):
            world.signal(job, proc.name)
        while world.children(proc):
            yield Wait("wait")
    for number, command in enumerate(does.trap_runs):
        child = world.spawn(command, proc, f"{proc.path}/t{number}")
        if not child.ended:
            yield Wait("child", child=child.pid)
    world.save(proc)


PROGRAMS: dict[str, Callable[[World, Proc], Iterator[Wait]]] = {
    "job": _job, "ignores": _job, "move": _move, "shell": _shell, "trap": _shell,
    "prompt": _at_prompt, "plain-prompt": _at_prompt,
}  # fmt: skip

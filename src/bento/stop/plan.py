"""Who is told, and in which wave (rule S13): from the process tree to targets, nothing else.

Telling everybody at once loses work: many programs take a second SIGTERM as "quit now", and a
process without a handler is simply killed by it. So wrappers are looked through, and on each way
down the first process that hears is told; it answers for its own children.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from bento.stop.process import Disposition, Key, Process

SHELLS = frozenset({"sh", "dash", "bash", "ash", "ksh", "mksh", "zsh", "fish", "rbash", "csh", "tcsh"})
INITS = frozenset({"tini", "tini-static", "catatonit", "docker-init", "podman-init"})
"""Forwarders that pass a signal on to their child alone, unless ``-g`` was given; dumb-init tells its whole group."""
FORWARDERS = INITS | frozenset(
    {"dumb-init", "s6-svscan", "su", "sudo", "gosu", "su-exec", "setpriv", "timeout", "env", "nice", "nohup"}
    | {"runuser", "chroot", "unshare", "npm", "yarn", "pnpm", "npx"}
)


class Plan(Struct, frozen=True, kw_only=True):
    """Who could be told now, in tree order."""

    hearing: tuple[Process, ...]  # wave 1
    plain: tuple[Process, ...]  # wave 2: they would only die of the default action
    wrappers: tuple[Process, ...]  # looked through; they leave when what they wrap has left


class Tree:
    """The processes of one look as a tree; parents outside the container are not in it."""

    def __init__(self, processes: Iterable[Process]) -> None:
        self.by_pid = {process.pid: process for process in processes}
        self._children: dict[int, list[Process]] = {}
        for process in self.by_pid.values():
            self._children.setdefault(process.ppid, []).append(process)

    def children(self, process: Process) -> list[Process]:
        """Return the live children of a process."""
        return self._children.get(process.pid, [])

    def main(self) -> Process | None:
        """Return PID 1 of the container, or None when it has gone."""
        return next((process for process in self.by_pid.values() if process.is_main), None)

    def roots(self) -> list[Process]:
        """Return those whose parent is not in the tree."""
        return [process for process in self.by_pid.values() if process.ppid not in self.by_pid]

    def ancestors(self, process: Process) -> list[Process]:
        """Return the live ancestors, nearest first."""
        found: list[Process] = []
        parent = self.by_pid.get(process.ppid)
        # A look is not one moment: with pids used again meanwhile, parents could seem to go round in a circle.
        while parent is not None and parent is not process and parent not in found:
            found.append(parent)
            parent = self.by_pid.get(parent.ppid)
        return found

    def above(self, keys: Iterable[Key]) -> frozenset[Key]:
        """Return everybody who stands above one of these."""
        wanted = frozenset(keys)
        below = [process for process in self.by_pid.values() if process.key in wanted]
        return frozenset(parent.key for process in below for parent in self.ancestors(process))

    def below(self, keys: Iterable[Key]) -> frozenset[Key]:
        """Return everybody who stands below one of these."""
        wanted = frozenset(keys)
        return frozenset(
            process.key
            for process in self.by_pid.values()
            if any(parent.key in wanted for parent in self.ancestors(process))
        )

    def is_answered_for(self, process: Process) -> bool:
        """Whether an ancestor hears for itself, and so is in charge of this process. Wrappers only pass it on."""
        return any(above.disposition.receives and not self.is_wrapper(above) for above in self.ancestors(process))

    def is_wrapper(self, process: Process) -> bool:
        """Whether telling this process would end it, or nothing, instead of what it runs."""
        children = self.children(process)
        if process.is_main and process.disposition in (Disposition.DROPPED, Disposition.IGNORED):
            return True
        if is_shell(process) and process.disposition is Disposition.DEFAULT:
            return bool(children)
        return is_forwarder(process) and any(self._is_busy_shell(below) for below in self._behind(process))

    def _behind(self, forwarder: Process) -> list[Process]:
        """Return the children of a forwarder, and those of every forwarder among them."""
        found: list[Process] = []
        queue = self.children(forwarder)[:]
        while queue:
            child = queue.pop(0)
            if child not in found:
                found.append(child)
                queue += self.children(child) if is_forwarder(child) else []
        return found

    def _is_busy_shell(self, process: Process) -> bool:
        """A shell without a trap that waits for a child."""
        return is_shell(process) and not process.disposition.receives and bool(self.children(process))


def entered(processes: Iterable[Process]) -> frozenset[Key]:
    """Return the exec sessions: who has entered from outside, with everybody below (rule S16)."""
    everybody = tuple(processes)
    roots = frozenset(process.key for process in everybody if process.is_entered)
    return roots | Tree(everybody).below(roots) if roots else roots


def program(process: Process) -> str:
    """Return the name of the program a process runs: ``sh`` for ``busybox sh`` and for ``-sh``."""
    name = process.argv[0].rsplit("/", 1)[-1].removeprefix("-") if process.argv else process.comm
    if name in ("busybox", "toybox") and len(process.argv) > 1:
        return process.argv[1].rsplit("/", 1)[-1]
    return name or process.comm


def is_shell(process: Process) -> bool:
    """Whether a process is a shell; scripts count, their interpreter is in argv[0] or comm."""
    return program(process) in SHELLS or process.comm in SHELLS


def is_forwarder(process: Process) -> bool:
    """Whether a process passes signals on to one child, or stands between it and the container's init."""
    return program(process) in FORWARDERS or process.comm in FORWARDERS


def tells_only_its_child(process: Process) -> bool:
    """Whether a process is an init that passes signals on to its child, and not to what that runs."""
    words = process.argv[1:]
    options = words[: words.index("--")] if "--" in words else words[:1]
    return program(process) in INITS and not any(word.startswith("-") and "g" in word for word in options)


def make_plan(processes: Iterable[Process], *, opened: frozenset[Key] = frozenset()) -> Plan:
    """Walk down from PID 1; where it has left others behind (a shared PID namespace), from those without a parent.

    ``opened``: what shells with a trap, that were told, wait for.

    They run their trap only when their foreground child ends, so that child is told by the same rules.
    """
    tree = Tree(processes)
    hearing: list[Process] = []
    plain: list[Process] = []
    wrappers: list[Process] = []
    ways = opened | tree.above(opened)
    main = tree.main()
    stack = [main] if main else tree.roots()[::-1]
    seen: set[Key] = set()
    while stack:
        process = stack.pop()
        if process.key in seen:  # see Tree.ancestors
            continue
        seen.add(process.key)
        below = tree.children(process)
        if tree.is_wrapper(process):
            wrappers.append(process)
        elif process.disposition.receives:
            hearing.append(process)
            below = [child for child in below if child.key in ways]
        elif process.disposition is Disposition.DEFAULT:
            plain.append(process)
        stack.extend(reversed(below))
    return Plan(hearing=tuple(hearing), plain=tuple(plain), wrappers=tuple(wrappers))


def last_call_targets(processes: Iterable[Process], told: frozenset[Key]) -> tuple[Process, ...]:
    """Return those alive that nobody can have told (rule S15): not told by us, and nobody above them hears.

    Who ignores the signal, or is deaf to it, would not notice and is left out. So is whoever stands above
    somebody else that was told, now or before: when a wrapper ends, and PID 1 with it, so does everybody.
    """
    tree = Tree(processes)
    untold = [
        process
        for process in tree.by_pid.values()
        if process.key not in told
        and process.disposition not in (Disposition.IGNORED, Disposition.DROPPED)
        and not tree.is_answered_for(process)
    ]
    above = tree.above(told.union(process.key for process in untold))
    return tuple(process for process in untold if process.key not in above)

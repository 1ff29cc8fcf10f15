"""The processes of one look as a tree, and the few names that say more than the kernel can. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bento.stop.process import Key, Process

SHELLS: Final = frozenset({"sh", "dash", "bash", "ash", "ksh", "mksh", "zsh", "fish", "rbash", "csh", "tcsh"})
"""For the words of reports, and for forecasts. One rule asks, too: ``grace``, how long a blocked signal is believed."""


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

    def ancestors(self, process: Process) -> list[Process]:
        """Return the live ancestors, nearest first."""
        found: list[Process] = []
        seen = {process.pid}
        parent = self.by_pid.get(process.ppid)
        # A look is not one moment: with pids used again meanwhile, parents could seem to go round in a circle.
        while parent is not None and parent.pid not in seen:
            seen.add(parent.pid)
            found.append(parent)
            parent = self.by_pid.get(parent.ppid)
        return found

    def below(self, keys: Iterable[Key]) -> frozenset[Key]:
        """Return every process below one of these."""
        wanted = frozenset(keys)
        found: set[Key] = set()
        queue = [process for process in self.by_pid.values() if process.key in wanted]
        while queue:
            for child in self.children(queue.pop()):
                if child.key not in found:
                    found.add(child.key)
                    queue.append(child)
        return frozenset(found)

    def top_receivers(self) -> list[Process]:
        """Return the top-most processes but PID 1 that receive the signal: each answers for what is below it."""
        receivers = [one for one in self.by_pid.values() if one.disposition.receives and not one.is_main]
        answered_for = self.below(one.key for one in receivers)
        return [one for one in receivers if one.key not in answered_for]

    def is_signalled_by_group(self, process: Process) -> bool:
        """Whether a process above passes the signal on to a whole group, and so, perhaps, to this one."""
        return any(above.kills_group for above in self.ancestors(process))


def entered(processes: Iterable[Process]) -> frozenset[Key]:
    """Return the exec sessions: the processes that have entered from outside, with all below them (rule S16)."""
    everything = tuple(processes)
    roots = frozenset(process.key for process in everything if process.is_entered)
    return roots | Tree(everything).below(roots) if roots else roots


def program(process: Process) -> str:
    """Return the name of the program a process runs: ``sh`` for ``busybox sh`` and for ``-sh``.

    One that has set a title, such as ``nginx: master process nginx -c /etc/nginx.conf``, has the kernel's name.
    """
    if process.argv and " " in process.argv[0].strip():
        return process.comm
    name = process.argv[0].rsplit("/", 1)[-1].removeprefix("-") if process.argv else process.comm
    if name in ("busybox", "toybox") and len(process.argv) > 1:
        return process.argv[1].rsplit("/", 1)[-1]
    return name or process.comm


def is_shell(process: Process) -> bool:
    """Whether a process is a shell; scripts count, their interpreter is in argv[0] or comm."""
    return program(process) in SHELLS or process.comm in SHELLS


def named(process: Process) -> str:
    """Return a process as reports call it: ``python3 (1234)``."""
    return f"{program(process)} ({process.pid})"

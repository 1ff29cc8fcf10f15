"""What a process of Bento's own has begun and waits for, such as a runtime that hangs: it is ended with that process.

That it is Bento's own is read while that process is there: a chain of parents leads to it, in the same PID namespace
and the same cgroups. What runs in a container is in others, and another command of Bento's own has a mark (``own``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct

from bento import own
from bento.units import SIGKILL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bento.drivers.processes.base import Placement
    from bento.engine.base.drivers import Drivers
    from bento.model.container import ProcessIdentity


class Child(Struct, frozen=True):
    """One process. ``is_own``: it is Bento's to end."""

    process: ProcessIdentity
    name: str
    is_own: bool

    def __str__(self) -> str:
        return f"process {self.process.pid} ({self.name})"


def below(drivers: Drivers, pid: int, *, of_runtime: bool = False) -> list[Child]:
    """Return what a living process has begun, and what that has begun. ``of_runtime``: runtimes alone, and below them.

    Other commands of Bento's own, and what is in another PID namespace, are left out, with all that is below them.
    """
    mark = f"{drivers.run_root}/runtime/" if of_runtime else ""
    return list(_below(drivers, pid, drivers.processes.placement(pid), mark))


def _below(drivers: Drivers, parent: int, placement: Placement, mark: str) -> Iterator[Child]:
    for child in drivers.processes.children(parent):
        pid, placed = child.process.pid, child.placement
        if placed.pid_namespace != placement.pid_namespace or own.is_own(drivers.run_root, pid):
            continue
        if mark and not any(mark in word for word in child.argv):
            continue
        yield Child(child.process, child.comm, placed.cgroups == placement.cgroups)
        yield from _below(drivers, pid, placement, "")


def end(drivers: Drivers, children: list[Child]) -> list[Child]:
    """SIGKILL those that are Bento's own, by pidfd; return the others that live."""
    left = []
    for child in children:
        fd = drivers.processes.open(child.process)
        if fd is None:
            continue
        try:
            if child.is_own:
                drivers.processes.send_signal(fd, SIGKILL, wake=False)
            else:
                left.append(child)
        finally:
            os.close(fd)
    return left

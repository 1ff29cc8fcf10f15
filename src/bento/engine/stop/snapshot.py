"""A look at a container's processes as a stop needs it, and a forecast of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.files.smallfile import read_small
from bento.stop.rules.signalling import SESSION_SIGNAL
from bento.stop.rules.tree import entered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bento.stop.process import Process

_HELPERS = ("hook.pid", "asked.pid", "check.pid")
"""Where the runtime, and engine.hooks, write the pid of what a stop itself, or a health check, runs inside."""


def look_at(
    look: Callable[[int], tuple[Process, ...]], number: int, *, run_dir: Path | None = None
) -> tuple[Process, ...]:
    """Return what ``look`` shows, exec sessions with what *their* signal would do to them.

    ``run_dir``: of a container that is being stopped. What Bento has brought in itself is no exec session.
    """
    processes = look(number)
    if run_dir is not None and any(process.is_entered for process in processes):
        helpers = helpers_of(run_dir)
        processes = tuple(replace(one, is_entered=False) if one.pid in helpers else one for one in processes)
    sessions = entered(processes)
    if not sessions or number == SESSION_SIGNAL:
        return processes
    theirs = {process.key: process for process in look(SESSION_SIGNAL)}
    return tuple(theirs.get(process.key, process) if process.key in sessions else process for process in processes)


def helpers_of(run_dir: Path) -> frozenset[int]:
    """Return the pids of hooks, stop commands and health checks that run inside a container, or have run."""
    found = set()
    for name in _HELPERS:
        try:
            words = read_small(run_dir / name).split()
        except OSError:
            continue
        found |= {int(word) for word in words[:1] if word.isdigit()}
    return frozenset(found)

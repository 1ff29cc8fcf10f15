"""A look at a container's processes: as a stop needs it, a forecast of one, and an observer that watches one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento import clock
from bento.files.smallfile import read_small
from bento.lazy import LazyModule
from bento.stop.process import Disposition
from bento.stop.rules.signalling import SESSION_SIGNAL
from bento.stop.rules.tree import entered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bento.engine.base.loop import Loop
    from bento.engine.base.outcome import StopObserver
    from bento.stop import viewing
    from bento.stop.process import Key, Process
    from bento.stop.states import StopState
else:  # only for a stop that is watched
    viewing = LazyModule("bento.stop.viewing")

_VIEWED_EVERY_S: Final = 0.1
_LOOK_AGAIN_S: Final = 0.02
"""What starts a process blocks its signals for a moment (stop.grace): a second look shows which do so for good."""
_OTHERS: Final = (2, 3)
"""SIGINT and SIGQUIT: what a program that does not receive the stop signal may end on."""
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


def steady_look(look: Callable[[int], tuple[Process, ...]], number: int) -> tuple[Process, ...]:
    """Return what ``look_at`` does, of a second look where a process may block the signal only for a moment. Blocks."""
    processes = look_at(look, number)
    if any(process.disposition is Disposition.BLOCKED for process in processes):
        time.sleep(_LOOK_AGAIN_S)
        processes = look_at(look, number)
    return processes


def also_receives(look: Callable[[int], tuple[Process, ...]], number: int) -> tuple[int, ...]:
    """Return which other signals PID 1 has a handler for."""
    found = []
    for other in _OTHERS:
        main = next((process for process in look(other) if process.is_main), None)
        if other != number and main is not None and main.disposition.receives:
            found.append(other)
    return tuple(found)


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


class Viewer:
    """Shows an observer one stop when something of it has changed, at most every ``_VIEWED_EVERY_S`` seconds."""

    def __init__(self, name: str, observer: StopObserver, loop: Loop) -> None:
        self._name, self._observer = name, observer
        self._alarm = loop.alarm(self._show)
        self._next_s = 0.0
        self._state: StopState | None = None
        self._processes: tuple[Process, ...] = ()
        self._before: dict[Key, Process] = {}  # at the look before
        self._gone: dict[Key, Process] = {}

    def looked(self, processes: tuple[Process, ...]) -> None:
        """Note what a look has shown."""
        now = {process.key for process in processes}
        self._gone |= {process.key: process for process in self._processes if process.key not in now}
        self._before = {process.key: process for process in self._processes}
        self._processes = processes

    def ended(self, key: Key) -> None:
        """Note that a process has ended."""
        found = next((process for process in self._processes if process.key == key), None)
        if found is not None:
            self._gone[key] = found
            self.changed(self._state)

    def changed(self, state: StopState | None) -> None:
        """Show the stop as it is now, or soon."""
        self._state = state
        now_s = clock.mono_s()
        if now_s >= self._next_s:
            self._show()
        else:
            self._alarm.set(self._next_s)

    def _show(self) -> None:
        if self._state is not None:
            self._alarm.set(None)
            self._next_s = clock.mono_s() + _VIEWED_EVERY_S
            alive = tuple(process for process in self._processes if process.key not in self._gone)
            gone = tuple(self._gone.values())
            self._observer.view(viewing.view_of(self._name, self._state, alive, gone, self._before))

    def close(self) -> None:
        """Show nothing more. Idempotent."""
        self._alarm.set(None)
        self._state = None

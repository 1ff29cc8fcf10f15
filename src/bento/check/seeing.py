"""Processes as a check shows them: one look, the raw masks, and how each has ended, put together. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from bento.model.check import SeenProcess
from bento.model.stop import ProcessEnd
from bento.model.waits import ProcessState
from bento.stop.forecast.forecast import Forecast
from bento.stop.process import Process

_MAX_CALLS = 8
_ARGV_MAX = 32


def seen(look: Iterable[Process], states: Iterable[ProcessState], forecast: Forecast) -> tuple[SeenProcess, ...]:
    """Return the processes of a look in the order of the forecast, parents first, and then the zombies."""
    by_pid = {process.pid: process for process in look}
    raw = {state.pid: state for state in states}
    found = []
    for each in forecast.processes:
        process, state = by_pid.get(each.pid), raw.get(each.pid)
        threads = process.evidence.threads if process and process.evidence else ()
        found.append(
            SeenProcess(
                pid=each.pid,
                ppid=each.ppid,
                comm=each.comm,
                argv=each.argv[:_ARGV_MAX],
                state=state.state if state else "",
                session=state.session if state else 0,
                blocked=state.blocked if state else 0,
                ignored=state.ignored if state else 0,
                caught=state.caught if state else 0,
                receives=each.receives,
                why=each.why,
                calls=tuple(dict.fromkeys(thread.call or thread.state for thread in threads))[:_MAX_CALLS],
                waits=each.waits,
            )
        )
    return (*found, *map(seen_zombie, (state for state in raw.values() if state.state == "Z")))


def seen_zombie(state: ProcessState) -> SeenProcess:
    """Return a process that has ended and is not reaped."""
    return SeenProcess(pid=state.pid, ppid=state.ppid, comm=state.comm, state=state.state)


def with_ends(processes: Iterable[SeenProcess], ends: Iterable[ProcessEnd]) -> tuple[SeenProcess, ...]:
    """Add how each has ended."""
    by_pid = {end.pid: end for end in ends}
    return tuple(
        replace(one, how=end.how, code=end.code) if (end := by_pid.get(one.pid)) is not None else one
        for one in processes
    )

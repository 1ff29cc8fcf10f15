"""Looking at what Bento has not made, and saying what a stop of it would do. Nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bento import clock
from bento.engine.foreign.find import find, is_paused
from bento.engine.foreign.request import own_request
from bento.engine.stop.hooks import check_hooks
from bento.engine.stop.request import known_programs
from bento.engine.stop.snapshot import also_receives, steady_look
from bento.errors import AlreadyStopped
from bento.stop.forecast.forecast import Forecast, forecast
from bento.stop.process import Process

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.foreign.names import ForeignName
    from bento.engine.stop.request import StopOptions
    from bento.model.stop import StopRequest
    from bento.programs.facts import Program


class ForeignLook(Struct, frozen=True, kw_only=True):
    """One look at what Bento has not made.

    Attributes:
        name: as it is called.
        image: "" where its engine does not name one, or only a process was named.
        request: how a stop with these options would go.
        processes: all of its PID namespace, with what each thread waits for; PID 1 has ``is_main``.
        age_s: since PID 1 has begun.
        is_paused: its cgroup is frozen.
        also_receives: signals other than the stop's that PID 1 has a handler for.
        programs: those that are known, by pid.
    """

    name: str
    image: str
    request: StopRequest
    processes: tuple[Process, ...]
    age_s: float
    is_paused: bool
    also_receives: tuple[int, ...]
    programs: dict[int, Program]


def look(drivers: Drivers, wanted: ForeignName, options: StopOptions) -> ForeignLook:
    """Look at a container of another engine, or at the PID namespace of a PID 1. Blocks for some milliseconds.

    An engine is asked first; raises as ``find``, and UsageError for a hook that cannot be run.
    """
    check_hooks((*options.pre_stop, *options.post_stop))
    found = find(drivers, wanted, is_looked_at=True)
    processes = drivers.foreign_processes
    request = own_request(drivers, found, options)
    seen = steady_look(lambda number: processes.look(found.run, number), request.signal)
    seen = processes.examine(found.run, seen)
    if not any(process.is_main for process in seen):
        raise AlreadyStopped(f"{found.name} has just ended")
    return ForeignLook(
        name=found.name,
        image=found.container.spec.image,
        request=request,
        processes=seen,
        age_s=max(0.0, clock.boot_s() - found.run.started_boot_s),
        is_paused=is_paused(drivers, found),
        also_receives=also_receives(lambda number: processes.look(found.run, number), request.signal),
        programs=known_programs(processes, seen),
    )


def explain(drivers: Drivers, wanted: ForeignName, options: StopOptions) -> Forecast:
    """Say what a stop of it with these options would do. Raises as ``look``."""
    seen = look(drivers, wanted, options)
    return forecast(
        seen.name,
        replace(seen.request, by_engine=False),  # which does not change what becomes of it
        seen.processes,
        age_s=seen.age_s,
        is_frozen=seen.is_paused,
        also_receives=seen.also_receives,
        programs=seen.programs,
    )

"""``explain``: look at a container, and say what a stop would do; send nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento import clock
from bento.engine.base import freezing
from bento.engine.lifecycle import reconcile
from bento.engine.stop.hooks import check_hooks
from bento.engine.stop.request import StopOptions, known_programs, request_for, with_own_signal
from bento.engine.stop.snapshot import also_receives, steady_look
from bento.errors import AlreadyStopped, WrongState
from bento.model.container import Status
from bento.stop.forecast.forecast import Forecast, forecast

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def explain(drivers: Drivers, ref: str, options: StopOptions) -> Forecast:
    """Say what a stop of a container with these options would do. Blocks for some milliseconds.

    Raises NotFound, AlreadyStopped, WrongState when it is being stopped, UsageError for a hook that cannot be run.
    """
    check_hooks((*options.pre_stop, *options.post_stop))
    container = reconcile.find(drivers, ref)
    run = container.run
    if not container.status.is_live or run is None:
        raise AlreadyStopped(f"container {container.name} does not run: there is nothing to stop")
    if container.status not in (Status.RUNNING, Status.PAUSED):
        raise WrongState(f"container {container.name} is {container.status.value}", hint="explain it while it runs")
    request = with_own_signal(
        request_for(container, options, drivers.settings),
        lambda number: drivers.processes.look(run, number),
        drivers.processes,
    )
    processes = steady_look(lambda number: drivers.processes.look(run, number), request.signal)
    processes = drivers.processes.examine(run, processes)
    if not any(process.is_main for process in processes):
        raise AlreadyStopped(f"container {container.name} has just ended")
    return forecast(
        container.name,
        request,
        processes,
        age_s=max(0.0, clock.boot_s() - run.started_boot_s),
        is_frozen=freezing.is_paused(drivers, container),
        also_receives=also_receives(lambda number: drivers.processes.look(run, number), request.signal),
        programs=known_programs(drivers.processes, processes),
    )

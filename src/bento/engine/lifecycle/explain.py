"""``explain``: look at a container, or any PID namespace of this host, and say what a stop would do; send nothing."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from bento import clock
from bento.engine.base import freezing
from bento.engine.lifecycle import reconcile
from bento.engine.stop.hooks import check_hooks
from bento.engine.stop.request import StopOptions, known_programs, request_for, with_own_signal
from bento.engine.stop.snapshot import look_at
from bento.errors import AlreadyStopped, NotFound, WrongState
from bento.model.container import Container, ContainerSpec, Run, Status
from bento.stop.forecast.forecast import Forecast, forecast
from bento.stop.process import Disposition, Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.engine.base.drivers import Drivers

_LOOK_AGAIN_S: Final = 0.02
"""What starts a process blocks its signals for a moment (stop.grace): a second look shows which do so for good."""
_OTHERS: Final = (2, 3)
"""SIGINT and SIGQUIT: what a program that does not receive the stop signal may end on."""


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


def explain_process(drivers: Drivers, pid: int, options: StopOptions) -> Forecast:
    """The same for a process that is PID 1 of its PID namespace, whatever engine started it.

    Raises NotFound when there is no such process, WrongState when it is not PID 1 of a namespace other than ours,
    UsageError for a hook that cannot be run.
    """
    check_hooks((*options.pre_stop, *options.post_stop))
    identity = drivers.processes.identify(pid)
    if identity is None:
        raise NotFound(f"no such process: {pid}")
    first = drivers.processes.namespace_init(pid)
    if first != pid:
        hint = "it belongs to no container that can be seen from here" if first is None else f"that would be {first}"
        raise WrongState(f"process {pid} is not PID 1 of a PID namespace", hint=hint)
    stranger = Container(
        id="", name=f"process {pid}", created_unix_ns=0, spec=ContainerSpec(image="", image_id="", layers=())
    )
    request = with_own_signal(
        request_for(stranger, options, drivers.settings),
        lambda number: drivers.processes.look_namespace(pid, number),
        drivers.processes,
    )
    processes = steady_look(lambda number: drivers.processes.look_namespace(pid, number), request.signal)
    processes = drivers.processes.examine(Run(number=0, runtime="", init=identity), processes)
    main = next((process for process in processes if process.is_main), None)
    if main is None:
        raise NotFound(f"no such process: {pid}", hint="it has just ended")
    return forecast(
        stranger.name,
        request,
        processes,
        age_s=max(0.0, clock.boot_s() - main.start_ticks / os.sysconf("SC_CLK_TCK")),
        is_frozen=drivers.processes.is_process_frozen(pid),
        also_receives=also_receives(lambda number: drivers.processes.look_namespace(pid, number), request.signal),
        programs=known_programs(drivers.processes, processes),
    )


def steady_look(look: Callable[[int], tuple[Process, ...]], number: int) -> tuple[Process, ...]:
    """Return what a look shows, a second one where a signal may be blocked for a moment only."""
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

"""What a stop may find before it begins: a refusal, or a restart that is to be prevented (rules S1, S4, S11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.config import Settings
from bento.engine.base import freezing
from bento.engine.stop.request import StopOptions, request_for
from bento.errors import AlreadyStopped, WrongState
from bento.files.tree import remove_tree
from bento.model.container import Container, Status
from bento.model.stop import AskedBy, OnPaused, StopRequest, first_said
from bento.model.stop_words import flag_of
from bento.stop.methods import SIGNAL
from bento.units import signal_name

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def refuse_if_not_running(drivers: Drivers, container: Container, options: StopOptions) -> None:
    """Raise AlreadyStopped or WrongState where there is nothing to stop (S1), or it would not receive the signal (S11).

    Nothing is changed then, but that no restart policy starts it again.
    """
    name = container.name
    if container.status is Status.CREATED:
        raise AlreadyStopped(f"container {name} was never started")
    if not container.status.is_live or container.run is None:
        _forbid_restart(drivers, container, options)
        raise AlreadyStopped(f"container {name} is already stopped")
    if (
        freezing.is_paused(drivers, container)
        and request_for(container, options, drivers.settings).on_paused is OnPaused.REFUSE
    ):
        raise WrongState(
            f"container {name} is paused and would not get the signal",
            hint=f"unpause it first, or use: stop --paused thaw {name}, or stop --paused kill {name}",
        )


def _forbid_restart(drivers: Drivers, container: Container, options: StopOptions) -> None:
    """A stop that finds nothing running still records that nothing is to run (rule S4)."""
    if container.spec.restart.name != "no":
        is_shutdown = options.asked_by is AskedBy.SHUTDOWN
        drivers.store.modify(
            container.id,
            lambda c: replace(c, stop_asked=True, shut_down=is_shutdown and (c.shut_down or not c.stop_asked)),
        )


def record_intent(drivers: Drivers, container: Container, options: StopOptions) -> None:
    """Write down of a container whose turn comes later that its stop was asked for (rule S4)."""
    is_shutdown = options.asked_by is AskedBy.SHUTDOWN
    drivers.store.modify(container.id, lambda c: replace(c, stop_asked=True, shut_down=is_shutdown))


def record_joined_intent(drivers: Drivers, container_id: str) -> Container:
    """The driver of the container's end may only be recording an exit: no restart may follow (rule S4)."""

    def want_no_restart(container: Container) -> Container:
        if container.spec.restart.name == "no" or not container.status.is_wanted:
            return container
        return replace(container, stop_asked=True)

    return drivers.store.modify(container_id, want_no_restart)


def ignored_options(container: Container, options: StopOptions) -> str:
    """Say what a caller that joins has named in vain, "" for nothing: a stop under way keeps its own way (rule S5)."""
    if container.intent is None:
        return ""
    own, wanted = container.intent.request, request_for(container, options, Settings())
    if wanted.is_sigkill:
        return ""
    under_way = f"a stop of container {container.name} is under way already"
    is_named = (options.signal, options.method, options.command) != (None, None, None)
    if is_named and _way(wanted) != _way(own):
        return f"{under_way}, by {_way(own)}: {_way(wanted)} is not sent (to end it now: stop --force)"
    late = [flag_of(name) for name, said in first_said(options).items() if getattr(own, name) != said]
    return f"{under_way}: too late for {', '.join(late)}" if late else ""


def _way(request: StopRequest) -> str:
    """How PID 1 is asked to end."""
    if request.method == SIGNAL:
        return signal_name(request.signal)
    return f"method {request.method}" + (f" ({request.command})" if request.command else "")


def call_off_restart(drivers: Drivers, container: Container, options: StopOptions) -> None:
    """Stop a container that waits to be started again: its helper ends with its run directory (rule S4)."""
    is_shutdown = options.asked_by is AskedBy.SHUTDOWN
    drivers.store.modify(
        container.id,
        lambda c: replace(c, status=Status.STOPPED, stop_asked=True, shut_down=is_shutdown, restart_boot_s=None),
    )
    remove_tree(drivers.run_dir(container.id))

"""``attach``: the streams of a container that runs already."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.base.happened import tell_of
from bento.engine.lifecycle import reconcile
from bento.engine.lifecycle.attachment import Attachment
from bento.engine.lifecycle.start import Started
from bento.errors import KernelError, WrongState
from bento.model.container import Container, Status

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.terminal import AttachOptions, WindowSize


def attach(drivers: Drivers, ref: str, options: AttachOptions) -> Started:
    """Attach to a container; its end is looked after by others. Raises NotFound, WrongState.

    The output is what comes from now on. A terminal is drawn anew, where its size is given.
    """
    container_id = reconcile.find(drivers, ref).id
    with drivers.locks.hold(container_id, LOCK_TIMEOUT_S):  # one that is just being started runs then
        container = reconcile.with_pause(drivers, drivers.store.get(container_id))
    if container.status is Status.PAUSED:
        raise _refusal(container, "it is paused", hint=f"bento unpause {container.name}")
    run = container.run
    main_fd = drivers.processes.open(run.init) if run and run.init and container.status.is_live else None
    if main_fd is None:
        why = "it has just ended" if container.status.is_live else f"it is {container.status.value}"
        raise _refusal(container, why, hint="start it first")
    try:
        attachment = Attachment(drivers, container, options)
    except KernelError as error:
        os.close(main_fd)
        raise _refusal(container, "its monitor has ended", hint="its program may go on") from error
    except BaseException:
        os.close(main_fd)
        raise
    tell_of(drivers, container, "attach")
    if options.size is not None:
        attachment.redraw(options.size)
    return Started(container, attachment, main_fd)


def resize(drivers: Drivers, ref: str, size: WindowSize) -> None:
    """Set the size of a container's terminal. No error where it has none. Raises NotFound, WrongState."""
    container = reconcile.find(drivers, ref)
    if not container.status.is_live:
        raise WrongState(f"container {container.name} is not running", hint="start it first")
    if container.spec.streams.tty:
        drivers.monitor.resize(drivers.run_dir(container.id), size)


def _refusal(container: Container, why: str, *, hint: str) -> WrongState:
    return WrongState(f"cannot attach to container {container.name}: {why}", hint=hint)

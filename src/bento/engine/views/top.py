"""``top``: the processes of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.errors import UsageError, WrongState
from bento.model.container import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container
    from bento.model.stats import ProcessTable

_DEFAULT = ("-ef",)


def top(drivers: Drivers, container: Container, options: Sequence[str]) -> ProcessTable:
    """Return the processes of a container that runs. ``options``: of ps(1); none are ``-ef``.

    Of one whose processes the host does not see its runtime's own table is returned. Blocks while ps, or the runtime,
    runs. Raises WrongState when it does not run, UsageError for options that ps, or such a runtime, does not take.
    """
    run = container.run
    if run is None or not container.status.is_live or container.status is Status.STARTING:
        status = container.status.value
        raise WrongState(f"container {container.name} is not running: it is {status}", hint="start it first")
    if run.shows_processes:
        return drivers.usage.process_table(run, tuple(options) or _DEFAULT)
    runtime = drivers.runtime(run.runtime)
    if options:
        raise UsageError(
            f"ps cannot show what runs in {runtime.name}, which has a table of its own", hint="omit the options of ps"
        )
    return runtime.process_table(container.id)

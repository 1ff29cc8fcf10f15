"""A container whose record cannot be read: one is made anew, of what the run directory and the kernel show.

What it was asked for is lost. What is known is enough to end it, to remove what is its own, and to delete its record.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from bento import log
from bento.engine.base import holdup
from bento.errors import MissingTool
from bento.model.container import Container, ContainerSpec, Run, Status

if TYPE_CHECKING:
    from bento.drivers.runtime.base import RuntimeDriver
    from bento.engine.base.drivers import Drivers

_NOTE = "its record could not be read, and was made anew"


def salvage(drivers: Drivers, container_id: str) -> Container:
    """Put a record that can be read in the place of one that cannot; return what is there then.

    It says that the container runs: the next look at it finds its processes (``recover_start``), or that it has ended.
    Raises NotFound, Conflict while others work on it.
    """
    with holdup.hold(drivers, container_id, container_id[:12], log.warning):
        runtime = _runtime(drivers, container_id)
        run = Run(number=1, runtime=str(runtime.path), shows_processes=runtime.shows_processes)
        spec = ContainerSpec(image="", image_id="", layers=(), command=("",))

        def make(name: str, created_unix_ns: int) -> Container:
            log.warning(f"the record of container {name} could not be read, and was made anew")
            return Container(
                id=container_id,
                name=name,
                created_unix_ns=created_unix_ns,
                spec=spec,
                status=Status.RUNNING,
                run=run,
                notes=(_NOTE,),
            )

        return drivers.store.salvage(container_id, make)


def _runtime(drivers: Drivers, container_id: str) -> RuntimeDriver:
    """Return the runtime that has a state of the container, or else the default one."""
    directory = drivers.run_root / "runtime"
    with suppress(OSError):
        for name in sorted(os.listdir(directory)):
            with suppress(OSError, MissingTool):
                if any(entry.startswith(container_id) for entry in os.listdir(directory / name)):
                    return drivers.runtime(name)
    return drivers.runtime("")

"""The files of a container's health check, and how one under way is ended.

A check is brought in by the runtime and is no exec session: a stop ends it, and does not wait for it (rule S16). Its
pid is in the container's run directory for as long as it runs.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from bento.files.smallfile import read_number
from bento.model.exec import ExecOptions

if TYPE_CHECKING:
    from pathlib import Path

    from bento.drivers.runtime.base import RuntimeDriver
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container, Run

_PID_FILE = "check.pid"
_SPEC = "check.json"


def pid_file(drivers: Drivers, container_id: str) -> Path:
    """Where the runtime writes the pid of a check; there while it runs."""
    return drivers.run_dir(container_id) / _PID_FILE


def spec_path(drivers: Drivers, container_id: str) -> Path:
    """What the runtime is to bring in, as ``prepare`` has written it."""
    return drivers.run_dir(container_id) / _SPEC


def prepare(drivers: Drivers, container: Container, runtime: RuntimeDriver, root: Path | None) -> None:
    """Write down what a check of this run is, as ``exec`` would run it. Raises as ``RuntimeDriver.write_process``."""
    check = container.spec.health.check
    if check is not None and check.argv:
        options = ExecOptions(command=check.argv)
        bundle = drivers.storage.bundle(container.id)
        runtime.write_process(container, options, bundle=bundle, root=root, path=spec_path(drivers, container.id))


def end(drivers: Drivers, container_id: str, run: Run | None) -> bool:
    """SIGKILL the check that is under way, with its session; whether there was one. Idempotent; does not wait.

    The runtime that has brought it in reaps it. Where the host does not see the processes, they are left to their end.
    """
    if run is None or not run.shows_processes:
        return False
    pid = pid_of(pid_file(drivers, container_id))
    main = run.init.pid if run.init else 0
    if pid is None or pid in (0, 1, main) or drivers.processes.identify(pid, mark=container_id) is None:
        return False
    drivers.processes.kill_session(pid, spared=main)
    return True


def pid_of(path: Path) -> int | None:
    """Return the pid of the check under way, as the runtime counts; None where there is none."""
    return read_number(path)


def forget(drivers: Drivers, container_id: str) -> None:
    """Remove the pid of a check that has ended. Idempotent."""
    with suppress(OSError):
        os.unlink(pid_file(drivers, container_id))

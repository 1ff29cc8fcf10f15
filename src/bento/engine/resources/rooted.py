"""The root filesystem of a container whose process lives, as a path for as long as it is looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bento.errors import KernelError
from bento.files.rootfs import open_in

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Run


@contextmanager
def root_of(drivers: Drivers, container_id: str, run: Run) -> Iterator[Path | None]:
    """Give it as the container's processes see it; None when these have just ended.

    Where the host does not see them it is what the monitor has mounted for it, without volumes and the like.
    """
    fd = _open_root(drivers, container_id, run)
    if fd is None:
        yield None
        return
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{fd}")
    finally:
        os.close(fd)


def _open_root(drivers: Drivers, container_id: str, run: Run) -> int | None:
    holder = run.init if run.shows_processes else run.monitor
    try:
        fd = drivers.processes.open_root(holder) if holder is not None else None
        if fd is None or run.shows_processes:
            return fd
        try:
            return open_in(fd, str(drivers.storage.bundle(container_id) / "rootfs"), os.O_PATH | os.O_DIRECTORY)
        finally:
            os.close(fd)
    except KernelError:
        return None

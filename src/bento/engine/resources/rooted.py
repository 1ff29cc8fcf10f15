"""The root filesystem of a container whose process lives, as a path for as long as it is looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bento.kernel.process.proc import live_tid

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Run


@contextmanager
def root_of(drivers: Drivers, container_id: str, run: Run) -> Iterator[Path | None]:
    """Give it as the container's processes see it; None when these have just ended.

    Where the host does not see them it is what the monitor has mounted for it, without volumes and the like.
    """
    holder = run.init if run.shows_processes else run.monitor
    below = "" if run.shows_processes else str(drivers.storage.bundle(container_id) / "rootfs")
    try:
        tid = live_tid(holder.pid) if holder else 0
        fd = os.open(f"/proc/{tid}/root{below}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        # Opened first, checked then: a number that is another process's by now is noticed (rule S3).
        check = drivers.processes.open(holder) if holder else None
        if check is None:
            yield None
            return
        os.close(check)
        yield Path(f"/proc/{os.getpid()}/fd/{fd}")
    finally:
        os.close(fd)

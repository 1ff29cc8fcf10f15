"""The usage driver of Linux."""

from __future__ import annotations

from collections.abc import Sequence

from bento.drivers.usage import ps
from bento.kernel.cgroup import Cgroups
from bento.model.container import Run
from bento.model.stats import ProcessTable


class LinuxUsage:
    """Implements ``UsageDriver``."""

    def process_table(self, run: Run, options: Sequence[str]) -> ProcessTable:
        """See UsageDriver.process_table."""
        return ps.process_table(_pids(run), options)


def _pids(run: Run) -> list[int]:
    main = [run.init.pid] if run.init else []  # also where it is in another cgroup
    return sorted({*main, *Cgroups(run.cgroups).pids()})

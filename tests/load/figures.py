"""What a server takes, as /proc shows it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from support import procs


class Figures(NamedTuple):
    """Of a server, and of the processes that it has started beside itself."""

    pss_kib: int
    threads: int
    descriptors: int
    helpers: int
    helpers_kib: int
    cpu_s: float

    def __str__(self) -> str:
        return (
            f"{self.pss_kib / 1024:.1f} MiB, {self.threads} threads, {self.descriptors} descriptors, "
            f"{self.helpers} helpers of {self.helpers_kib / 1024:.1f} MiB, {self.cpu_s:.1f} s of CPU"
        )


def take(pid: int) -> Figures:
    """Look at a server. Helpers: what reads containers' output for it, and its workers."""
    helpers = [one.pid for one in procs.descendants() if _is_helper(one.pid)]
    return Figures(
        pss_kib(pid),
        len(os.listdir(f"/proc/{pid}/task")),
        len(descriptors(pid)),
        len(helpers),
        sum(map(pss_kib, helpers)),
        cpu_s(pid),
    )


def _is_helper(pid: int) -> bool:
    words = procs.whole_cmdline(pid)
    return "monitor.buffer" in words or "bento.serve.worker" in words


def pss_kib(pid: int) -> int:
    """Return what of memory is this process's share."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def descriptors(pid: int) -> list[str]:
    """Return what it has open, but for the database, of which each thread has some."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if "bento.db" not in target:
                found.append(target)
    return found


def cpu_s(pid: int) -> float:
    """Return the CPU time it has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

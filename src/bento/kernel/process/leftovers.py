"""What a piece of work may have left in its process: looked at before the process is given another one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct

from bento.kernel.process import surroundings
from bento.kernel.process.surroundings import Surroundings


class Held(Struct, frozen=True):
    """What a process has. ``around``: the surroundings of the process that they are to be those of."""

    files: tuple[str, ...]
    threads: int
    has_children: bool
    around: Surroundings | None  # None: that process has ended


def held(pid: int, *, without: int = -1) -> Held:
    """Return what this process has, and the surroundings of process ``pid``. ``without``: a file that is the work's."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        has_children = True
    except ChildProcessError:
        has_children = False
    try:
        around = surroundings.of(pid)
    except OSError:  # it was killed
        around = None
    return Held(tuple(sorted(_files(without))), threading.active_count(), has_children, around)


def _files(without: int) -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the directory itself
            if int(number) != without:
                yield os.readlink(f"/proc/self/fd/{number}")

"""Taking a stop over from a driver that lives and does not answer (rules S3, S5, S6).

A driver that is Bento's own process, and nothing else, says so in the run directory, and may be ended: the stop goes
on from its journal. One that is somebody's program which uses the library is left alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from bento.command import is_own_process
from bento.errors import Conflict
from bento.model.container import ProcessIdentity

if TYPE_CHECKING:
    from pathlib import Path

    from bento.engine.parts import Parts

_FILE = "driver"
_SIGKILL = 9


def announce(parts: Parts, run_dir: Path) -> None:
    """Write down who drives the stop, where that is a process that may be ended. Without it, it is left alone."""
    if not is_own_process():
        return
    identity = parts.processes.identify(os.getpid())
    if identity is not None:
        with suppress(OSError):
            (run_dir / _FILE).write_bytes(msgspec.json.encode(identity))


def withdraw(run_dir: Path) -> None:
    """Take that back. Idempotent."""
    with suppress(OSError):
        (run_dir / _FILE).unlink()


def end_driver(parts: Parts, run_dir: Path, pid: int, name: str) -> None:
    """End the driver of a stop, by pidfd; the kernel then drops its lock and closes its socket.

    ``pid``: who listens on that socket, as the kernel says. Raises Conflict when it is not one that may be ended.
    """
    try:
        announced = msgspec.json.decode((run_dir / _FILE).read_bytes(), type=ProcessIdentity)
    except (OSError, msgspec.DecodeError):
        announced = None
    fd = parts.processes.open(announced) if announced is not None and announced.pid == pid != os.getpid() else None
    if fd is None:
        raise Conflict(
            f"container {name} is being stopped by process {pid}, which does not answer and is not Bento's to end",
            hint=f"continue it (kill -CONT {pid}), or end it yourself",
        )
    try:
        parts.processes.send_signal(fd, _SIGKILL, wake=False)
    finally:
        os.close(fd)

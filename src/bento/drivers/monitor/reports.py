"""What conmon says on the pipe named by ``_OCI_SYNCPIPE``, a JSON line at a time, and the files it leaves."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bento import packets
from bento.errors import KernelError
from bento.kernel.process import pidfd, proc
from bento.units import SIGKILL

END_TIMEOUT_S: Final = 5.0  # for conmon's own ways after it has reported: milliseconds
_MAX_REPORT_BYTES: Final = 64 * 1024


class Report(Struct, frozen=True):
    """conmon's line on the sync pipe (--api-version 1)."""

    data: int
    message: str = ""


def read_line(fd: int, deadline_mono_s: float, *, at_once: int = 4096) -> bytes | None:
    """Return what comes until a newline or end of file; None when the deadline passed first.

    ``at_once``: bytes per read; 1 leaves what follows the newline to be read by others.
    """
    line = bytearray()
    while b"\n" not in line and len(line) < _MAX_REPORT_BYTES:
        if not _is_readable(fd, deadline_mono_s):
            return None
        chunk = os.read(fd, at_once)
        if not chunk:
            break
        line += chunk
    return bytes(line)


def parse(line: bytes) -> Report | None:
    """Return what a line says, or None when it is not one of conmon's."""
    try:
        return msgspec.json.decode(line, type=Report, strict=False)
    except msgspec.DecodeError:
        return None


def reaches_end(fd: int, deadline_mono_s: float) -> bool:
    """Whether end of file came before the deadline: every process that had the pipe has ended."""
    while _is_readable(fd, deadline_mono_s):
        if not os.read(fd, 4096):
            return True
    return False


def _is_readable(fd: int, deadline_mono_s: float) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    left_ms = max(0.0, deadline_mono_s - time.monotonic()) * 1000
    return bool(poller.poll(left_ms))


def kill_monitor(pid: int | None) -> None:
    """Kill a monitor by the pid it has written, if it still is one."""
    if pid is None:
        return
    with suppress(KernelError):
        fd, _ = pidfd.identify(pid)
        try:
            status = proc.read(pid)
            if status is not None and status.comm == "conmon" and pidfd.send(fd, SIGKILL):
                pidfd.wait(fd, END_TIMEOUT_S)
        finally:
            os.close(fd)


def end_input(directory: Path) -> None:
    """Have a conmon close its end of the process's input: it does when a client of its socket goes."""
    with suppress(OSError):  # the process was over at once, and its monitor with it
        os.close(packets.connect(directory, "attach"))

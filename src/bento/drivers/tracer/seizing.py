"""Seizing a process with all of its threads, and what /proc says of these (proc(5))."""

from __future__ import annotations

import errno
import os
import signal
from enum import Enum
from typing import Final

from bento.drivers.tracer.signals import parse_masks
from bento.drivers.tracer.tracee import Thread, Tracee
from bento.errors import KernelError
from bento.kernel.process import proc, ptrace

_PF_EXITING: Final = 0x4  # linux/sched.h
_SEIZE_LIMIT_S: Final = 1.0
_SIGCHLD_BIT: Final = 1 << (signal.SIGCHLD - 1)


class Prospect(Enum):
    """What will become of a thread when its process ends, or does not."""

    LIVES = "lives"
    MAY_STOP = "may-stop"  # killed, and on its way: it stops at its exit, or passes it when it had begun to end before
    ENDS = "ends"  # past its exit


class Refused(Exception):
    """A process cannot be traced; it is as it was, or will be as soon as it can be reached."""


def look_at(pid: int, start_ticks: int) -> proc.ProcStatus:
    """Return one look at this very process. Raises Refused."""
    status = proc.read(pid)
    if status is None or status.start_ticks != start_ticks:
        raise Refused("it has ended")
    return status


def check_transparency(status: proc.ProcStatus) -> None:
    """Refuse a process that would notice: an ignored SIGCHLD ends its calls with EINTR, which cannot be undone here."""
    receives = (status.caught | status.blocked) & _SIGCHLD_BIT
    if not receives and not ptrace.can_restart_calls() and _has_children(status.pid):
        raise Refused("the ends of its children would interrupt it, which cannot be undone on this architecture")


def seize(tracee: Tracee) -> None:
    """Trace every live thread of it, without stopping any. Raises Refused: then ``tracee.threads`` is to be let go."""
    seen: set[int] = set()
    # A thread that a seized one starts is traced from the first; so this comes to an end.
    while new := [tid for tid in _tids(tracee.pid) if tid not in seen]:
        for tid in new:
            seen.add(tid)
            if _seize_thread(tid, tracee.options):
                tracee.threads[tid] = Thread(tid, tracee)
    look_at(tracee.pid, tracee.start_ticks)
    if not tracee.threads:
        raise Refused("it has ended")


def look_around(tids: list[int]) -> set[Prospect]:
    """Return what becomes of these threads; no further than to the first that lives."""
    found = set()
    for tid in tids:
        status = _read(f"/proc/{tid}/status")
        if not status or _is_exiting(tid):
            found.add(Prospect.ENDS)
        elif parse_masks(status).own >> (signal.SIGKILL - 1) & 1:
            found.add(Prospect.MAY_STOP)
        else:
            return {Prospect.LIVES}
    return found


def belongs(tid: int, pid: int) -> bool:
    """Whether this is a thread of that process."""
    return os.path.exists(f"/proc/{pid}/task/{tid}")


def process_of(tid: int) -> int:
    """Return the process that a thread is of, 0 when it has gone."""
    for line in _read(f"/proc/{tid}/status").split(b"\n"):
        if line.startswith(b"Tgid:"):
            return int(line[5:])
    return 0


def call_of(tid: int) -> bytes:
    """Return the text of what says in which call it is, for ``calls.parse_call``."""
    return _read(f"/proc/{tid}/syscall")


def _seize_thread(tid: int, options: int, tries: int = 5) -> bool:
    """Return whether it is traced by us; False: it has ended, or is past the point where it could be kept."""
    # execve waits for the end of its other threads, and seize for execve: should the tracer be what is to let one of
    # them end, this ends the tracer, and with that every hold, and both go on. The client is notified. Nothing else
    # wakes a thread from there: the kernel makes an interrupted seize again (-ERESTARTNOINTR).
    signal.setitimer(signal.ITIMER_REAL, _SEIZE_LIMIT_S)
    try:
        ptrace.seize(tid, options)
    except KernelError as error:
        status = proc.read_thread(tid)
        if status is None or not status.is_alive or ptrace.has_gone(error):
            return False
        if status.tracer_pid == os.getpid():
            return True  # one that we trace has started it meanwhile
        if status.tracer_pid:
            raise Refused(f"process {status.tracer_pid} traces it") from error
        if error.errno == errno.EPERM and _is_exiting(tid):
            return False
        if tries:  # it had ended, and by execve another thread has taken over its number
            return _seize_thread(tid, options, tries - 1)
        raise Refused(os.strerror(error.errno)) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return not _is_exiting(tid)


def _is_exiting(tid: int) -> bool:
    fields = _read(f"/proc/{tid}/stat").rpartition(b")")[2].split()
    return not fields or bool(int(fields[6]) & _PF_EXITING)


def _has_children(pid: int) -> bool:
    return any(_read(f"/proc/{pid}/task/{tid}/children").strip() for tid in _tids(pid))


def _tids(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return b""

"""Run level 0 for a container's sysvinit, through the FIFO that it reads - and never for the host's (rule S10).

A path through /proc/PID/root can lead out of the container by a symbolic link. So the path is walked inside the
container's mount namespace, without opening what is there (O_PATH), and what was found is judged from outside: it must
be a FIFO, none of the host's own, and on a filesystem that the host has not mounted anywhere - a bind mount would be.
Only then is it opened, that very file and not its path again.

The request is sysvinit's ``struct init_request`` (initreq.h): magic, command, run level, sleep time, and room up to
384 bytes.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from contextlib import suppress
from typing import Final

from bento.drivers.processes.base import Refusal
from bento.errors import KernelError
from bento.kernel import mountinfo, namespace

CANDIDATES: Final = ("/run/initctl", "/dev/initctl", "/etc/.initctl")

_MAGIC: Final = 0x03091969
_CMD_RUNLVL: Final = 1
_SLEEP_S: Final = 3  # between SIGTERM and SIGKILL
REQUEST: Final = struct.pack("=iiii368x", _MAGIC, _CMD_RUNLVL, ord("0"), _SLEEP_S)

_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN: Final = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY  # without a reader ENXIO, no wait (fifo(7))
_NOT_READ: Final = "is read by no process"


def ask(pidfd: int, pid: int) -> Refusal | None:
    """Ask the init behind a pidfd for run level 0. None: it is in the FIFO. ``pid`` is the same process's."""
    host = _identities()  # before anything of the container is touched
    try:
        found = namespace.in_mounts_of(pidfd, _find)
    except KernelError as error:
        return Refusal(f"the container's mounts cannot be entered: {error.message}")
    faults: list[str] = []
    try:
        for path, fd in found:
            fault = _fault(fd, pid, host) or _write(fd)
            if not fault:
                return None
            faults.append(f"{path} {fault}")
    finally:
        for _, fd in found:
            os.close(fd)
    may_pass = all(fault.endswith(_NOT_READ) for fault in faults)
    return Refusal("; ".join(faults) or "there is no initctl FIFO", may_pass=may_pass)


def _find() -> list[tuple[str, int]]:
    """Return a handle of each candidate that is there. Run inside the container."""
    found = []
    for path in CANDIDATES:
        with suppress(OSError):
            found.append((path, os.open(path, _LOOK)))
    return found


def _fault(fd: int, pid: int, host: set[tuple[int, int]]) -> str:
    """Return what is wrong with a file, or ""."""
    info = os.fstat(fd)
    if stat.S_ISLNK(info.st_mode):
        return "is a symbolic link"
    if not stat.S_ISFIFO(info.st_mode):
        return "is not a FIFO"
    if (info.st_dev, info.st_ino) in host:
        return "is the host's own"
    mount = _mount_of(fd, pid)
    if mount is None:
        return "is on a mount that cannot be found"
    if mount.device in {entry.device for entry in mountinfo.mount_table(os.getpid())}:
        return "is on a filesystem of the host"
    return ""


def _mount_of(fd: int, pid: int) -> mountinfo.MountEntry | None:
    """Return the container's mount that an open file is on (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        ids = [int(line[7:]) for line in file if line.startswith("mnt_id:")]
    return next((entry for entry in mountinfo.mount_table(pid) if [entry.mount_id] == ids), None)


def _identities() -> set[tuple[int, int]]:
    """Return (device, inode) of every FIFO that the host's own init may read."""
    found = set()
    for path in (*CANDIDATES, "/var/run/initctl", "/run/openrc/init.ctl"):
        with suppress(OSError):
            info = os.stat(path)
            found.add((info.st_dev, info.st_ino))
    return found


def _write(fd: int) -> str:
    """Write the whole request, which is less than a FIFO takes at once (PIPE_BUF); return what went wrong, or ""."""
    try:
        fifo = os.open(f"/proc/self/fd/{fd}", _OPEN)
    except OSError as error:
        return _NOT_READ if error.errno == errno.ENXIO else f"cannot be opened: {error.strerror}"
    try:
        os.write(fifo, REQUEST)
    except (BlockingIOError, BrokenPipeError):  # it is full, or its reader has just gone
        return _NOT_READ
    finally:
        os.close(fifo)
    return ""

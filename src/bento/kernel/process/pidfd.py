"""Processes held by descriptor: a pidfd never means another process than the one it was opened for."""

from __future__ import annotations

import errno
import fcntl
import functools
import math
import os
import select
import signal as signals
import struct
import time
from typing import Final

from bento.errors import KernelError
from bento.kernel.process import proc
from bento.model.container import ProcessIdentity

# linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info) with the first published size, 64 bytes:
# u64 mask, u64 cgroupid, u32 pid tgid ppid and 8 ids, s32 exit_code.
_PIDFD_GET_INFO: Final = 0xC040FF0B
_PIDFD_INFO_PID: Final = 1 << 0
_PIDFD_INFO_EXIT: Final = 1 << 3
_INFO: Final = struct.Struct("=QQ11Ii")


@functools.cache
def boot_id() -> str:
    """Return the id the kernel gave this boot (random(4))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        return file.read().strip()


def open_verified(identity: ProcessIdentity) -> int | None:
    """Return a pidfd of exactly that process, or None when it is gone, a zombie, or another process.

    The caller closes it. The pidfd is opened first: whatever is read after that belongs to the
    process it holds, or shows that the process has gone (rule S3).
    """
    if identity.pid <= 1 or identity.boot_id != boot_id():
        return None
    if identity.pid_ns and identity.pid_ns != proc.own_namespaces()[0]:
        return None
    fd = _open(identity.pid)
    if fd is None:
        return None
    if proc.start_ticks_if_alive(identity.pid) == identity.start_ticks and not has_exited(fd):
        return fd
    os.close(fd)
    return None


def identify(pid: int) -> tuple[int, ProcessIdentity]:
    """Return (pidfd, identity) of a live process; the caller closes the pidfd.

    Raises KernelError with ESRCH when there is none, or only a zombie.
    """
    fd = _open(pid)
    if fd is not None:
        ticks = proc.start_ticks_if_alive(pid)
        # Alive after the read: so the ticks are this process's, not a successor's.
        if ticks is not None and not has_exited(fd):
            return fd, ProcessIdentity(pid, ticks, boot_id(), proc.own_namespaces()[0])
        os.close(fd)
    raise KernelError("pidfd_open", errno.ESRCH, "no such process", path=str(pid))


def send(pidfd: int, signal: int) -> bool:
    """Send a signal; return False when the process has already gone. Raises KernelError otherwise."""
    try:
        signals.pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        return False
    except OSError as error:
        raise KernelError("pidfd_send_signal", error.errno or 0, error.strerror or str(error)) from error
    return True


def has_exited(pidfd: int) -> bool:
    """Whether the process has ended, reaped or not. Does not wait."""
    return wait(pidfd, 0.0)


def wait(pidfd: int, timeout_s: float | None) -> bool:
    """Wait until the process has ended; False when ``timeout_s`` passed first. None waits for ever."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    if timeout_s is None:
        return bool(poller.poll(None))
    deadline_mono_s = time.monotonic() + timeout_s
    while True:
        left_s = max(0.0, deadline_mono_s - time.monotonic())
        # Up, not down: a poll of 0 ms at the end would spin. An hour at a time: poll takes 32 bits.
        if poller.poll(math.ceil(min(left_s, 3600.0) * 1000)):
            return True
        if time.monotonic() >= deadline_mono_s:
            return False


def open_live(pidfd: int, name: str, flags: int = os.O_RDONLY) -> int:
    """Open a file of /proc/PID of the process behind a pidfd, such as ``ns/mnt``; the caller closes it.

    Where its leader thread has ended and others live, it is that of a thread that lives. Raises KernelError, with ESRCH
    when the process has ended.
    """
    pid = _pid_of(pidfd)
    try:
        fd = os.open(f"/proc/{proc.live_tid(pid)}/{name}", flags | os.O_CLOEXEC)
    except OSError as error:
        number = errno.ESRCH if has_exited(pidfd) else error.errno or 0
        raise KernelError("open", number, os.strerror(number), path=f"/proc/{pid}/{name}") from error
    # Alive after it was opened: so it is this process's, not a successor's.
    if not has_exited(pidfd):
        return fd
    os.close(fd)
    raise KernelError("open", errno.ESRCH, os.strerror(errno.ESRCH), path=f"/proc/{pid}/{name}")


def exit_status(pidfd: int) -> int | None:
    """Return the raw wait status (os.waitstatus_to_exitcode) of an ended process, child or not.

    While it is a zombie /proc says it; after it was reaped PIDFD_GET_INFO does, from Linux 6.15,
    when the pidfd was opened before. None when it still runs, or when it cannot be known. Does not reap.
    """
    if not has_exited(pidfd):
        return None
    # Zombie first, kernel's record second: when it is reaped in between, the second one knows.
    status = _zombie_status(pidfd)
    if status is None:
        info = _info(pidfd)
        status = info[-1] if info is not None and info[0] & _PIDFD_INFO_EXIT else None
    return status


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OverflowError:  # no pid_t: somewhere a number was garbled
        return None
    except OSError as error:
        # EINVAL: not a process but a thread of one, or a number no process can have.
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return None
        raise KernelError("pidfd_open", error.errno or 0, error.strerror or str(error), path=str(pid)) from error


def _info(pidfd: int) -> tuple[int, ...] | None:
    request = _INFO.pack(_PIDFD_INFO_PID | _PIDFD_INFO_EXIT, *[0] * 13)
    try:
        return _INFO.unpack(fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request))
    except OSError:  # ENOTTY, EINVAL: Linux before 6.13. ESRCH: reaped, and this kernel kept nothing.
        return None


def _zombie_status(pidfd: int) -> int | None:
    pid = _pid_of(pidfd)
    if pid <= 0:
        return None
    status = proc.zombie_exit_code(pid)
    # Its number is its own until it is reaped; still its own now means that the read was about it.
    return status if _pid_of(pidfd) == pid else None


def _pid_of(pidfd: int) -> int:
    """Return the pid behind a pidfd, -1 once it is reaped (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="utf-8") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line[4:])
    return -1

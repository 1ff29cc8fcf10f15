"""What a process inherits from the one that starts it: what must be the same here and there, and what is taken over.

All of it is read from the kernel, and not told by the caller.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from contextlib import suppress
from typing import Final

from msgspec import Struct

from bento.errors import KernelError
from bento.kernel import libc

_NAMESPACES: Final = (
    "mnt", "pid", "pid_for_children", "user", "net", "ipc", "uts", "cgroup", "time", "time_for_children",
)  # fmt: skip
_STATUS: Final = (
    b"Uid", b"Gid", b"Groups", b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb", b"NoNewPrivs", b"Seccomp",
    b"Seccomp_filters", b"Speculation_Store_Bypass", b"SpeculationIndirectBranch", b"THP_enabled",
)  # fmt: skip
"""Lines of /proc/PID/status (proc_pid_status(5))."""
_LIMITS: Final = tuple(
    sorted({value for name, value in vars(resource).items() if name.startswith("RLIMIT_") and isinstance(value, int)})
)
_OF_MEMORY: Final = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
"""What is loaded here already counts, and is more than the plain way needs."""
NAME: Final = 0  # in _FILES
_FILES: Final = ("comm", "oom_score_adj", "loginuid", "timerslack_ns", "coredump_filter")
_HEX: Final = "coredump_filter"  # which is read without the prefix that it is written with
_UNCHANGEABLE: Final = (signal.SIGKILL, signal.SIGSTOP)
_OF_C_LIBRARY: Final = 1 << 31 | 1 << 32  # signals 32 and 33, which it takes for itself with the first thread (nptl(7))


class Differs(Exception):
    """The command cannot be carried out here as it would be by its caller; the message names what differs."""


class Surroundings(Struct, frozen=True, kw_only=True):
    """Of one process. ``fixed``: what no process can change for itself, by name."""

    fixed: dict[str, bytes | tuple[int, int] | None]
    cgroup: str  # /proc/PID/cgroup
    ignored: int  # signals, a bit each; without the C library's own two
    umask: int
    limits: tuple[tuple[int, int], ...]
    files: tuple[str, ...]  # what _FILES have below /proc/PID
    nice: int
    policy: tuple[int, int]  # of the scheduler, and the priority there
    processors: frozenset[int]
    io_priority: int


def of(pid: int) -> Surroundings:
    """Read those of a live process. Raises OSError."""
    place = f"/proc/{pid}"
    status = dict(line.split(b":\t", 1) for line in _read(f"{place}/status").splitlines() if b":\t" in line)
    if not status:
        raise ProcessLookupError(errno.ESRCH, "the process has ended")
    fixed: dict[str, bytes | tuple[int, int] | None] = {name.decode(): status.get(name, b"") for name in _STATUS}
    fixed |= {f"namespace {name}": _identity(f"{place}/ns/{name}") for name in _NAMESPACES}
    fixed["root directory"] = _identity(f"{place}/root")
    fixed["personality"] = _read(f"{place}/personality")
    fixed["security label"] = _read(f"{place}/attr/current")
    return Surroundings(
        fixed=fixed,
        cgroup=_read(f"{place}/cgroup").decode(errors="surrogateescape"),
        ignored=int(status[b"SigIgn"], 16) & ~_OF_C_LIBRARY,
        umask=int(status[b"Umask"], 8),
        limits=tuple(resource.prlimit(pid, number) for number in _LIMITS),
        files=tuple(_read(f"{place}/{name}").decode().strip() for name in _FILES),
        nice=os.getpriority(os.PRIO_PROCESS, pid),
        policy=(os.sched_getscheduler(pid), os.sched_getparam(pid).sched_priority),
        processors=frozenset(os.sched_getaffinity(pid)),
        io_priority=libc.io_priority(pid),
    )


def take_over(own: Surroundings, caller: Surroundings) -> None:
    """Make those of this process, ``own``, the caller's. Raises Differs where that cannot be; some is changed then."""
    for name, value in caller.fixed.items():
        if own.fixed[name] != value:
            raise Differs(name)
    if own.cgroup != caller.cgroup:
        raise Differs("cgroup")
    try:
        _take_limits(own, caller)
        for name, before, after in zip(_FILES, own.files, caller.files, strict=True):
            if before != after:
                _write(f"/proc/self/{name}", f"0x{after}" if name == _HEX else after)
        if own.policy != caller.policy:
            os.sched_setscheduler(0, caller.policy[0], os.sched_param(caller.policy[1]))
        if own.nice != caller.nice:
            os.setpriority(os.PRIO_PROCESS, 0, caller.nice)
        if own.processors != caller.processors:
            os.sched_setaffinity(0, caller.processors)
        if own.io_priority != caller.io_priority:
            libc.set_io_priority(caller.io_priority)
    except (OSError, ValueError, KernelError) as error:
        raise Differs(str(error)) from None
    os.umask(caller.umask)
    _take_dispositions(own.ignored, caller.ignored)


def call_itself(name: str) -> None:
    """Give this process a name (comm in proc_pid_comm(5)). Raises OSError."""
    _write("/proc/self/comm", name)


def _take_limits(own: Surroundings, caller: Surroundings) -> None:
    for number, before, after in zip(_LIMITS, own.limits, caller.limits, strict=True):
        if before != after:
            if number in _OF_MEMORY:
                raise Differs("limit of memory")
            resource.setrlimit(number, after)


def _take_dispositions(own: int, caller: int) -> None:
    """Ignore what the caller ignores, and nothing else. Handlers of this process are not looked at."""
    for number in range(1, signal.NSIG):
        bit = 1 << (number - 1)
        if (own ^ caller) & bit and number not in _UNCHANGEABLE:
            with suppress(OSError, ValueError):
                is_interrupt = number == signal.SIGINT  # Python's own handler, where it is not ignored
                default = signal.default_int_handler if is_interrupt else signal.SIG_DFL
                signal.signal(number, signal.SIG_IGN if caller & bit else default)


def _read(path: str) -> bytes:
    """Return a file of /proc; nothing where this kernel has none, or does not tell."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 1 << 14)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino

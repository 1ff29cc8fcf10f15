"""In which cgroups a container's monitor lives."""

from __future__ import annotations

import os
from contextlib import suppress

from bento.errors import KernelError
from bento.kernel.cgroup import read_control, roots, write_control


class MonitorCgroup:
    """The cgroups for a monitor, which it enters before it has its container made. Close it.

    It is not in those of the command that started it: systemd ends a unit, or a session, with all that is in its cgroup
    (systemd.kill(5)), and would have the monitor pass SIGTERM on to the container. It is in the root of each hierarchy.

    On a hybrid host, for a container whose runtime does not see version 2, it is in the container's own cgroup there:
    the process that is in it when the runtime makes the container's cgroup namespace has it for that namespace's root.
    It leaves it for the root afterwards.
    """

    def __init__(self, name: str = "", unified: str = "/sys/fs/cgroup/unified") -> None:
        """Open the way; make the cgroup ``name`` of version 2 when there is one. Raises KernelError."""
        self._unified = unified
        self._root_fds: list[int] = []
        self._own_fd = -1
        if name:
            path = f"{unified}/{name}"
            try:
                os.makedirs(path, exist_ok=True)
                self._own_fd = os.open(f"{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            except OSError as error:
                raise KernelError("mkdir", error.errno or 0, error.strerror or "", path=path) from error
        for root in roots(read_control("/proc/self/cgroup")):
            with suppress(OSError):  # read-only: then it stays where it is
                self._root_fds.append(os.open(f"{root}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))

    @property
    def is_here(self) -> bool:
        """Whether it is nowhere else than where this process is."""
        return self._own_fd < 0 and not self._root_fds

    def enter(self, pid: int) -> None:
        """Move a process in. Raises KernelError when it cannot be moved to a cgroup of its container."""
        for fd in self._root_fds:
            with suppress(OSError):  # EBUSY: no root of the hierarchy, only of a cgroup namespace (cgroup-v2.rst)
                os.write(fd, str(pid).encode())
        if self._own_fd >= 0:
            try:
                os.write(self._own_fd, str(pid).encode())
            except OSError as error:
                raise KernelError("write", error.errno or 0, error.strerror or "", path="cgroup.procs") from error

    def leave(self, pid: int) -> None:
        """Move a process out of the container's cgroup. No error when it is gone."""
        if self._own_fd >= 0:
            write_control(f"{self._unified}/cgroup.procs", str(pid))

    def close(self) -> None:
        """Close it; the cgroup stays."""
        for fd in (*self._root_fds, self._own_fd):
            if fd >= 0:
                os.close(fd)

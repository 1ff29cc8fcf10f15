"""The processes of one PID namespace, with those of the namespaces nested in it (pid_namespaces(7), ioctl_ns(2))."""

from __future__ import annotations

import fcntl
import os
from typing import Final, Self

from bento.errors import is_shortage
from bento.kernel.process import proc

_NS_GET_PARENT: Final = 0xB702  # linux/nsfs.h: _IO(0xb7, 2)


class PidNamespace:
    """A PID namespace below this process's own. It is known by its number, which no process holds: it may be gone."""

    def __init__(self, inode: int) -> None:
        self.inode = inode
        self._own = _inode(os.getpid())
        self._belongs = {inode: True, self._own: False}

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the one that a process is in; None: that is this process's own, one around it, or cannot be known."""
        inode = _inode(pid)
        if not inode or _own_is_not_around(pid):
            return None
        return cls(inode)

    def pids(self) -> list[int]:
        """Return every process in it and in those nested in it, as listed now."""
        return [pid for pid in proc.all_pids() if self.has(pid)]

    def has(self, pid: int) -> bool:
        """Whether a process is in it, or in one nested in it."""
        inode = _inode(pid)
        if not inode:
            return False
        if inode not in self._belongs:
            self._belongs[inode] = self.inode in _above(pid)
        return self._belongs[inode]

    def is_in(self, pid: int) -> bool:
        """Whether a process is in it, and in none that is nested."""
        return _inode(pid) == self.inode


def _inode(pid: int) -> int:
    """Return the number of a process's PID namespace; 0 when that cannot be known."""
    return _inode_at(pid) or ((tid := proc.live_tid(pid)) != pid and _inode_at(tid)) or 0


def _inode_at(tid: int) -> int:
    try:
        return os.stat(f"/proc/{tid}/ns/pid").st_ino
    except OSError as error:
        if is_shortage(error):  # of a process that lives: it must not be taken for one that has gone
            raise
        return 0


def _own_is_not_around(pid: int) -> bool:
    return _inode(os.getpid()) not in _above(pid)


def _above(pid: int) -> list[int]:
    """Return the numbers of the namespaces around a process's own, up to this process's own: of no other it is told."""
    found: list[int] = []
    try:
        fd = os.open(f"/proc/{proc.live_tid(pid)}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if is_shortage(error):
            raise
        return found
    while True:
        try:
            above = fcntl.ioctl(fd, _NS_GET_PARENT)
        except OSError:  # EPERM: it would be outside of this process's own
            return found
        finally:
            os.close(fd)
        found.append(os.fstat(above).st_ino)
        fd = above

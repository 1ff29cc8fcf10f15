"""What a small process of Bento's own that stays gives up when it begins.

It imports C modules alone: these processes are Python without ``site``, and what they load stays in memory.
"""

from __future__ import annotations

import gc
import posix
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_OVERFLOW_ID = 65534  # a user and a group that own nothing (user_namespaces(7))


def settle(cgroups: Iterable[str]) -> None:
    """Give up the working directory, cgroups and rights, and make room for many descriptors.

    ``cgroups``: paths of ``cgroup.procs`` to be in from now on.
    """
    posix.chdir("/")
    for path in cgroups:
        try:
            fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
            try:
                posix.write(fd, b"0")
            finally:
                posix.close(fd)
        except OSError:  # read-only, or no root of the hierarchy: then it stays where it is
            pass
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        posix.setgroups([])
        posix.setresgid(_OVERFLOW_ID, _OVERFLOW_ID, _OVERFLOW_ID)
        posix.setresuid(_OVERFLOW_ID, _OVERFLOW_ID, _OVERFLOW_ID)
    except OSError:  # in a user namespace that does not have this user
        pass
    gc.collect()
    gc.freeze()

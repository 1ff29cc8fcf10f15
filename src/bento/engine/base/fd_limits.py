"""How many files this process may still open (setrlimit(2), RLIMIT_NOFILE)."""

from __future__ import annotations

import errno
import os
import resource
from typing import Final

from bento.errors import KernelError

_LEAST_OPEN_FILES: Final = 32
"""crun 1.8 fails with 28 while it masks paths of /proc."""

_FAR_BELOW: Final = 4
"""So many times what is asked for is free above the lowest free number; some of those numbers may be in use."""


def check_limits() -> None:
    """Raise KernelError where this process, and so what it starts, may open too few files for a container.

    Asked before anything is made: half-way there would be no descriptor left to clean up with.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < _LEAST_OPEN_FILES:
        raise KernelError(
            "getrlimit",
            errno.EMFILE,
            f"only {limit} files may be open here, and to make a container takes {_LEAST_OPEN_FILES}",
            hint="raise the limit: ulimit -n 1024",
        )


def check_room(count: int, what: str) -> None:
    """Raise KernelError where this process cannot open so many files more, which it takes to do ``what``.

    Far below the limit one is opened alone: a stop of hundreds asks hundreds of times.
    """
    fds: list[int] = []
    try:
        fds.append(os.open("/", os.O_PATH | os.O_CLOEXEC))
        if has_room_above(fds[0], _FAR_BELOW * count):
            return
        while len(fds) < count:
            fds.append(os.open("/", os.O_PATH | os.O_CLOEXEC))
    except OSError as error:
        raise KernelError(
            "open",
            error.errno or 0,
            f"only {len(fds)} more files may be open here, and to {what} takes {count}",
            hint="raise the limit: ulimit -n 1024",
        ) from None
    finally:
        for fd in fds:
            os.close(fd)


def has_room_above(fd: int, count: int) -> bool:
    """Whether so many files more can be opened after this one, the last: the kernel gives the lowest free number."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit < 0 or fd + count < limit

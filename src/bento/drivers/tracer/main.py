"""The tracer process, from its first instruction on: no disk, no children of its own, no way back into its starter."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.drivers.tracer import tracer
else:  # loaded by the tracer process, while its starter is at work elsewhere
    tracer = LazyModule("bento.drivers.tracer.tracer")

_SOCKET_FD: Final = 3


def be_tracer(socket_fd: int) -> NoReturn:
    """Be the tracer process, from a fork of a process with one thread, or as a program. Never returns.

    Signals may be blocked before, so that none ends it, or runs a handler of the caller's, before it is on its own.
    """
    code = 1
    try:
        gc.freeze()  # what a fork has inherited is not walked through: each page touched would be copied
        with suppress(PermissionError):  # it leads one already: it was spawned so
            os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _keep_only(socket_fd)
        os.chdir("/")  # holds no mount
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        server = tracer.Tracer(_SOCKET_FD)
        server.warm_up()
        try:
            server.serve()
        except BaseException as error:
            server.tell_crash(error)
            raise
        code = 0
    finally:
        os._exit(code)


def _keep_only(socket_fd: int) -> None:
    """Close everything else, at once: a lock of the engine (flock) lasts as long as any copy of its descriptor."""
    os.dup2(socket_fd, _SOCKET_FD, inheritable=False)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > _SOCKET_FD:
            with suppress(OSError):  # the one that listed them
                os.close(int(name))
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null_fd, fd)
    os.close(null_fd)


if __name__ == "__main__":
    be_tracer(int(sys.argv[1]))

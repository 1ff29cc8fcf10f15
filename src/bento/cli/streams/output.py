"""Writes to our standard output and standard error without ever waiting there."""

from __future__ import annotations

import errno
import os
import select
import stat

_PIECE_BYTES = select.PIPE_BUF  # a pipe that has room takes so much without blocking (pipe(7))


class Output:
    """One of our descriptors. It is shared with others, and so is not made non-blocking.

    A pipe or a terminal is opened once more for that, where it can be. Of the others a file never blocks, and a socket
    takes a piece when it polls writable.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        mode = os.fstat(fd).st_mode
        self._is_file = stat.S_ISREG(mode)
        self._is_own = False
        if stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and os.isatty(fd)):
            try:
                self.fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
                self._is_own = True
            except OSError:  # another user's
                pass

    def write(self, data: memoryview) -> int:
        """Return how many bytes were taken; 0: there is no room (poll ``fd``). Raises BrokenPipeError: no reader."""
        try:
            if self._is_own or self._is_file:
                return os.write(self.fd, data)
            poller = select.poll()
            poller.register(self.fd, select.POLLOUT)
            return os.write(self.fd, data[:_PIECE_BYTES]) if poller.poll(0) else 0
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno == errno.EIO:  # a terminal that was closed
                raise BrokenPipeError from error
            raise

"""Passes the streams of a command that was brought into a container on, from and to our own."""

from __future__ import annotations

import errno
import os
import select
from typing import TYPE_CHECKING

from bento.cli.streams.poller import Poller
from bento.cli.streams.stdin import StdinCopy
from bento.files.whole import write_all

if TYPE_CHECKING:
    from bento.engine.lifecycle.exec_ import Attached

_READ_BYTES = 1 << 16


class ExecRelay:
    """Copies stdin, when asked to, and both outputs, or the terminal, until the command has ended.

    What it has left behind may keep the outputs open: that is not waited for. A reader of ours that does not read has
    the command wait.
    """

    def __init__(self, running: Attached, keys: bytes) -> None:
        """``keys``: see ``StdinCopy``."""
        self._running = running
        self._outputs = {running.stdout_fd: 1} | ({} if running.stderr_fd is None else {running.stderr_fd: 2})
        self._poller = Poller()
        for fd in self._outputs:
            os.set_blocking(fd, False)
            self._poller.want(fd, select.POLLIN)
        if running.stdin_fd is not None:
            os.set_blocking(running.stdin_fd, False)
        self._stdin = StdinCopy(self._poller, running, keys)

    def run(self) -> None:
        """Copy until the end. Blocks. Raises BrokenPipeError when a reader of ours is gone, Detached."""
        running = self._running
        end_fd = running.status_fd
        self._poller.want(end_fd, select.POLLIN)
        while True:
            ready = self._poller.wait()
            for fd in self._outputs.keys() & ready.keys():
                self._copy(fd)
            self._stdin.handle(ready)
            if ready.get(end_fd, 0) == select.POLLHUP and end_fd != running.process_fd and running.process_fd:
                self._poller.want(end_fd, None)  # its monitor was ended, and the command was not
                end_fd = running.process_fd
                self._poller.want(end_fd, select.POLLIN)
            elif end_fd in ready:
                break
        for fd in tuple(self._outputs):
            while self._copy(fd):
                pass

    def _copy(self, fd: int) -> bool:
        """Copy what there is now; return whether there may be more."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal that no process has open any more
                raise
            data = b""
        if not data:
            self._poller.want(fd, None)
            del self._outputs[fd]
        else:
            try:
                write_all(self._outputs[fd], data)
            except OSError as error:
                if error.errno == errno.EIO:  # our own terminal was closed
                    raise BrokenPipeError from error
                raise
        return bool(data)

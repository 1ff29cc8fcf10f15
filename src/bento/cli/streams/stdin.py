"""Copies our standard input to a process that is attached to."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from typing import Protocol

from bento.cli.streams.poller import Poller
from bento.parse.detach_keys import KeyFilter

_READ_BYTES = 1 << 16
_FD = 0


class Detached(Exception):
    """The detach keys were typed."""


class Sink(Protocol):
    """A process's input: ``Attachment`` and ``Attached`` are such."""

    @property
    def input_fd(self) -> int | None:
        """Polled for writing; None at its end."""

    def write(self, data: bytes) -> int:
        """Pass input on; return how much was taken. Raises BlockingIOError, BrokenPipeError."""

    def end_input(self) -> None:
        """Let it come to an end."""


class StdinCopy:
    """Reads some, passes it on, and then reads more. Our descriptor is shared with others: it never is non-blocking."""

    def __init__(self, poller: Poller, sink: Sink, keys: bytes) -> None:
        """``keys``: the detach keys; empty: nothing detaches."""
        self._poller, self._sink = poller, sink
        self._filter = KeyFilter(keys)
        self._waiting = b""
        self._sink_fd = sink.input_fd
        if self._sink_fd is not None:
            poller.want(_FD, select.POLLIN)

    def handle(self, ready: Mapping[int, int]) -> None:
        """Go on with what can be read or written now. Raises Detached."""
        if self._sink_fd is None:
            return
        if self._waiting:
            if self._sink_fd in ready:
                self._pass_on(self._sink_fd)
        elif _FD in ready:
            try:
                data = os.read(_FD, _READ_BYTES)
            except OSError:  # closed, a directory, or a terminal that is gone: there is nothing to pass on
                data = b""
            if data:
                self._waiting = self._filter.feed(data)
                self._pass_on(self._sink_fd)
            else:
                self.end()

    def end(self) -> None:
        """Read no more, and let the process's input end. Idempotent."""
        fd, self._sink_fd = self._sink_fd, None
        if fd is not None:
            self._poller.want(_FD, None)
            self._poller.want(fd, None)
            self._sink.end_input()

    def _pass_on(self, sink_fd: int) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[self._sink.write(self._waiting) :]
        except BlockingIOError:
            self._poller.want(_FD, None)
            self._poller.want(sink_fd, select.POLLOUT)
            return
        except OSError:  # it has no reader any more
            self.end()
            return
        if self._filter.is_complete:
            raise Detached
        self._poller.want(sink_fd, None)
        self._poller.want(_FD, select.POLLIN)

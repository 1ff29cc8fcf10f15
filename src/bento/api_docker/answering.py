"""What a worker writes as the answer of a request: lines of JSON, as Docker's clients read them."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from typing import Any, Final

import msgspec

from bento import clock
from bento.docker import image_api
from bento.model.transfer import TransferProgress

_EVERY_S: Final = 0.1
"""Between two lines of one layer that moves."""


class Lines:
    """The answer. Safe between threads. A reader that has gone is no error: the signal is on its way."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self.has_begun = False
        self._poller = select.poll()  # a pipe that is writable takes a page at once (pipe(7)), and so a line
        self._poller.register(fd, select.POLLOUT)

    def say(self, document: dict[str, Any], *, waits: bool = True) -> None:
        """Write a line. Blocks while the client does not read; without ``waits`` the line is then left out."""
        left = memoryview(msgspec.json.encode(document) + b"\r\n")
        with self._lock, suppress(BrokenPipeError):
            self.has_begun = True
            if not waits and not self._poller.poll(0):
                return
            while left:
                left = left[os.write(self._fd, left) :]


class Progress:
    """Tells how far a transfer is: each phase of a layer once, and now and then how much of it has moved.

    It never waits: a client that does not read holds no transfer up. Called by several threads. ``first``: lines before
    the first of them.
    """

    def __init__(self, lines: Lines, *first: dict[str, Any], is_push: bool = False) -> None:
        self._lines, self._first, self._is_push = lines, list(first), is_push
        self._told: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def __call__(self, report: TransferProgress) -> None:
        """Tell of one layer."""
        now_s = clock.mono_s()
        with self._lock:
            phase, at_s = self._told.get(report.digest, ("", 0.0))
            if phase == report.phase and (report.phase != "moving" or now_s - at_s < _EVERY_S):
                return
            self._told[report.digest] = (report.phase, now_s)
        self.begin()
        self._lines.say(image_api.progress(report, is_push=self._is_push), waits=False)

    def begin(self) -> None:
        """Say the first lines. Idempotent."""
        with self._lock:
            first, self._first = self._first, []
            for each in first:
                self._lines.say(each)

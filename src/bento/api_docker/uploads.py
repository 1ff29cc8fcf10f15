"""The body of a request, as a worker reads it: what was cut off is never read to its end.

An archive may be over after any of its members. So one whose client has left in the middle, or whose server has died,
would pass for a whole one: the work is broken off instead.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from bento import quiet_threads

_PIECE_BYTES: Final = 1 << 20


class Upload:
    """Passes a body on to ``fd``, by a thread of its own.

    ``is_whole`` is asked at its end. Where it is not, the main thread, which reads it, gets SIGTERM before that end.
    """

    def __init__(self, body_fd: int, is_whole: Callable[[], bool]) -> None:
        self._body_fd, self._is_whole = body_fd, is_whole
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC)
        quiet_threads.start(self._pass_on, "upload")

    def _pass_on(self) -> None:
        with suppress(BrokenPipeError):  # nothing reads it any more
            while os.splice(self._body_fd, self._writer, _PIECE_BYTES):
                pass
            if not self._is_whole():
                # Before the end, which it then returns from a read with: a read that was just begun is not interrupted.
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        os.close(self._writer)
        os.close(self._body_fd)  # what still comes is not sent

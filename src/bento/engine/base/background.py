"""What would hold up the loop, done beside it: one thread, one piece of work after the other."""

from __future__ import annotations

import os
from _thread import allocate_lock  # what threading is made of, without the cost of importing it
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from bento.errors import BentoError, as_bento_error

if TYPE_CHECKING:
    from bento.engine.base.loop import Loop

Work = Callable[[], None]
Done = Callable[[BentoError | None], None]


class Background:
    """Runs work in a thread that exists while there is some. ``done`` is called from the loop. Close it.

    No child is forked here: posix_spawn may be called from any thread.
    """

    def __init__(self, loop: Loop, start_thread: Callable[[Callable[[int], None], int], None]) -> None:
        self._loop, self._start_thread = loop, start_thread
        self._fd: int | None = None  # an eventfd: readable when a piece of work has ended
        self._queue: deque[tuple[Work, Done]] = deque()
        self._ended: deque[tuple[Done, BaseException | None]] = deque()
        self._is_running = False
        self._mutex = allocate_lock()

    def do(self, work: Work, done: Done) -> None:
        """Do this after all that was given before; then call ``done`` with the error it raised, or None.

        A BentoError or OSError; another exception is a defect, and raised by the loop.
        """
        if self._fd is None:
            self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._loop.watch(self._fd, self._take_ended)
        with self._mutex:
            self._queue.append((work, done))
            is_running, self._is_running = self._is_running, True
        if not is_running:
            self._start_thread(self._run, self._fd)

    def _run(self, fd: int) -> None:
        while True:
            with self._mutex:
                if not self._queue:
                    self._is_running = False
                    os.eventfd_write(fd, 1)  # under the lock: ``close`` closes it after this
                    return
                work, done = self._queue.popleft()
            error: BaseException | None = None
            try:
                work()
            except BaseException as raised:  # handed over to the loop's thread
                error = raised
            self._ended.append((done, error))
            os.eventfd_write(fd, 1)

    def _take_ended(self) -> None:
        if self._fd is not None:
            os.eventfd_read(self._fd)
        while self._ended:
            done, error = self._ended.popleft()
            if error is not None and not isinstance(error, (BentoError, OSError)):
                raise error
            done(as_bento_error(error) if error is not None else None)

    def close(self) -> None:
        """Leave out what has not begun, and wait for what has. Idempotent. Blocks for as long as that takes."""
        if self._fd is None:
            return
        with self._mutex:
            self._queue.clear()
        while self._is_running:
            os.set_blocking(self._fd, True)
            os.eventfd_read(self._fd)
        self._loop.unwatch(self._fd)
        with self._mutex:
            os.close(self._fd)
        self._fd = None

"""The process between monitors and the readers of output (``buffer``), as what attaches uses it.

Started when it is first needed, for all that this program is attached to: a thousand clients cost no thousand
processes. Safe between threads.
"""

from __future__ import annotations

import _socket
import os
import sys
from _thread import allocate_lock
from pathlib import Path
from typing import Final

from bento import command, packets
from bento.errors import DeadlineExceeded

_SOURCES: Final = Path(__file__).parents[3]
_RUN: Final = "import sys; sys.path.append(sys.argv.pop(1)); from bento.drivers.monitor.buffer import main; main()"
_STAY: Final = "stay"
_ANSWER_LIMIT_S: Final = 20


class Buffers:
    """One such process, of this program. It ends some seconds after its last work, or with this program."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._control: _socket.socket | None = None
        self._owner_pid = 0

    def pass_on(self, source_fd: int, reader_fd: int, directory: Path, *, stays: bool) -> None:
        """Have it read the one descriptor and write the other; the caller closes its own copies of them.

        ``directory``: where it makes a file without a name, for what the reader has not taken. ``stays``: when the
        reader has gone it does not end the connection. Raises MissingTool, KernelError, DeadlineExceeded.
        """
        with self._lock:
            if not self._has_taken(source_fd, reader_fd, directory, stays):
                self._start(source_fd, reader_fd, directory, stays)

    def close(self) -> None:
        """Give it no more. What it passes on it goes on with; then it ends. Idempotent."""
        with self._lock:
            self._forget()

    def __del__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            control.close()

    def _has_taken(self, source_fd: int, reader_fd: int, directory: Path, stays: bool) -> bool:
        """Give it this one, too; False: there is no such process (any more)."""
        if self._control is None or self._owner_pid != os.getpid():  # a fork has its own
            return False
        order = os.fsencode(directory) + (f"\0{_STAY}".encode() if stays else b"\0")
        try:
            packets.send(self._control.fileno(), order, (source_fd, reader_fd))
            return bool(self._control.recv(1))
        except BlockingIOError:
            self._forget()
            raise DeadlineExceeded(
                f"the process that reads containers' output has not answered for {_ANSWER_LIMIT_S} s",
                hint="is it halted? The next attempt starts another one",
            ) from None
        except OSError:  # it has ended
            return False

    def _start(self, source_fd: int, reader_fd: int, directory: Path, stays: bool) -> None:
        self._forget()
        ours, theirs = packets.pair(limit_s=_ANSWER_LIMIT_S)
        control, theirs = _socket.socket(fileno=command.above_standard(ours)), command.above_standard(theirs)
        try:
            fds = (source_fd, reader_fd, theirs)
            words = (sys.executable, "-I", "-S", "-c", _RUN, str(_SOURCES), *map(str, fds), str(directory))
            command.spawn_detached((*words, *((_STAY,) if stays else ())), pass_fds=fds)
        finally:
            os.close(theirs)
        self._control, self._owner_pid = control, os.getpid()

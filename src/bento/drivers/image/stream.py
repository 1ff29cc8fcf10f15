"""Moving a tar stream from a file or a program into a program, hashed on its way."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import select
from typing import Final

from bento.command import Child

_CHUNK_BYTES: Final = 1 << 20
_KEPT_BYTES: Final = 16 * 1024
"""Of what a program says: the beginning, where tar names the first thing that went wrong."""


class Transfer:
    """One stream: ``source_fd`` -> sha256 -> ``sink_fd``, while the programs at both ends are listened to.

    Listening matters: a tar that complains about more files than a pipe holds stops until somebody reads it.
    """

    def __init__(self, source_fd: int, sink_fd: int, *, head: bytes, talkers: list[Child]) -> None:
        """Take ``head``, read from the source before, as the beginning. Closes ``sink_fd`` in ``run`` or ``close``."""
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._source_fd = source_fd
        self._sink_fd = sink_fd
        self._buffer = memoryview(b"")
        self._is_at_end = False
        self._said = {child.stderr_fd: bytearray() for child in talkers if child.stderr_fd is not None}
        if head:
            self._fill(head)
        os.set_blocking(sink_fd, False)
        try:
            fcntl.fcntl(sink_fd, fcntl.F_SETPIPE_SZ, _CHUNK_BYTES)
        except OSError as error:  # more than /proc/sys/fs/pipe-max-size allows: slower, no more
            if error.errno not in (errno.EPERM, errno.EBUSY):
                raise

    def run(self) -> bool:
        """Move everything. Blocks for as long as the source takes; return False when the sink went away before."""
        poller = select.poll()
        for fd in self._said:
            poller.register(fd, select.POLLIN)
        wanted = -1
        try:
            while self._buffer or not self._is_at_end:
                turn = self._sink_fd if self._buffer else self._source_fd
                if turn != wanted:
                    if wanted >= 0:
                        poller.unregister(wanted)
                    poller.register(turn, select.POLLOUT if self._buffer else select.POLLIN)
                    wanted = turn
                for fd, _ in poller.poll():
                    if fd == turn:
                        self._step()
                    elif not self._listen(fd):
                        poller.unregister(fd)
        except BrokenPipeError:
            return False
        finally:
            self.close()
        return True

    def hexdigest(self) -> str:
        """Return the sha256 of what was moved."""
        return self._digest.hexdigest()

    def said(self, child: Child) -> str:
        """Return what a program has said on stderr while the stream was moved."""
        kept = self._said.get(child.stderr_fd) if child.stderr_fd is not None else None
        return kept.decode(errors="replace") if kept is not None else ""

    def close(self) -> None:
        """Close the sink: the program there sees the end of the stream. Idempotent."""
        if self._sink_fd >= 0:
            os.close(self._sink_fd)
            self._sink_fd = -1

    def _step(self) -> None:
        try:
            if self._buffer:
                self._buffer = self._buffer[os.write(self._sink_fd, self._buffer) :]
            else:
                self._fill(os.read(self._source_fd, _CHUNK_BYTES))
        except BlockingIOError:
            return

    def _fill(self, data: bytes) -> None:
        self._digest.update(data)
        self.size_bytes += len(data)
        self._buffer = memoryview(data)
        self._is_at_end = not data

    def _listen(self, fd: int) -> bool:
        kept = self._said[fd]
        try:
            data = os.read(fd, _KEPT_BYTES)
        except BlockingIOError:
            return True
        kept += data[: max(0, _KEPT_BYTES - len(kept))]
        return bool(data)

"""One running ``skopeo copy``, followed: the bars it draws, and the blobs that appear."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bento.command import Child
from bento.drivers.transport import output
from bento.kernel import inotify
from bento.model.transfer import OnProgress, TransferProgress

_SCREEN: Final = struct.pack("HHHH", 1000, 250, 0, 0)
"""Rows and columns of the terminal skopeo draws on: room for every layer, and no line cut short."""
_CHUNK_BYTES: Final = 1 << 16
_REAP_LIMIT_S: Final = 10.0


class Copying:
    """Follows one copy. ``sizes``: the blobs that are to come, or to go, in bytes."""

    def __init__(
        self, sizes: dict[str, int], on_progress: OnProgress | None, *,
        arrivals: Path | None = None, taken: Callable[[str, Path], None] | None = None,
    ) -> None:  # fmt: skip
        """``taken`` is called once with each of the blobs that appears in the directory ``arrivals``, and its file."""
        self._sizes = sizes
        self._by_prefix = {digest.removeprefix("sha256:")[:12]: digest for digest in sizes}
        self._on_progress = on_progress
        self._arrivals = arrivals
        self._taken = taken
        self._phases: dict[str, str] = {}

    def follow(self, start: Callable[[int | None], Child], what: str) -> None:
        """Start the copy and wait for its end. Blocks. Whatever ends this early, such as Ctrl-C, ends the copy too.

        ``start`` gets the descriptor for skopeo's standard output. Raises what ``output.explain`` makes of a failure.
        """
        watch = inotify.watch_arrivals(os.fspath(self._arrivals)) if self._arrivals else None
        screen: int | None = None
        try:
            for digest in self._sizes:
                is_there = self._arrivals is not None and self._file(digest).exists()
                self._report(digest, "present" if is_there else "waiting")
            screen, terminal = _terminal() if self._on_progress else (None, None)
            try:
                child = start(terminal)
            finally:
                if terminal is not None:
                    os.close(terminal)
            try:
                self._wait(child, screen, watch)
                done = child.finish(_REAP_LIMIT_S)
            finally:
                child.kill()
        finally:
            for fd in (watch, screen):
                if fd is not None:
                    os.close(fd)
        if done.returncode != 0:
            raise output.explain(done.stderr, what)
        for digest in self._sizes:  # whatever was not reported
            self._arrived(digest)

    def _wait(self, child: Child, screen: int | None, watch: int | None) -> None:
        poller = select.poll()
        streams = [fd for fd in (child.stdout_fd, child.stderr_fd) if fd is not None]
        for fd in (child.pidfd, screen, watch, *streams):
            if fd is not None:
                poller.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poller.poll()]
            for fd in ready:
                if fd == watch:
                    for name in inotify.arrived(fd):
                        self._arrived(f"sha256:{name}")
                elif fd == screen:
                    if not self._look_at(fd):
                        poller.unregister(fd)
                elif fd != child.pidfd and not child.drain(fd):
                    poller.unregister(fd)
            if child.pidfd in ready:
                return

    def _look_at(self, screen: int) -> bool:
        try:
            text = os.read(screen, _CHUNK_BYTES).decode(errors="replace")
        except OSError:  # EIO: the other side is closed
            return False
        newest = {bar.prefix: bar for bar in output.bars(text)}
        for bar in newest.values():
            digest = self._by_prefix.get(bar.prefix)
            if digest is None or self._phases.get(digest) in ("moved", "present"):
                continue
            if bar.done_bytes is not None:
                self._report(digest, "moving", min(bar.done_bytes, self._sizes[digest]))
            elif self._arrivals is None:
                self._report(digest, "moved")
        return bool(text)

    def _arrived(self, digest: str) -> None:
        if digest not in self._sizes or self._phases.get(digest) in ("moved", "present"):
            return
        if self._arrivals is not None and not self._file(digest).exists():
            return  # another engine's store has it in another form
        self._report(digest, "moved")
        if self._taken is not None:
            self._taken(digest, self._file(digest))

    def _file(self, digest: str) -> Path:
        assert self._arrivals is not None
        return self._arrivals / digest.removeprefix("sha256:")

    def _report(self, digest: str, phase: str, done_bytes: int = 0) -> None:
        self._phases[digest] = phase
        if self._on_progress is not None:
            total = self._sizes[digest]
            done = total if phase in ("moved", "present") else done_bytes
            self._on_progress(TransferProgress(digest=digest, phase=phase, done_bytes=done, total_bytes=total))


def _terminal() -> tuple[int, int]:
    """Return (our side, skopeo's side) of a terminal: only on one does skopeo say how far it is."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, _SCREEN)
    return ours, theirs

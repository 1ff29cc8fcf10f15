"""The process that rotates logs: one for all containers of a run root whose logs are of several files.

It sleeps until a directory of theirs changes (dnotify: F_NOTIFY in fcntl(2)), which is once for each file that is full,
or a monitor ends (pidfd). Which one it was it does not ask: a look at all of them costs some microseconds each. It is
run by an interpreter without site packages, imports only what is needed for that, and knows nothing that is not written
down: where it was killed, the next command that meets such a container starts another one. Meanwhile the monitors go
on as if the log were of one file; what is kept is less then, and what is taken of the disk two files more at most.

A container is announced by a file in the directory of announcements: named after it, with the number of its files, and
its monitor's pid and start time. This process removes it after the monitor's end, and ends after the last one.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import sys
from contextlib import suppress
from typing import Final

from bento.files import log_files

LOCK: Final = "keeper"
"""In the directory of announcements: locked, with an open file description lock (fcntl(2)), while there is a keeper."""

_FLOCK: Final = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_CHANGES: Final = fcntl.DN_RENAME | fcntl.DN_MULTISHOT
_LOOK_EVERY_MS: Final = 200  # on a kernel without dnotify
_READ_BYTES: Final = 4096


class Kept:
    """The log of one container, as long as its monitor lives. Close it."""

    def __init__(self, announcement: str, directory: str, text: str) -> None:
        """Raises OSError and ValueError when there is nothing to be kept any more."""
        files, pid, start_ticks = map(int, text.split())
        self.text, self.files, self._announcement = text, files, announcement
        self.directory_fd = self.monitor_fd = -1
        try:
            self.monitor_fd = os.pidfd_open(pid)
            with open(f"/proc/{pid}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[19]) != start_ticks:
                    raise ValueError("the monitor has ended, and its pid is another process's")
            self.directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except BaseException:
            self.close()
            raise

    def keep(self) -> None:
        """Put its files in order. A full disk, or a directory that is gone: the next change tries again."""
        with suppress(OSError):
            log_files.keep(self.directory_fd, self.files)

    def finish(self) -> None:
        """Its monitor has ended."""
        self.keep()  # it may have rotated just before
        with suppress(OSError):
            log_files.finish(self.directory_fd)
        self.close()
        if _read(self._announcement) == self.text:  # not of a run that has begun since
            with suppress(FileNotFoundError):
                os.unlink(self._announcement)

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        for fd in (self.directory_fd, self.monitor_fd):
            if fd >= 0:
                os.close(fd)
        self.directory_fd = self.monitor_fd = -1


class Keeper:
    """Keeps all that are announced in a directory; ``containers`` has a directory for each, named after it."""

    def __init__(self, announcements: str, containers: str) -> None:
        self._announcements, self._containers = announcements, containers
        self._kept: dict[str, Kept] = {}
        self._wake_fd, waker_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGIO, lambda *_: None)
        signal.set_wakeup_fd(waker_fd, warn_on_full_buffer=False)
        self._poller = select.poll()
        self._poller.register(self._wake_fd, select.POLLIN)
        self._limit_ms: int | None = None
        self._watch(os.open(announcements, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def run(self) -> None:
        """Block until no monitor of an announced container lives."""
        while self._look():
            ready = {fd for fd, _ in self._poller.poll(self._limit_ms)}
            with suppress(BlockingIOError):
                os.read(self._wake_fd, _READ_BYTES)
            for name, kept in list(self._kept.items()):
                if kept.monitor_fd in ready:
                    self._poller.unregister(kept.monitor_fd)
                    del self._kept[name]
                    kept.finish()

    def _look(self) -> bool:
        """Take what was announced, put every log in order; False when there is none."""
        for name in announced(self._announcements):
            if name not in self._kept:
                self._take(name)
        for kept in self._kept.values():
            kept.keep()
        return bool(self._kept)

    def _take(self, name: str) -> None:
        path = f"{self._announcements}/{name}"
        text = _read(path)
        try:
            kept = Kept(path, f"{self._containers}/{name}", text)
        except (OSError, ValueError, IndexError):
            if text == _read(path):
                with suppress(FileNotFoundError):
                    os.unlink(path)
            return
        self._kept[name] = kept
        self._poller.register(kept.monitor_fd, select.POLLIN)
        self._watch(kept.directory_fd)

    def _watch(self, fd: int) -> None:
        try:
            fcntl.fcntl(fd, fcntl.F_NOTIFY, _CHANGES)
        except OSError:
            self._limit_ms = _LOOK_EVERY_MS


def announce(announcements: str, name: str, files: int, pid: int, start_ticks: int) -> None:
    """Have the log of a container, whose monitor this process is, be kept in so many files. Raises OSError."""
    os.makedirs(announcements, 0o700, exist_ok=True)
    draft = f"{announcements}/.{name}"
    with open(draft, "w", encoding="ascii") as file:
        file.write(f"{files} {pid} {start_ticks}\n")
    os.rename(draft, f"{announcements}/{name}")


def announced(announcements: str) -> list[str]:
    """Return the containers that are announced; those whose monitor has ended may be among them."""
    try:
        return [name for name in os.listdir(announcements) if name != LOCK and not name.startswith(".")]
    except FileNotFoundError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(_READ_BYTES)
    except OSError:
        return ""


def main() -> None:
    """Keep what is announced until nothing is; end at once where another process does that."""
    announcements, containers = sys.argv[1:]
    while announced(announcements):
        fd = os.open(f"{announcements}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK)
        except OSError:  # another one keeps them, and looks once more after it has let go
            return
        Keeper(announcements, containers).run()
        os.close(fd)

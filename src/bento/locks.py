"""Locks between Bento processes, per container: one for operations, one for whoever drives its stop.

A lock is an *open file description lock* (fcntl(2), Linux 3.15+) on a file below the run root. It belongs to an open
file, so that threads exclude each other as processes do; the kernel drops it when its process dies, however that
happens; and, unlike flock(2), it can be asked about without being taken: a glance at a lock never makes somebody else's
attempt fail.

The file exists only while the lock is held: its holder unlinks it before letting go. Whoever gets the lock therefore
checks that the file it has locked is still the one with that name, and begins again otherwise. Only a holder that was
killed leaves its (unlocked) file behind, until the next holder or ``forget``.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import select
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from bento.errors import Conflict, KernelError, NotPermitted, StorageUnusable
from bento.kernel.inotify import watch_let_go
from bento.units import NO_LIMIT

_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of 64-bit Linux: type, whence, start, length (0: to the end), pid (must be 0 for these locks)."""

_WRITE_LOCK: Final = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)

_LONGEST_WAIT_S: Final = 0.05
"""Between two looks at a lock, should its release not wake us: after a holder's death it may be told too early."""


class Lock:
    """A lock that is held until ``release``, or the end of the process. Usable as a context."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go, and take the file away. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            # Before the lock goes, or we might take the file of the next holder away.
            os.unlink(self._path)
        except FileNotFoundError:
            pass
        finally:
            os.close(descriptor)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class ContainerLocks:
    """The locks below one run root. Safe between threads and processes; costs nothing until used."""

    def __init__(self, run_root: Path) -> None:
        self._directory = run_root / "locks"

    def hold(self, container_id: str, timeout_s: float) -> Lock:
        """Return the operation lock of a container, for use with ``with``.

        Blocks at most ``timeout_s`` seconds (NO_LIMIT: for ever), woken by the kernel. Not re-entrant.
        Raises Conflict when another process, or thread, still has it then; NotPermitted, StorageUnusable.
        """
        path = self._directory / f"{container_id}.op"
        lock = _take(path, timeout_s)
        if lock is None:
            raise Conflict(
                f"another bento process is working on container {container_id[:12]}", hint="try again when it is done"
            )
        return lock

    def is_held(self, container_id: str) -> bool:
        """Whether a living process works on the container, or drives its stop. Only looks."""
        return _is_held(self._directory / f"{container_id}.op") or self.is_stop_held(container_id)

    def try_stop(self, container_id: str) -> Lock | None:
        """Return the stopper's lock of a container, or None when somebody drives its stop. Does not wait."""
        return _try(self._stop_path(container_id))

    def is_stop_held(self, container_id: str) -> bool:
        """Whether a living process drives the container's stop. Only looks."""
        return _is_held(self._stop_path(container_id))

    def wait_stop(self, container_id: str) -> None:
        """Block until nobody drives the container's stop, woken by the kernel. At once when nobody does."""
        _wait_until_free(self._stop_path(container_id), math.inf)

    def forget(self, container_id: str) -> None:
        """Take away what killed holders left of a removed container's locks. Idempotent; does not wait.

        A lock that is held stays: its holder takes the file away.
        """
        for path in (self._directory / f"{container_id}.op", self._stop_path(container_id)):
            if path.exists() and (lock := _try(path)) is not None:
                lock.release()

    def ids(self) -> list[str]:
        """Return the containers that have a lock file, held or left behind, for ``doctor``."""
        try:
            return sorted({name.rpartition(".")[0] for name in os.listdir(self._directory)})
        except FileNotFoundError:
            return []

    def _stop_path(self, container_id: str) -> Path:
        return self._directory / f"{container_id}.stop"


def _try(path: Path) -> Lock | None:
    while True:
        descriptor = _open(path)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WRITE_LOCK)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise _explain(error, path) from error
        if (lock := _verified(path, descriptor)) is not None:
            return lock


def _verified(path: Path, descriptor: int) -> Lock | None:
    try:
        named = os.stat(path)
    except FileNotFoundError:
        named = None
    held = os.fstat(descriptor)
    if named is not None and (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino):
        return Lock(path, descriptor)
    os.close(descriptor)
    return None


def _take(path: Path, timeout_s: float) -> Lock | None:
    deadline_mono_s = math.inf if timeout_s == NO_LIMIT else time.monotonic() + timeout_s
    while (lock := _try(path)) is None:
        if not _wait_until_free(path, deadline_mono_s):
            return None
    return lock


def _wait_until_free(path: Path, deadline_mono_s: float) -> bool:
    """Wait until nobody seems to have the lock; False when the time is over (no lock call has a limit)."""
    try:
        watch = watch_let_go(os.fspath(path))
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return True
        raise
    try:
        poller = select.poll()
        if watch is not None:
            poller.register(watch, select.POLLIN)
        # Asked after the watch was set, lest a release between go unseen; not by attempts, whose end would wake us.
        while _is_held(path):
            left_s = deadline_mono_s - time.monotonic()
            if left_s <= 0:
                return False
            if poller.poll(math.ceil(min(left_s, _LONGEST_WAIT_S) * 1000)) and watch is not None:
                os.read(watch, 4096)
                # The kernel tells of a dead holder's last close just before it drops the lock.
                os.sched_yield()
        return True
    finally:
        if watch is not None:
            os.close(watch)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _explain(error, path) from error
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WRITE_LOCK)
    finally:
        os.close(descriptor)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _explain(error, path) from error
    try:
        os.makedirs(path.parent, mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)
    except OSError as error:
        raise _explain(error, path) from error


def _explain(error: OSError, path: Path) -> NotPermitted | StorageUnusable:
    where = error.filename or path
    if isinstance(error, PermissionError):
        return NotPermitted(f"{where} may not be used by this user", hint="run as root, or choose another --run-root")
    return StorageUnusable(f"{where}: {error.strerror}", hint="choose another --run-root")

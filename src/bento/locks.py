"""Locks between Bento processes, per container: one for operations, one for the process that drives its stop.

A lock is an *open file description lock* (fcntl(2), Linux 3.15+) on a file below the run root. It belongs to an open
file, so that threads exclude each other as processes do; the kernel drops it when its process dies, however that
happens; and, unlike flock(2), it can be asked about without being taken: a glance at a lock never makes another's
attempt fail.

The file exists only while the lock is held: its holder unlinks it before letting go. The process that gets the lock
therefore checks that the file it has locked is still the one with that name, and begins again otherwise. Only a holder
that was killed leaves its (unlocked) file behind, until the next holder or ``forget``. A signal whose handler raises,
such as Ctrl-C, leaves none, wherever it comes: a lock is made with such signals blocked, and let go with its object.

In the file a holder names itself, so that messages can name it, and ended where it is Bento's own and stands still
(``engine.holdup``).

A third kind of lock goes with what Bento has frozen for a time: its file is made before the freeze and goes after the
thaw, so a file that is not locked says that the freeze has lost its owner (``engine.freezing``).
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import select
import struct
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
from msgspec import Struct

from bento import clock
from bento.errors import BentoError, Conflict, KernelError, NotPermitted, StorageUnusable, as_bento_error, is_shortage
from bento.kernel.inotify import watch_let_go
from bento.kernel.process import pidfd
from bento.kernel.process.interrupts import uninterrupted
from bento.model.container import ProcessIdentity
from bento.units import NO_LIMIT

_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of 64-bit Linux: type, whence, start, length (0: to the end), pid (must be 0 for these locks)."""

_WRITE_LOCK: Final = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)

_HOLDER_BYTES: Final = 4096

_LONGEST_WAIT_S: Final = 0.05
"""Between two looks at a lock, should its release not wake us: after a holder's death it may be reported too early."""


class Holder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The process that holds a lock, by its own words.

    ``verb``: what Bento's own command line does there; "" for a program that uses the library. ``run``: of the
    container, where the lock is for one run alone.
    """

    process: ProcessIdentity
    verb: str = ""
    since_boot_s: float = 0.0
    run: int = 0
    version: str = ""  # of the package, of a process that stays

    def __str__(self) -> str:
        what = f"bento {self.verb}" if self.verb else "a program that uses Bento"
        return f"process {self.process.pid} ({what}, for {max(0.0, clock.boot_s() - self.since_boot_s):.0f} s)"


class Lock:
    """A lock that is held until ``release``, or the end of the process. Usable as a context."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @property
    def is_named(self) -> bool:
        """Whether its file is still there: of a freeze another may have removed it (``take_freeze_away``)."""
        return self._descriptor >= 0 and _is_same(self._path, self._descriptor)

    def release(self) -> None:
        """Let go, and remove the file. Idempotent, also after an interruption."""
        with uninterrupted():
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor < 0:
                return
            try:
                # Before the lock goes, or we might remove the file of the next holder.
                if _is_same(self._path, descriptor):
                    os.unlink(self._path)
            except FileNotFoundError:
                pass
            finally:
                os.close(descriptor)
                self.__class__ = Lock  # there is nothing to do at its end, where an interruption would be lost

    def note(self, holder: Holder) -> None:
        """Write down the holder. On a full disk none is named: that keeps nothing from being locked."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, msgspec.json.encode(holder), 0)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _OwnLock(Lock):
    """A lock that is let go with its last name: an interruption may come before it has reached its block."""

    def __init__(self, path: Path, descriptor: int) -> None:
        super().__init__(path, descriptor)
        self._pid = os.getpid()

    def __del__(self) -> None:
        if self._pid == os.getpid():  # a fork has a copy of the object, and not the lock
            self.release()


class ContainerLocks:
    """The locks below one run root. Safe between threads and processes; costs nothing until used.

    ``verb``: what this process does, where it is Bento's own command line and nothing else.
    """

    def __init__(self, run_root: Path, verb: str = "") -> None:
        self._directory = run_root / "locks"
        self._keeper_path = run_root / "health" / "keeper"
        self._verb = verb
        self._own: ProcessIdentity | None = None

    def hold(self, container_id: str, timeout_s: float) -> Lock:
        """Return the operation lock of a container, for use with ``with``.

        Blocks at most ``timeout_s`` seconds (NO_LIMIT: for ever), woken by the kernel. Not re-entrant.
        Raises Conflict, which names the holder, when another process, or thread, still has it then; NotPermitted,
        StorageUnusable.
        """
        path = self._operation_path(container_id)
        lock = self._noted(_take(path, timeout_s))
        if lock is None:
            holder = self.holder(container_id) if timeout_s else None
            raise Conflict(
                f"{holder or 'another bento process'} is working on container {container_id[:12]}",
                hint=f"try again when it is done{f', or end it: kill {holder.process.pid}' if holder else ''}",
            )
        return lock

    def is_held(self, container_id: str) -> bool:
        """Whether a living process works on the container, or drives its stop. Only looks."""
        return _is_held(self._operation_path(container_id)) or self.is_stop_held(container_id)

    def holder(self, container_id: str) -> Holder | None:
        """Return the holder of the operation lock; None when there is none, or it has just been taken. Only looks."""
        return _holder(self._operation_path(container_id))

    def try_stop(self, container_id: str) -> Lock | None:
        """Return the stopper's lock of a container, or None when another process drives its stop. Does not wait."""
        return self._noted(_try(self._stop_path(container_id)))

    def is_stop_held(self, container_id: str) -> bool:
        """Whether a living process drives the container's stop. Only looks."""
        return _is_held(self._stop_path(container_id))

    def stop_holder(self, container_id: str) -> Holder | None:
        """Return the process that drives the container's stop, as ``holder`` does."""
        return _holder(self._stop_path(container_id))

    def wait_stop(self, container_id: str, timeout_s: float = NO_LIMIT) -> bool:
        """Block until no process drives the container's stop, woken by the kernel; False when the time is over."""
        return _wait_until_free(self._stop_path(container_id), _deadline_mono_s(timeout_s))

    def try_freeze(self, container_id: str, run: int) -> Lock | None:
        """Return the lock that goes with a freeze of this run, or None when a living process has one. Does not wait.

        The caller holds the operation lock, as for every change of these files. Should it come to no ``release``, the
        file stays: it says that there may be something to thaw.
        """
        return self._noted(_try(self._freeze_path(container_id), Lock), run)

    def freezer(self, container_id: str) -> Holder | None:
        """Return the living process that has frozen the container for a time. Only looks."""
        return _holder(self._freeze_path(container_id))

    def left_freeze(self, container_id: str) -> int:
        """Return the run of which a process that has died since may have frozen the container; 0: none. Only looks."""
        path = self._freeze_path(container_id)
        found = _said(path)
        return found.run if found is not None and not _is_held(path) else 0

    def try_keeper(self, version: str) -> Lock | None:
        """Return the lock of the process that carries out health checks, or None when another one is that already.

        There is one for all containers of a run root. Does not wait.
        """
        return self._noted(_try(self._keeper_path), version=version)

    def keeper(self) -> Holder | None:
        """Return the process that carries out health checks; None when there is none. Only looks."""
        return _holder(self._keeper_path)

    def wait_keeper(self, timeout_s: float) -> bool:
        """Block until no process carries out health checks, woken by the kernel; False when the time is over."""
        return _wait_until_free(self._keeper_path, _deadline_mono_s(timeout_s))

    def take_freeze_away(self, container_id: str) -> None:
        """Make a freeze belong to no process, whether its process lives or not. Idempotent."""
        with suppress(FileNotFoundError):
            os.unlink(self._freeze_path(container_id))

    def forget(self, container_id: str) -> None:
        """Remove what killed holders left of a removed container's locks. Idempotent; does not wait.

        A lock that is held stays: its holder removes the file.
        """
        for path in (
            self._operation_path(container_id), self._stop_path(container_id), self._freeze_path(container_id)
        ):  # fmt: skip
            if path.exists() and (lock := _try(path)) is not None:
                lock.release()

    def ids(self) -> list[str]:
        """Return the containers that have a lock file, held or left behind, for ``doctor``."""
        try:
            return sorted({name.rpartition(".")[0] for name in os.listdir(self._directory)})
        except FileNotFoundError:
            return []

    def _operation_path(self, container_id: str) -> Path:
        return self._directory / f"{container_id}.op"

    def _stop_path(self, container_id: str) -> Path:
        return self._directory / f"{container_id}.stop"

    def _freeze_path(self, container_id: str) -> Path:
        return self._directory / f"{container_id}.freeze"

    def _noted(self, lock: Lock | None, run: int = 0, version: str = "") -> Lock | None:
        """Write this process down as the holder of a lock just taken."""
        if lock is not None:
            if self._own is None or self._own.pid != os.getpid():  # a fork is another process
                fd, self._own = pidfd.identify(os.getpid())
                os.close(fd)
            lock.note(Holder(process=self._own, verb=self._verb, since_boot_s=clock.boot_s(), run=run, version=version))
        return lock


def _try(path: Path, kind: type[Lock] = _OwnLock) -> Lock | None:
    with uninterrupted():
        return _try_whole(path, kind)


def _try_whole(path: Path, kind: type[Lock]) -> Lock | None:
    while True:
        descriptor = _open(path)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WRITE_LOCK)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise _explain(error, path) from error
        if _is_same(path, descriptor):
            return kind(path, descriptor)
        os.close(descriptor)


def _is_same(path: Path, descriptor: int) -> bool:
    """Whether a file is still the one of this name."""
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(descriptor))


def _holder(path: Path) -> Holder | None:
    found = _said(path)
    return found if found is not None and _is_held(path) else None


def _said(path: Path) -> Holder | None:
    """Return what the last holder has written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return msgspec.json.decode(os.read(descriptor, _HOLDER_BYTES), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None
    finally:
        os.close(descriptor)


def _deadline_mono_s(timeout_s: float) -> float:
    return math.inf if timeout_s == NO_LIMIT else time.monotonic() + timeout_s


def _take(path: Path, timeout_s: float) -> Lock | None:
    deadline_mono_s = _deadline_mono_s(timeout_s)
    while (lock := _try(path)) is None:
        if not _wait_until_free(path, deadline_mono_s):
            return None
    return lock


def _wait_until_free(path: Path, deadline_mono_s: float) -> bool:
    """Wait until the lock seems free; False when the time is over (no lock call has a limit)."""
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
                # The kernel reports a dead holder's last close just before it drops the lock.
                os.sched_yield()
        return True
    finally:
        if watch is not None:
            os.close(watch)


def is_locked(path: Path) -> bool:
    """Whether a living process has a file locked, by an open file description lock. Only looks."""
    return _is_held(path)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
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


def _explain(error: OSError, path: Path) -> BentoError:
    if is_shortage(error):
        return as_bento_error(error)
    where = error.filename or path
    if isinstance(error, PermissionError):
        return NotPermitted(f"{where} may not be used by this user", hint="run as root, or choose another --run-root")
    return StorageUnusable(f"{where}: {error.strerror}", hint="choose another --run-root")

"""The SQLite file itself: opening, creating, transactions, and what its errors mean to the caller."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from _thread import RLock  # what threading.RLock is, without the cost of importing threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from bento.drivers.state import migrations, shared
from bento.drivers.state.reserve import Reserve, free_bytes, shortage
from bento.errors import (
    BentoError,
    Conflict,
    InternalError,
    NotPermitted,
    StateCorrupt,
    StorageUnusable,
    as_bento_error,
)
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.drivers.state import waiting
else:
    waiting = LazyModule("bento.drivers.state.waiting")

BUSY_TIMEOUT_S: Final = 5.0
"""How long to wait for another process's transaction, twice. Ours last well under a millisecond."""

_ROOT_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_SMALLEST_PAGE_BYTES: Final = 512
_LITTLE_BYTES: Final = 1 << 16  # a -shm file and some pages do not fit into less
_OPEN_BYTES: Final = 40 << 10  # a -shm file (32 KiB), and an empty -wal file
_WAL_STEP_BYTES: Final = 64 << 10  # several transactions
_STEP_BYTES: Final = _WAL_STEP_BYTES + (16 << 10)  # others may be quick enough to take some
_WORTH_FRAMES: Final = 16  # a -wal file with room for a transaction
_ATTEMPTS: Final = 10
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

T = TypeVar("T")

ClearWay: TypeAlias = "Callable[[Callable[[], list[int]]], str]"
"""Given a function that finds the holders of the lock, returns "" when it is worth trying again, else their names."""

_HINT_CORRUPT: Final = "nothing was changed: restore the file from a copy, or move it away to begin anew"
_HINT_ROOT: Final = "run as root, or choose another --root"


class Database:
    """One connection to one file, shared by the threads of this process. Close it when done.

    Must not be used across fork(2): a child opens its own (sqlite.org/howtocorrupt.html, 2.6).
    """

    def __init__(
        self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S, clear_way: ClearWay | None = None
    ) -> None:
        """Open ``path``; make it, its directory and its tables when they are not there.

        Blocks at most ``busy_timeout_s`` seconds; then ``clear_way`` is asked, where it is given.
        Raises NotPermitted, StorageUnusable, StateCorrupt, Conflict.
        """
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self._clear_way = clear_way
        # One connection, many threads (private mount namespaces are threads): the lock keeps transactions apart.
        self._mutex = RLock()
        self._connection: sqlite3.Connection | None = None
        self._is_shared = False
        self._reserve = Reserve(path.with_name("reserve"))
        while self._connection is None:
            self._open()

    def _open(self) -> None:
        """Connect; leave it at that when the disk was full and there is room now."""
        try:
            self._patiently(self._begin_use)
        except sqlite3.Error as error:
            self._disconnect()
            if not (self._is_full(error) and self._reserve.spend(_OPEN_BYTES)):
                raise self.explain(error) from error
        except OSError as error:
            self._disconnect()
            if not (error.errno in _FULL and self._reserve.spend(_OPEN_BYTES)):
                raise self._explain_os(error) from error
        except BentoError:
            self._disconnect()
            raise

    def _begin_use(self) -> None:
        self._disconnect()
        self._connection = self._connect()
        if self._make_current(self._connection):
            self._disconnect()  # it has a -wal file from now on, and is to be opened as such

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do what may find the file locked, again when the holder of the lock could be ended. Raises Conflict."""
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                if self._clear_way is None or not _is_busy(error):
                    raise
                if holders := self._clear_way(lambda: waiting.holders(self.path)):
                    raise Conflict(
                        f"{self.path} is locked by {holders}", hint="try again when that has finished"
                    ) from error

    def _connect(self) -> sqlite3.Connection:
        if not os.path.exists(self.path):
            os.makedirs(self.path.parent, mode=_ROOT_MODE, exist_ok=True)
            # SQLite would make it readable for all users; environment variables of containers are in it.
            shared.make_in_place(self.path, _FILE_MODE)
        shared.hold(os.fspath(self.path), self._busy_timeout_s)
        self._is_shared = True
        connection = sqlite3.connect(
            self.path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        # NORMAL in WAL mode: a power cut may lose the last commits, never the file; and no container outlives one.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _make_current(self, connection: sqlite3.Connection) -> bool:
        """Bring the schema up to date; False when it is."""
        version, application = connection.execute(
            "SELECT user_version, application_id FROM pragma_user_version, pragma_application_id"
        ).fetchone()
        if version == migrations.CURRENT and application == migrations.APPLICATION_ID:
            return False
        self._migrate(connection)
        return True

    def _migrate(self, connection: sqlite3.Connection) -> None:
        # The change to WAL does not always wait for other connections as transactions do, so that two processes
        # that meet at a new file must not do it at once. A lock on the directory needs no file of its own.
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            self._check_ours(connection)
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StorageUnusable(
                    f"{self.path}: this filesystem cannot hold the database", hint="use --root on a local filesystem"
                )
            for number in range(self._version(connection), migrations.CURRENT):
                connection.execute("BEGIN IMMEDIATE")
                try:
                    migrations.apply_step(connection, number)
                    connection.execute("COMMIT")
                except BaseException:
                    _rollback(connection)
                    raise
        finally:
            os.close(directory)

    def _check_ours(self, connection: sqlite3.Connection) -> None:
        version = self._version(connection)
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if is_empty and version == application == 0:
            # SQLite takes what is shorter than a page for an empty file, and would write over it.
            if 0 < self.path.stat().st_size < _SMALLEST_PAGE_BYTES:
                raise StateCorrupt(f"{self.path} is not a database", hint=_HINT_CORRUPT)
            return
        if application != migrations.APPLICATION_ID:
            raise StateCorrupt(f"{self.path} is not Bento's database", hint=_HINT_CORRUPT)
        if version > migrations.CURRENT:
            raise StateCorrupt(
                f"{self.path} was written by a newer Bento (schema {version}, this one knows {migrations.CURRENT})",
                hint="nothing was changed: upgrade Bento, or choose another --root",
            )

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one query, with the errors of this package."""
        with self._mutex:
            try:
                return self._patiently(lambda: self._open_connection().execute(sql, parameters).fetchall())
            except sqlite3.Error as error:
                raise self.explain(error) from error
            except UnicodeEncodeError:
                return []  # an argument that is no text: nothing that is stored can equal it

    def begin(self) -> None:
        """Begin a write transaction, see ``atomic``: the write lock comes before the first read."""
        try:
            self._patiently(lambda: self._open_connection().execute("BEGIN IMMEDIATE"))
        except sqlite3.Error as error:
            raise self.explain(error) from error

    def atomic(self) -> Transaction:
        """Return a context in which statements are one write transaction; any exception rolls it back."""
        return Transaction(self, self._mutex)

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise InternalError(f"{self.path} is used after it was closed")
        return self._connection

    def urgent(self, work: Callable[[], T]) -> T:
        """Run a transaction that must not fail because of a full disk: what frees it is written down, too.

        ``work`` may run several times. It begins its transaction itself.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return work()
            except StorageUnusable as error:
                cause = error.__cause__
                if not (isinstance(cause, sqlite3.Error) and self._is_full(cause)):
                    raise
                if not ((attempt % 2 == 0 and self._recycle()) or self._grow()):
                    raise
        return work()

    def _recycle(self) -> bool:
        """Bring what the -wal file holds into the database, which may grow: the next transaction is written over it.

        False: other processes still read what it holds, or there is no room and nothing left of the reserve.
        """
        with self._mutex:
            while True:
                try:
                    row = self._open_connection().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                except sqlite3.Error as error:
                    if not (self._is_full(error) and self._reserve.spend(_STEP_BYTES)):
                        return False
                else:
                    is_busy, frames, done = row
                    return not is_busy and frames == done >= _WORTH_FRAMES

    def _grow(self) -> bool:
        """Turn some of the reserve into room in the -wal file; False when nothing is left of it."""
        if not self._reserve.spend(_STEP_BYTES):
            return False
        with suppress(OSError):  # at once, before others take it; zeros at its end are no frames to SQLite
            wal = os.open(f"{self.path}-wal", os.O_RDWR | os.O_CLOEXEC)
            try:
                os.posix_fallocate(wal, os.fstat(wal).st_size, _WAL_STEP_BYTES)
            finally:
                os.close(wal)
        return True

    def close(self, containers: int = 0) -> None:
        """Close the connection, and keep room for the stops of so many containers. Idempotent."""
        with self._mutex:
            if self._connection is not None:
                self._disconnect()
                self._reserve.fill(containers)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if self._is_shared:
            self._is_shared = False
            shared.release(os.fspath(self.path))

    def explain(self, error: sqlite3.Error) -> BentoError:
        """Return the error of this package for what SQLite said (sqlite.org/rescode.html)."""
        full = getattr(error, "sqlite_errorcode", None)
        code = full & 0xFF if full is not None else None
        if _is_busy(error):
            return Conflict(
                f"{self.path} has been locked by another process for {self._busy_timeout_s:g} s",
                hint="try again when it has finished",
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH):
            return StateCorrupt(f"{self.path} is damaged: {error}", hint=_HINT_CORRUPT)
        if self._is_full(error):
            return self._full()
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            return self._explain_access(str(error))
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL):
            return self._explain_io(str(error))
        return InternalError(f"{self.path}: {error}")

    def _is_full(self, error: sqlite3.Error) -> bool:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            # SQLite folds ENOSPC into these where it is not writing a page: when it makes the -shm or the -wal file.
            return not _has_room(self.path.parent)
        return code == sqlite3.SQLITE_FULL

    def _explain_access(self, reason: str) -> BentoError:
        directory = self.path.parent
        if (lack := shortage()) is not None:
            return as_bento_error(lack)
        if _is_read_only(directory):
            return self._read_only()
        if os.path.isdir(self.path):
            return StorageUnusable(f"{self.path} is a directory", hint="move it away, or choose another --root")
        if os.access(directory, os.W_OK | os.X_OK) and os.access(self.path, os.R_OK | os.W_OK):
            return StorageUnusable(f"{self.path} cannot be opened: {reason}", hint="choose another --root")
        return NotPermitted(f"{self.path} may not be written by this user", hint=_HINT_ROOT)

    def _explain_io(self, reason: str) -> BentoError:
        return StorageUnusable(f"{self.path} cannot be read or written: {reason}", hint="see the kernel's log")

    def _explain_os(self, error: OSError) -> BentoError:
        where = error.filename or self.path
        if isinstance(error, PermissionError):
            return NotPermitted(f"{where} may not be written by this user", hint=_HINT_ROOT)
        if error.errno == errno.EROFS:
            return self._read_only()
        if error.errno in _FULL:
            return self._full()
        return StorageUnusable(f"{where} cannot be made: {error.strerror}", hint="choose another --root")

    def _full(self) -> StorageUnusable:
        return StorageUnusable(f"{self.path}: the disk is full", hint="free some space and try again")

    def _read_only(self) -> StorageUnusable:
        return StorageUnusable(f"{self.path} is on a read-only filesystem", hint="choose a --root that can be written")


class Transaction:
    """A write transaction of one Database, from ``with`` to its end."""

    def __init__(self, database: Database, mutex: RLock) -> None:
        self._database = database
        self._mutex = mutex

    def __enter__(self) -> Transaction:
        self._mutex.acquire()
        try:
            self._database.begin()  # so that what is read cannot be stale at the write
        except BaseException:
            self._mutex.release()
            raise
        return self

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement. sqlite3.IntegrityError comes through: only the caller knows what was violated."""
        try:
            return self._database._open_connection().execute(sql, parameters).fetchall()
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise self._database.explain(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                try:
                    self.execute("COMMIT")
                except BaseException:
                    _rollback(self._database._open_connection())
                    raise
            else:
                _rollback(self._database._open_connection())
        finally:
            self._mutex.release()


def _is_busy(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _rollback(connection: sqlite3.Connection) -> None:
    # After some errors (full disk) SQLite has rolled back by itself: sqlite.org/lang_transaction.html, 3.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _is_read_only(directory: Path) -> bool:
    try:
        return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _has_room(directory: Path) -> bool:
    try:
        return free_bytes(directory) >= _LITTLE_BYTES
    except OSError:
        return True

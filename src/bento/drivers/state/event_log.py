"""The log of events: rows of the database, written in the transaction of the change that they tell of.

Bounded: the oldest are deleted, many at a time, so that hardly any transaction has to touch their pages.
"""

from __future__ import annotations

import os
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from bento import log
from bento.model.event import Event

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bento.drivers.state.database import Database

LIMIT: Final = 10_000
"""How many are kept, unless the configuration says otherwise. One takes some 300 bytes, and its labels."""

PAGE: Final = 512
"""How many are read at once, at the most."""

_STEPS: Final = 64  # of so many the log is made: one of them goes at a time


class EventLog:
    """The events of one database. ``signal``: the file by which followers are woken."""

    def __init__(self, database: Database, signal: Path, limit: int) -> None:
        self.signal = signal
        self._database = database
        self._limit = max(1, limit)
        self._step = max(1, self._limit // _STEPS)
        self._decoder: msgspec.json.Decoder[Event] | None = None

    def transaction(self) -> LoggedTransaction:
        """Return a context as ``Database.atomic`` does, in which events can be logged."""
        return LoggedTransaction(self, self._database)

    def append(self, transaction: LoggedTransaction, events: Iterable[Event]) -> None:
        """Write events, and delete what is too old. Within a transaction alone."""
        rows = [(event.unix_ns, _encode(event)) for event in events]
        for row in rows:
            transaction.execute("INSERT INTO events (unix_ns, document) VALUES (?, ?)", row)
        newest = transaction.execute("SELECT max(sequence) FROM events")[0][0] or 0
        if rows and newest // self._step != (newest - len(rows)) // self._step:
            keep = max(1, self._limit - self._step)
            transaction.execute("DELETE FROM events WHERE sequence <= ?", (newest - keep,))

    def newest(self) -> int:
        """Return the sequence number of the newest event; 0: there was none."""
        return int(self._database.rows("SELECT max(sequence) FROM events")[0][0] or 0)

    def read(self, after: int, since_ns: int | None, until_ns: int | None) -> list[Event]:
        """Return the next events after a sequence number, of this time, ``PAGE`` of them at most."""
        rows = self._database.rows(
            "SELECT sequence, document FROM events WHERE sequence > ?1 AND (?2 IS NULL OR unix_ns >= ?2)"
            " AND (?3 IS NULL OR unix_ns <= ?3) ORDER BY sequence LIMIT ?4",
            (after, since_ns, until_ns, PAGE),
        )
        return [self._decode(*row) for row in rows]

    def _decode(self, sequence: int, document: Any) -> Event:
        self._decoder = self._decoder or msgspec.json.Decoder(Event)
        try:
            return replace(self._decoder.decode(document), sequence=sequence)
        except (msgspec.DecodeError, TypeError, UnicodeDecodeError, RecursionError) as error:
            log.warning_once(f"event {sequence} cannot be read: {error}")
            return Event(type="", action="unreadable", actor="", unix_ns=0, sequence=sequence)


def _encode(event: Event) -> bytes:
    try:
        return msgspec.json.encode(event)
    except UnicodeEncodeError:  # the command of an exec may be any bytes
        attributes = {_text(key): _text(value) for key, value in event.attributes.items()}
        return msgspec.json.encode(replace(event, action=_text(event.action), attributes=attributes))


def _text(words: str) -> str:
    return words.encode("utf-8", "replace").decode()


class LoggedTransaction:
    """A write transaction that tells followers of its events when it has come to its end."""

    def __init__(self, events: EventLog, database: Database) -> None:
        self._events = events
        self._transaction = database.atomic()
        self._signal_fd: int | None = None

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """See Transaction."""
        return self._transaction.execute(sql, parameters)

    def log(self, events: Iterable[Event]) -> None:
        """Write down what has happened; it is there exactly when the change is."""
        given = tuple(events)
        if not given:
            return
        self._events.append(self, given)
        if self._signal_fd is None:
            # Open before the commit, closed after it: the close is what wakes, and the kernel closes for a process
            # that is killed in between. A process that can open no more files wakes with its next one.
            with suppress(OSError):
                flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
                self._signal_fd = os.open(self._events.signal, flags, 0o600)

    def __enter__(self) -> LoggedTransaction:
        self._transaction.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._transaction.__exit__(kind, error, trace)
        finally:
            fd, self._signal_fd = self._signal_fd, None
            if fd is not None:
                os.close(fd)

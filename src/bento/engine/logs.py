"""``logs``: the container's output as its monitor has written it.

A line of the file is ``TIME STREAM F|P TEXT`` (the CRI log format): P is a part of a line that goes on.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from msgspec import Struct

from bento.errors import UsageError
from bento.model.container import Container

if TYPE_CHECKING:
    from bento.engine.parts import Parts

_CHUNK_BYTES = 1 << 16
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class LogLine(Struct, frozen=True):
    """One line, or a part of one. ``text`` ends with a newline unless the line goes on."""

    time: str  # RFC 3339 with nanoseconds, as the monitor wrote it
    stream: str  # stdout or stderr
    text: bytes


def parse_line(raw: bytes) -> LogLine | None:
    """Return a line of the log file, or None for one that is not in its format (cut short by a crash)."""
    parts = raw.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3 or parts[1] not in (b"stdout", b"stderr"):
        return None
    text = parts[3] if len(parts) == 4 else b""
    return LogLine(parts[0].decode("ascii", "replace"), parts[1].decode(), text + (b"" if parts[2] == b"P" else b"\n"))


def parse_since(text: str, now: datetime | None = None) -> datetime:
    """Return the moment that ``--since`` names: RFC 3339, Unix seconds, or a time ago such as ``90s``, ``10m``, ``2h``.

    Raises UsageError.
    """
    now = now or datetime.now(UTC)
    try:
        if text[-1:] in _UNITS_S:
            return now - timedelta(seconds=float(text[:-1]) * _UNITS_S[text[-1]])
        if text.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(text), UTC)
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"bad time {text!r}", hint="use 2026-01-31T12:00:00Z, Unix seconds, or 10m for ten minutes ago"
        ) from None


def read_log(path: Path, *, tail: int | None, since: datetime | None) -> Iterator[LogLine]:
    """Yield what the log holds now: the last ``tail`` lines (None: all), none older than ``since``."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        lines = (line for raw in stream if (line := parse_line(raw)) and _is_since(line, since))
        yield from lines if tail is None else _last_lines(lines, tail)


def _last_lines(lines: Iterator[LogLine], count: int) -> Iterator[LogLine]:
    """Parts of one line count as one."""
    kept: deque[list[LogLine]] = deque(maxlen=count)
    current: list[LogLine] = []
    for line in lines:
        current.append(line)
        if line.text.endswith(b"\n"):
            kept.append(current)
            current = []
    if current and count:
        kept.append(current)
    for parts in kept:
        yield from parts


def _is_since(line: LogLine, since: datetime | None) -> bool:
    if since is None:
        return True
    try:
        return datetime.fromisoformat(line.time) >= since
    except ValueError:
        return False


def follow(parts: Parts, container: Container, *, tail: int | None, since: datetime | None) -> Iterator[LogLine]:
    """Yield lines as they are written until the container's monitor has ended. Blocks, woken by inotify."""
    path = log_path(parts, container)
    monitor_fd = parts.processes.open(container.run.monitor) if container.run and container.run.monitor else None
    if monitor_fd is None:
        yield from read_log(path, tail=tail, since=since)
        return
    try:
        yield from _follow(parts, path, monitor_fd, tail=tail, since=since)
    finally:
        os.close(monitor_fd)


def _follow(
    parts: Parts, path: Path, monitor_fd: int, *, tail: int | None, since: datetime | None
) -> Iterator[LogLine]:
    with path.open("rb") as stream, parts.watch_file(path) as changes:
        reader = _Reader(stream, since)
        old = reader.read(os.fstat(stream.fileno()).st_size)
        yield from old if tail is None else _last_lines(old, tail)
        while True:
            has_ended = parts.processes.has_exited(monitor_fd)  # asked before reading: what it wrote last is still read
            yield from reader.read()
            if has_ended:
                return
            changes.wait(monitor_fd)


class _Reader:
    """Reads a log that grows. The beginning of a line whose end is not there yet is kept for the next time."""

    def __init__(self, stream: BinaryIO, since: datetime | None) -> None:
        self._stream = stream
        self._since = since
        self._rest = b""

    def read(self, limit_bytes: int | None = None) -> Iterator[LogLine]:
        """Yield the lines up to the end of the file, or that far from here."""
        left = sys.maxsize if limit_bytes is None else limit_bytes
        while chunk := self._stream.read(min(left, _CHUNK_BYTES)):
            left -= len(chunk)
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            yield from (line for raw in whole if (line := parse_line(raw)) and _is_since(line, self._since))


def log_path(parts: Parts, container: Container) -> Path:
    """Where the monitor writes the container's output."""
    return parts.storage.bundle(container.id) / "log"

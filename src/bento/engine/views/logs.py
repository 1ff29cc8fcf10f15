"""``logs``: the container's output as its monitor has written it.

A line of the file is ``TIME STREAM F|P TEXT`` (the CRI log format): P is a part of a line that goes on. Where the
file has a limit, its monitor puts a new one, empty, in its place before it would grow beyond; both hold whole lines.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from msgspec import Struct

from bento.errors import UsageError, WrongState
from bento.model.container import LOG_DRIVERS, Container
from bento.units import check_log_size

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_CHUNK_BYTES = 1 << 16


def limit(driver: str, asked_bytes: int | None, default_bytes: int) -> int:
    """Return the most that a new container's log may hold; 0 is no limit. Raises UsageError."""
    if driver not in LOG_DRIVERS:
        raise UsageError(f"unknown log driver {driver!r}", hint=f"use one of {', '.join(LOG_DRIVERS)}")
    if driver == "none" and asked_bytes is not None:
        raise UsageError("a log that is not kept has no size", hint="omit max-size, or the log driver none")
    check_log_size(max(0, asked_bytes or 0))
    if driver == "none":
        return 0
    return default_bytes if asked_bytes is None else asked_bytes


def make_room(path: Path, limit_bytes: int) -> int:
    """Return after how many bytes of a new run its monitor is to begin the log anew; 0: never.

    Monitors do not count what earlier runs have left in the file: what that is beyond half of the limit is cut, oldest
    lines first. Raises OSError.
    """
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        return limit_bytes
    if limit_bytes and size_bytes > limit_bytes // 2:
        size_bytes = _keep_last(path, limit_bytes // 2)
    return limit_bytes - size_bytes if limit_bytes else 0


def _keep_last(path: Path, most_bytes: int) -> int:
    """Put the last whole lines of a log in its place; return how many bytes they are."""
    beside = path.with_name(f"{path.name}.tmp")
    with path.open("rb") as old, beside.open("wb") as new:
        os.fchmod(new.fileno(), 0o600)
        old.seek(-most_bytes - 1, os.SEEK_END)
        old.readline(_CHUNK_BYTES)  # the end of a line, or of the one before
        while chunk := old.read(_CHUNK_BYTES):
            new.write(chunk)
        kept_bytes = new.tell()
    beside.replace(path)
    return kept_bytes


def check_kept(container: Container) -> None:
    """Raise WrongState when the container's output is not kept."""
    if container.spec.log_driver == "none":
        raise WrongState(
            f"the output of container {container.name} is not kept", hint="it was made with --log-driver none"
        )


class LogLine(Struct, frozen=True):
    """One line, or a part of one. ``text`` ends with a newline unless the line goes on."""

    time: str  # RFC 3339 with nanoseconds, as the monitor wrote it
    stream: str  # stdout or stderr
    text: bytes


def parse_line(raw: bytes) -> LogLine | None:
    """Return a line of the log file, or None for one that is not in its format (cut short by a crash)."""
    fields = raw.rstrip(b"\n").split(b" ", 3)
    if len(fields) < 3 or fields[1] not in (b"stdout", b"stderr"):
        return None
    text = fields[3] if len(fields) == 4 else b""
    return LogLine(
        fields[0].decode("ascii", "replace"), fields[1].decode(), text + (b"" if fields[2] == b"P" else b"\n")
    )


def read_log(path: Path, *, tail: int | None, since: datetime | None) -> Iterator[LogLine]:
    """Yield what the log holds now: the last ``tail`` lines (None: all), none older than ``since``."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        # A line whose end is not there yet is being written.
        whole = (raw for raw in stream if raw.endswith(b"\n"))
        lines = (line for raw in whole if (line := parse_line(raw)) and _is_since(line, since))
        yield from lines if tail is None else _last_lines(lines, tail)


def _last_lines(lines: Iterator[LogLine], count: int) -> Iterator[LogLine]:
    """Drivers of one line count as one."""
    kept: deque[list[LogLine]] = deque(maxlen=count)
    current: list[LogLine] = []
    for line in lines:
        current.append(line)
        if line.text.endswith(b"\n"):
            kept.append(current)
            current = []
    if current and count:
        kept.append(current)
    for drivers in kept:
        yield from drivers


def _is_since(line: LogLine, since: datetime | None) -> bool:
    if since is None:
        return True
    try:
        return datetime.fromisoformat(line.time) >= since
    except ValueError:
        return False


def follow(drivers: Drivers, container: Container, *, tail: int | None, since: datetime | None) -> Iterator[LogLine]:
    """Yield lines as they are written until the container's monitor has ended. Blocks, woken by inotify."""
    path = log_path(drivers, container)
    monitor_fd = drivers.processes.open(container.run.monitor) if container.run and container.run.monitor else None
    if monitor_fd is None:
        yield from read_log(path, tail=tail, since=since)
        return
    try:
        yield from _follow(drivers, path, monitor_fd, tail=tail, since=since)
    finally:
        os.close(monitor_fd)


def _follow(
    drivers: Drivers, path: Path, monitor_fd: int, *, tail: int | None, since: datetime | None
) -> Iterator[LogLine]:
    is_first = True
    while True:
        # The watch is on the file that was opened, whatever is in its place by now.
        with path.open("rb") as stream, drivers.watch_file(Path(f"/proc/self/fd/{stream.fileno()}")) as changes:
            reader = _Reader(stream, since)
            if is_first:
                old = reader.read(os.fstat(stream.fileno()).st_size)
                yield from old if tail is None else _last_lines(old, tail)
                is_first = False
            while True:
                # Both are asked before reading: what was written last, to this file and by this monitor, is still read.
                has_ended = drivers.processes.has_exited(monitor_fd)
                is_replaced = _is_replaced(stream, path)
                yield from reader.read()
                if is_replaced:
                    break
                if has_ended:
                    return
                changes.wait(monitor_fd)


def _is_replaced(stream: BinaryIO, path: Path) -> bool:
    """Whether a new file has taken the place of this one, which grows no more."""
    try:
        return not os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:  # removed with its container
        return False


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


def log_path(drivers: Drivers, container: Container) -> Path:
    """Where the monitor writes the container's output."""
    return drivers.storage.bundle(container.id) / "log"

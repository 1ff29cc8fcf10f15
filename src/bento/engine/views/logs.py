"""``logs``: the container's output as its monitor has written it.

A line of a file is ``TIME STREAM F|P TEXT`` (the CRI log format): P is a part of a line that goes on. Where the file
has a limit, its monitor puts a new one, empty, in its place before it would grow beyond; both hold whole lines. What
becomes of the old one: ``files.log_files``.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from msgspec import Struct

from bento import clock, log
from bento.errors import WrongState
from bento.files import log_files
from bento.model.container import Container
from bento.units import rfc3339

if TYPE_CHECKING:
    from bento.drivers.monitor.base import JournalEntry
    from bento.drivers.processes.base import FileWatch
    from bento.engine.base.drivers import Drivers
    from bento.files.log_files import LogFile

_CHUNK_BYTES = 1 << 16
_TOO_FAST = "a part of the log is left out here: its files went before they were read"


def check_kept(container: Container) -> None:
    """Raise WrongState when the container's output is not kept."""
    if container.spec.log.driver == "none":
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
    files = log_files.open_files(os.fspath(path.parent))
    try:
        yield from _read_files(files, [_Reader(file.stream, since) for file in files], tail)
    finally:
        for file in files:
            file.close()


def _read_files(
    files: Sequence[LogFile], readers: Sequence[_Reader], tail: int | None, last_bytes: int | None = None
) -> Iterator[LogLine]:
    """Yield what files in order hold, of the last one ``last_bytes`` at most. A line may go on in the next file."""
    first = 0 if tail is None else _first_of_last(files, readers, tail)
    lines = (
        line
        for at in range(first, len(files))
        for line in readers[at].read(last_bytes if at == len(files) - 1 else None)
    )
    yield from lines if tail is None else _last_lines(lines, tail)


def _first_of_last(files: Sequence[LogFile], readers: Sequence[_Reader], tail: int) -> int:
    """Return from which file on the last ``tail`` lines are; the last file is not read for that."""
    count = 0
    for at in range(len(files) - 2, 0, -1):
        count += sum(line.text.endswith(b"\n") for line in readers[at].read())
        files[at].stream.seek(0)
        if count > tail:
            return at
    return 0


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


def is_since(line: LogLine, since: datetime | None) -> bool:
    """Whether a line is not older than this; None: it is not."""
    if since is None:
        return True
    try:
        return datetime.fromisoformat(line.time) >= since
    except ValueError:
        return False


def logs(
    drivers: Drivers,
    container: Container,
    *,
    is_followed: bool,
    tail: int | None,
    since: datetime | None,
    until: datetime | None = None,
) -> Iterator[LogLine]:
    """Yield the container's output; where ``is_followed``, until its monitor has ended. Raises WrongState, MissingTool.

    ``until``: it ends before the first line that is newer. Blocks, woken by the kernel.
    """
    check_kept(container)
    if until is None:
        return _lines(drivers, container, is_followed, tail, since)
    is_to_come = until > clock.utc()
    return _up_to(_lines(drivers, container, is_followed and is_to_come, tail, since), until)


def _up_to(lines: Iterator[LogLine], until: datetime) -> Iterator[LogLine]:
    after = until + timedelta.resolution
    return itertools.takewhile(lambda line: not is_since(line, after), lines)


def _lines(
    drivers: Drivers, container: Container, is_followed: bool, tail: int | None, since: datetime | None
) -> Iterator[LogLine]:
    if container.spec.log.driver == "journald":
        return _of_journal(drivers, container, is_followed, tail, since)
    if is_followed:
        return follow(drivers, container, tail=tail, since=since)
    return read_log(log_path(drivers, container), tail=tail, since=since)


def _of_journal(
    drivers: Drivers, container: Container, is_followed: bool, tail: int | None, since: datetime | None
) -> Iterator[LogLine]:
    monitor_fd = _open_monitor(drivers, container) if is_followed else None
    try:
        entries = drivers.monitor.read_journal(container.id, monitor_fd)
        old = map(_journal_line, iter(lambda: next(entries, None), None))  # up to what comes
        lines = (line for line in old if is_since(line, since))
        yield from lines if tail is None else _last_lines(lines, tail)
        yield from (line for entry in entries if entry and is_since(line := _journal_line(entry), since))
    finally:
        if monitor_fd is not None:
            os.close(monitor_fd)


def _journal_line(entry: JournalEntry) -> LogLine:
    return LogLine(rfc3339(entry.unix_ns), "stderr" if entry.is_stderr else "stdout", entry.text)


def _open_monitor(drivers: Drivers, container: Container) -> int | None:
    return drivers.processes.open(container.run.monitor) if container.run and container.run.monitor else None


class Waiting(Struct, frozen=True):
    """There is no more now: more may be there when the file has changed, or the monitor has ended."""

    changes: FileWatch
    monitor_fd: int


def follow(drivers: Drivers, container: Container, *, tail: int | None, since: datetime | None) -> Iterator[LogLine]:
    """Yield lines as they are written until the container's monitor has ended. Blocks, woken by inotify."""
    for step in steps(drivers, container, tail=tail, since=since):
        if isinstance(step, Waiting):
            step.changes.wait(step.monitor_fd)
        else:
            yield step


def steps(
    drivers: Drivers, container: Container, *, tail: int | None, since: datetime | None
) -> Iterator[LogLine | Waiting]:
    """Yield lines as they are written until the container's monitor has ended, and Waiting whenever there are none.

    Does not block: the caller waits.
    """
    path = log_path(drivers, container)
    monitor_fd = _open_monitor(drivers, container)
    if monitor_fd is None:
        yield from read_log(path, tail=tail, since=since)
        return
    try:
        yield from _follow(drivers, path, monitor_fd, tail=tail, since=since)
    finally:
        os.close(monitor_fd)


def _follow(
    drivers: Drivers, path: Path, monitor_fd: int, *, tail: int | None, since: datetime | None
) -> Iterator[LogLine | Waiting]:
    directory = os.fspath(path.parent)
    files = log_files.open_files(directory)
    try:
        readers = [_Reader(file.stream, since) for file in files]
        size_bytes = os.fstat(files[-1].stream.fileno()).st_size if files else 0
        yield from _read_files(files, readers, tail, size_bytes)
        while files:
            current = files[-1]
            yield from _follow_file(drivers, directory, current, readers[-1], monitor_fd)
            if log_files.is_current(directory, current):  # the monitor has ended
                return
            later = log_files.open_files(directory, current)
            if later and later[0].number > current.number + 1:
                log.warning(_TOO_FAST)
            for file in files:
                file.close()
            files, readers = later, [_Reader(file.stream, since) for file in later]
            for reader in readers[:-1]:
                yield from reader.read()
    finally:
        for file in files:
            file.close()


def _follow_file(
    drivers: Drivers, directory: str, file: LogFile, reader: _Reader, monitor_fd: int
) -> Iterator[LogLine | Waiting]:
    """Yield what is written to a file until another one is in its place, or the monitor has ended."""
    # The watch is on the file that was opened, whatever is in its place by now.
    with drivers.watch_file(Path(f"/proc/self/fd/{file.stream.fileno()}")) as changes:
        while True:
            # Both are asked before reading: what was written last, to this file and by this monitor, is still read.
            has_ended = drivers.processes.has_exited(monitor_fd)
            is_current = log_files.is_current(directory, file)
            yield from reader.read()
            if has_ended or not is_current:
                return
            yield Waiting(changes, monitor_fd)


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
            yield from (line for raw in whole if (line := parse_line(raw)) and is_since(line, self._since))


def log_path(drivers: Drivers, container: Container) -> Path:
    """Where the monitor writes the container's output."""
    own = container.spec.node.log_path
    return Path(own) if own else drivers.storage.bundle(container.id) / "log"

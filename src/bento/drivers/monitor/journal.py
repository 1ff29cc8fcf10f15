"""The output of a container in systemd's journal, as conmon has written it there; read by journalctl(1).

conmon's fields (ctr_logging.c, write_journald): CONTAINER_ID_FULL, PRIORITY 3 for stderr and 6 for stdout, and
CONTAINER_PARTIAL_MESSAGE with the parts of a line that is longer than its buffer. Version 2.1.6 leaves the newline in
the message.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec import Struct

from bento.command import Child, find_program, run, spawn
from bento.drivers.monitor.base import JournalEntry
from bento.errors import BentoError, UsageError

_FIELDS: Final = "MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE"
_STDERR: Final = "3"
_CHUNK_BYTES: Final = 1 << 16
_LIMIT_S: Final = 10.0


class _Raw(Struct):
    """A line of journalctl's JSON. What is no text is an array of bytes; a message without any is null."""

    cursor: str = msgspec.field(name="__CURSOR", default="")
    time_us: str = msgspec.field(name="__REALTIME_TIMESTAMP", default="0")
    message: Any = msgspec.field(name="MESSAGE", default=None)
    priority: Any = msgspec.field(name="PRIORITY", default="")
    partial: Any = msgspec.field(name="CONTAINER_PARTIAL_MESSAGE", default=None)


def read(container_id: str, monitor_fd: int | None) -> Iterator[JournalEntry | None]:
    """See MonitorDriver.read_journal."""
    cursor = ""
    for entry in _entries(container_id):
        cursor = entry.cursor
        yield entry
    yield None
    if monitor_fd is None:
        return
    for entry in _follow(container_id, cursor, monitor_fd):
        cursor = entry.cursor
        yield entry
    with suppress(BentoError):  # one that does not answer has written what it has
        run([_program(), "--sync"], timeout_s=_LIMIT_S)
    yield from _entries(container_id, cursor)


def parse(line: bytes) -> JournalEntry | None:
    """Return a line of ``journalctl -o json``; None for what is none."""
    try:
        raw = msgspec.json.decode(line, type=_Raw)
        message = bytes(raw.message) if isinstance(raw.message, list) else str(raw.message or "").encode()
        return JournalEntry(
            cursor=raw.cursor,
            unix_ns=int(raw.time_us) * 1000,
            is_stderr=raw.priority == _STDERR,
            text=message if raw.partial or message.endswith(b"\n") else message + b"\n",
        )
    except (msgspec.DecodeError, ValueError, TypeError):
        return None


def _entries(container_id: str, after: str = "") -> Iterator[JournalEntry]:
    with _Reading(container_id, after) as reading:
        while (found := reading.read()) is not None:
            yield from found
        reading.check()


def _follow(container_id: str, after: str, monitor_fd: int) -> Iterator[JournalEntry]:
    """Yield what is written, until the monitor has ended; what it wrote last may be missing."""
    with _Reading(container_id, after, "--follow", "--lines=all") as reading:
        poller = select.poll()
        for fd in (reading.fd, monitor_fd):
            poller.register(fd, select.POLLIN)
        while monitor_fd not in [fd for fd, _ in poller.poll()]:
            if (found := reading.read()) is None:
                reading.check()
                return
            yield from found


class _Reading:
    """A journalctl that runs. A context, which ends it."""

    def __init__(self, container_id: str, after: str, *more: str) -> None:
        words = [_program(), "--quiet", "--no-pager", "--all", "--output=json", f"--output-fields={_FIELDS}", *more]
        words += [f"--after-cursor={after}"] if after else []
        self.fd, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self._child: Child = spawn([*words, f"CONTAINER_ID_FULL={container_id}"], stdout_fd=writer)
        except BaseException:
            os.close(self.fd)
            raise
        finally:
            os.close(writer)
        self._rest = b""

    def read(self) -> list[JournalEntry] | None:
        """Return what has come; None at the end. Blocks until there is something."""
        chunk = os.read(self.fd, _CHUNK_BYTES)
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [entry for line in lines if (entry := parse(line)) is not None]

    def check(self) -> None:
        """Raise UsageError with journalctl's words when it has failed."""
        done = self._child.finish(_LIMIT_S)
        said = done.stderr.strip().splitlines()
        if done.returncode != 0 and said:
            raise UsageError(f"journalctl: {said[-1]}", hint="these are its words")

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        self._child.kill()


def _program() -> str:
    return os.fspath(find_program("journalctl", package="systemd"))

"""The end of a stop in systemd's journal: its verdict, with fields to search for.

By the journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bento.lazy import LazyModule

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from bento.model.container import Container
    from bento.model.stop import StopReport
else:  # where there is no journal, no socket is needed
    socket = LazyModule("socket")

MESSAGE_ID: Final = "6f1e1f0c3b6a4d5f9a1c7f5e2b8d4c10"
"""Of all entries of this kind (journalctl MESSAGE_ID=...)."""
_NOTICE: Final = "5"
_WARNING: Final = "4"
_SHORT: Final = 12
PATH: Final = "/run/systemd/journal/socket"


def send(fields: Mapping[str, str], path: str = PATH) -> None:
    """Write an entry where there is a journal. Never waits, and no error when it is not taken."""
    if not os.path.exists(path):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as journal:
        journal.setblocking(False)
        journal.connect(path)
        journal.send(encode(fields))


def encode(fields: Mapping[str, str]) -> bytes:
    """Return the datagram of an entry: a line for each field; one of several lines has its length before it. Pure."""
    parts = []
    for name, value in fields.items():
        data = value.encode("utf-8", "surrogateescape")
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def fields(container: Container, report: StopReport) -> dict[str, str]:
    """Return the fields of the entry. Those of the container are called as conmon calls them. Pure."""
    code = "unknown" if report.exit_code is None else str(report.exit_code)
    verdict = report.verdict.value
    message = f"container {container.name} stopped in {report.duration_s:.2f} s, exit code {code}, {verdict}"
    if not report.is_graceful:
        message += f": {report.cause}"
    return {
        "MESSAGE": message,
        "MESSAGE_ID": MESSAGE_ID,
        "PRIORITY": _NOTICE if report.is_graceful else _WARNING,
        "SYSLOG_IDENTIFIER": "bento",
        "CONTAINER_NAME": container.name,
        "CONTAINER_ID": container.id[:_SHORT],
        "CONTAINER_ID_FULL": container.id,
        "IMAGE_NAME": container.spec.image,
        "BENTO_VERDICT": verdict,
        "BENTO_ASKED_BY": report.asked_by.value,
        "BENTO_METHOD": report.method,
        "BENTO_SIGNAL": report.signal,
        "BENTO_EXIT_CODE": code,
        "BENTO_DURATION_USEC": str(round(report.duration_s * 1e6)),
    }

"""Who has what mounted where: /proc/PID/mountinfo (proc(5)).

Apart from ``mount``, which needs the C library: reading a table should not cost its import.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Final

from msgspec import Struct

from bento.errors import KernelError

_OCTAL: Final = re.compile(r"\\([0-7]{3})")


class MountEntry(Struct, frozen=True, kw_only=True):
    """One line of /proc/PID/mountinfo (proc(5)), escapes decoded."""

    mount_id: int
    parent_id: int
    device: str  # "major:minor" of the filesystem
    root: str
    target: str
    fstype: str
    source: str
    options: str  # the mount's own, then the superblock's


def mount_table(pid: int | None = None) -> list[MountEntry]:
    """Return the mounts of a process's namespace; of the calling thread's without ``pid``.

    Empty when the process is gone, or has no mounts left because it is a zombie.
    """
    try:
        with open(f"/proc/{pid}/mountinfo" if pid is not None else "/proc/thread-self/mountinfo", "rb") as file:
            return parse_mountinfo(file.read())
    except (FileNotFoundError, ProcessLookupError):
        return []
    except OSError as error:
        if error.errno == errno.EINVAL:  # a zombie's
            return []
        raise KernelError("read", error.errno or 0, error.strerror or "", path=str(error.filename)) from error


def parse_mountinfo(text: bytes) -> list[MountEntry]:
    """Parse the text of /proc/PID/mountinfo. Lines that do not look like one are left out."""
    entries = []
    for line in os.fsdecode(text).split("\n"):
        front, _, back = line.partition(" - ")
        before, after = front.split(" "), back.split(" ")
        if len(before) < 6 or len(after) < 3:
            continue
        entries.append(
            MountEntry(
                mount_id=int(before[0]),
                parent_id=int(before[1]),
                device=before[2],
                root=_unescape(before[3]),
                target=_unescape(before[4]),
                fstype=after[0],
                source=_unescape(after[1]),
                options=_unescape(f"{before[5]},{after[2]}"),
            )
        )
    return entries


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text

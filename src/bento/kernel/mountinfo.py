"""What each process has mounted, and where: /proc/PID/mountinfo (proc(5)).

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
    peers: str = ""  # "shared:N", "master:N", ...: the group that shares what is mounted below; "" when private

    @property
    def receives(self) -> bool:
        """Whether later mounts below it can reach a copy of it (mount_namespaces(7))."""
        return "shared:" in self.peers or "master:" in self.peers


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


def of_path(path: str) -> MountEntry:
    """Return the mount that a path is on, as the calling thread sees it. Raises OSError, KernelError."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        mount_id = _mount_id(fd)
    finally:
        os.close(fd)
    for entry in mount_table():
        if entry.mount_id == mount_id:
            return entry
    raise KernelError("mountinfo", errno.ENOENT, "nothing is mounted there", path=path)


def _mount_id(fd: int) -> int:
    """As fdinfo has it (proc(5)): that needs no C library."""
    with open(f"/proc/thread-self/fdinfo/{fd}", encoding="ascii", errors="replace") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key == "mnt_id":
                return int(value)
    raise KernelError("fdinfo", errno.ENODATA, "no mount id")


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
                peers=" ".join(before[6:]),
            )
        )
    return entries


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text

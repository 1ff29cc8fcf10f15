"""Which processes have SQLite's locks on a database (walformat.html, 2.3; lockingv3.html).

Read from /proc/locks (proc_locks(5)), not by fcntl(2): to close a descriptor of these files drops all locks that this
process has on them.
"""

from __future__ import annotations

import os
from pathlib import Path


def holders(database: Path) -> list[int]:
    """Return the other processes that keep this one from reading or writing; those in other PID namespaces are not."""
    inodes = set()
    for path in (database, database.with_name(f"{database.name}-shm")):
        try:
            inodes.add(str(os.stat(path).st_ino))
        except OSError:
            continue
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    return [pid for line in lines if (pid := _writer(line.split(), inodes)) not in (0, os.getpid())]


def _writer(words: list[str], inodes: set[str]) -> int:
    """``1: POSIX  ADVISORY  WRITE 4242 fe:00:2147374 120 120``; one that waits has ``->`` before its kind."""
    if len(words) < 8 or words[1] != "POSIX" or words[3] != "WRITE":
        return 0
    # Not by the device: btrfs has another one there than in stat(2).
    return max(0, int(words[4])) if words[5].rpartition(":")[2] in inodes else 0

"""What a process that stays and mostly sleeps has in memory."""

from __future__ import annotations

import gc
from contextlib import suppress

from bento.errors import KernelError
from bento.kernel import libc


def settle() -> None:
    """Let go of garbage, and of what the allocator keeps; call it once all is loaded, before the work begins."""
    gc.collect()
    gc.freeze()
    libc.trim_heap()


class Text:
    """The code that is mapped into this process: the interpreter's, and that of libraries.

    It is read from its files where it is run, and need not be resident while the process sleeps (Rss in
    proc_pid_smaps(5)).
    """

    def __init__(self) -> None:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            rows = [line.split(maxsplit=5) for line in file]
        # Code alone: other parts that are not writable any more have been written to, by the linker.
        ranges = [row[0].split("-") for row in rows if row[1] == "r-xp" and len(row) == 6 and row[5].startswith("/")]
        self._ranges = [(int(first, 16), int(last, 16)) for first, last in ranges]

    def forget(self) -> None:
        """Have none of it resident until it is run again, which costs some page faults without I/O."""
        for first, last in self._ranges:
            with suppress(KernelError):
                libc.forget_pages(first, last - first)

"""What a process that stays and mostly sleeps has in memory."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import suppress

from bento.errors import KernelError
from bento.kernel import libc


def settle() -> None:
    """Let go of garbage, and of what the allocator keeps; call it once all is loaded, before the work begins."""
    gc.collect()
    gc.freeze()
    libc.trim_heap()


class Text:
    """The code and the constants that are mapped into this process: the interpreter's, and those of libraries.

    They are read from their files where they are used, and need not be resident while the process sleeps (Rss in
    proc_pid_smaps(5)).
    """

    def __init__(self) -> None:
        with open("/proc/self/smaps", encoding="utf-8", errors="replace") as file:
            self._ranges = list(_unwritten(file))

    def forget(self) -> None:
        """Have none of it resident until it is run again, which costs some page faults without I/O."""
        for first, last in self._ranges:
            with suppress(KernelError):
                libc.forget_pages(first, last - first)


def _unwritten(smaps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield the parts of files that are mapped, and neither are writable nor were written to, as by the linker."""
    mapped: tuple[int, int] | None = None
    for line in smaps:
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):
            first, _, last = words[0].partition("-")
            is_constant = words[1] in ("r-xp", "r--p") and len(words) == 6 and words[5].startswith("/")
            mapped = (int(first, 16), int(last, 16)) if is_constant else None
        elif words[0] == "Anonymous:" and words[1] == "0" and mapped is not None:
            yield mapped

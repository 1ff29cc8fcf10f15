"""Notices when the code that the zygote has loaded is no longer what the files have: an upgrade, an edit."""

from __future__ import annotations

import os
import select
import struct
import sys
from contextlib import suppress
from typing import Final

from bento.kernel import libc

_CHANGED: Final = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
# IN_MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF (inotify(7))
_EVENT: Final = struct.Struct("iIII")
_READ_BYTES: Final = 1 << 16
_BYTE_CODE: Final = "__pycache__"


class CodeWatch:
    """The directories of all modules that are loaded, and the interpreter. ``fileno`` is readable after a change."""

    def __init__(self) -> None:
        """Raises KernelError where no watch is left: then it could not be known which code is run."""
        self._fd = libc.inotify_init(os.O_NONBLOCK)
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        for place in {os.path.dirname(file) for file in files if file}:
            libc.inotify_add_watch(self._fd, place, _CHANGED)
        self._interpreter = os.path.realpath(sys.executable)
        self._of_interpreter = libc.inotify_add_watch(self._fd, self._interpreter, _CHANGED)
        self._content = _content(self._interpreter)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def may_have_changed(self) -> bool:
        """Whether there is an event that was not looked at, as a child sees it that must not take it away."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        return bool(poller.poll(0))

    def has_changed(self) -> bool:
        """Look at the events; byte code that another command writes is no change, nor is a link to the interpreter."""
        with suppress(BlockingIOError):
            while data := os.read(self._fd, _READ_BYTES):
                at = 0
                while at < len(data):
                    watch, _, _, length = _EVENT.unpack_from(data, at)
                    name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
                    at += _EVENT.size + length
                    if watch == self._of_interpreter and _content(self._interpreter) == self._content:
                        continue
                    if os.fsdecode(name) != _BYTE_CODE:
                        return True
        return False

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def _content(path: str) -> tuple[int, ...] | None:
    """Return what changes with the content of a file, and not with its links; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

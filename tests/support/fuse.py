"""A file whose readers hang in the kernel: a FUSE daemon that takes the request and does not answer it.

What a daemon has read from /dev/fuse is waited for without regard to signals, SIGKILL included (request_wait_answer in
fs/fuse/dev.c): the reader is in state D. Formats: linux/fuse.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import struct
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from bento.kernel import libc, namespace

from support import procs

HANGS = "hang"
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _RELEASE, _INIT, _INTERRUPT, _BATCH_FORGET = 1, 2, 3, 14, 15, 18, 26, 36, 42
_NO_ANSWER = (_FORGET, _INTERRUPT, _BATCH_FORGET)
_HEADER = struct.Struct("<IIQQIIII")
_DIRECT_IO = 1
_ROOT, _FILE = 1, 2


class HangingFile:
    """``with HangingFile(directory) as hanging:`` mounts it there. ``answer()`` lets the readers go on.

    Mounted in a mount namespace of its own, which ``enter`` is the way into: on the host itself every namespace that
    anything makes meanwhile would keep a copy of the mount.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.taken = threading.Event()  # another process hangs
        self._pending: list[int] = []
        self._is_answering = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.directory.mkdir()
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self._holder = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "1000"])
        own = os.readlink("/proc/self/ns/mnt")
        there = f"/proc/{self._holder.pid}/ns/mnt"
        procs.wait_until(lambda: os.readlink(there) != own, what="a mount namespace")
        pidfd = os.pidfd_open(self._holder.pid)
        data = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0,allow_other"
        namespace.in_mounts_of(pidfd, lambda: libc.mount("test", str(self.directory), "fuse", 0, data))
        os.close(pidfd)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answer()
        self._holder.send_signal(signal.SIGKILL)
        self._holder.wait()
        os.close(self._fd)

    @property
    def enter(self) -> list[str]:
        """What to put before a command line that is to see the file."""
        return ["nsenter", "-m", "-t", str(self._holder.pid)]

    def answer(self) -> None:
        """Give all readers, now and later, the end of the file."""
        with self._lock:
            self._is_answering = True
            for unique in self._pending:
                self._reply(unique)
            self._pending.clear()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # unmounted
            while True:
                request = os.read(self._fd, 1 << 17)
                _, opcode, unique, node, *_ = _HEADER.unpack_from(request)
                self._handle(opcode, unique, node, request[_HEADER.size :])

    def _handle(self, opcode: int, unique: int, node: int, body: bytes) -> None:
        if opcode in _NO_ANSWER:
            return
        if opcode == _INIT:
            self._reply(unique, struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 16, 12, 4096, 1, 0, 0, 0))
        elif opcode == _LOOKUP and body.rstrip(b"\0").decode() == HANGS:
            self._reply(unique, struct.pack("<QQQQII", _FILE, 0, 60, 60, 0, 0) + _attributes(_FILE))
        elif opcode == _GETATTR:
            self._reply(unique, struct.pack("<QII", 60, 0, 0) + _attributes(node))
        elif opcode == _OPEN:
            self._reply(unique, struct.pack("<QII", 0, _DIRECT_IO, 0))
        elif opcode == _READ:
            with self._lock:
                if self._is_answering:
                    self._reply(unique)
                else:
                    self._pending.append(unique)
                    self.taken.set()
        elif opcode == _RELEASE:
            self._reply(unique)
        else:
            self._reply(unique, error=errno.ENOENT if opcode == _LOOKUP else errno.ENOSYS)

    def _reply(self, unique: int, body: bytes = b"", *, error: int = 0) -> None:
        with contextlib.suppress(OSError):  # no process waits any more
            os.write(self._fd, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)


def _attributes(node: int) -> bytes:
    mode = stat.S_IFDIR | 0o755 if node == _ROOT else stat.S_IFREG | 0o644
    return struct.pack("<QQQQQQIIIIIIIIII", node, 4096, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

"""Filters of system calls as crun has compiled them: libseccomp at work, each time anew, is a third of a start.

crun leaves a container's filter in its state, ``seccomp.bpf``, and takes one by an annotation in the place of its own
work (crun(1), ``run.oci.seccomp_bpf_data``); a crun that does not know it compiles as before. What is kept stands with
all that it was made from, word for word: another profile, other capabilities, another crun, libc's list of libraries,
kernel or boot is another filter.
"""

from __future__ import annotations

import os
from binascii import b2a_base64, crc32
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from bento.files.smallfile import read_small
from bento.kernel.process.pidfd import boot_id

ANNOTATION: Final = "run.oci.seccomp_bpf_data"
COMPILED: Final = "seccomp.bpf"
_MOST: Final = 64
"""Files: profiles may be a user's own, and different each time."""
_INSTRUCTION_BYTES: Final = 8  # struct sock_filter
_LIBRARIES: Final = "/etc/ld.so.cache"  # written anew whenever a library is installed (ldconfig(8))


class Filters:
    """Compiled filters below ``directory``, root's alone. Nothing here raises: without one, crun compiles it."""

    def __init__(self, directory: Path, program: Path) -> None:
        self._directory, self._program = directory, program
        self._missing: dict[str, bytes] = {}  # by container: what its filter is made from

    def annotations(self, container_id: str, seccomp: dict[str, Any]) -> dict[str, str]:
        """Return what has crun take the filter that was made from ``linux.seccomp`` before; nothing where none was."""
        if len(self._missing) >= _MOST:  # of starts that have failed, in a process that stays
            self._missing.clear()
        with suppress(OSError):
            source = self._source(seccomp)
            self._missing[container_id] = source
            kept, _, compiled = read_small(self._path(source)).rpartition(b"\n")
            if kept == source:
                del self._missing[container_id]
                return {ANNOTATION: compiled.decode("ascii")}
        return {}

    def keep(self, container_id: str, state: Path) -> None:
        """Keep what crun has compiled for a container that ``annotations`` had nothing for. Idempotent."""
        source = self._missing.pop(container_id, None)
        if source is None:
            return
        with suppress(OSError):
            compiled = read_small(state / COMPILED)
            if not compiled or len(compiled) % _INSTRUCTION_BYTES:
                return
            self._make_room()
            path = self._path(source)
            draft = path.with_name(f"{path.name}.{os.getpid()}")
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(source + b"\n" + b2a_base64(compiled, newline=False))
            draft.replace(path)

    def _source(self, seccomp: dict[str, Any]) -> bytes:
        program, libraries = os.stat(self._program), os.stat(_LIBRARIES)
        crun = [str(self._program), program.st_ino, program.st_mtime_ns, program.st_size, libraries.st_mtime_ns]
        return msgspec.json.encode([seccomp, crun, os.uname().release, boot_id()])

    def _path(self, source: bytes) -> Path:
        return self._directory / f"{crc32(source):08x}"

    def _make_room(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        names = os.listdir(self._directory)
        for name in names if len(names) >= _MOST else ():
            os.unlink(self._directory / name)

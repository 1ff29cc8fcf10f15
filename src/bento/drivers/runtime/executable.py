"""Whether the kernel would execute a container's program, seen before it is asked to.

Runtimes check that the program is there and has the x bit. What the kernel refuses then (execve(2)) they report on the
program's own stderr, and exit 1: from outside it looks as if the program had run. So its file is looked at as
the kernel looks at it (fs/binfmt_script.c, fs/binfmt_elf.c); where that says nothing for sure, nothing is refused.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bento.errors import BentoError, CommandNotExecutable, CommandNotFound, KernelError
from bento.files import rootfs
from bento.kernel import binfmt

_HEAD_BYTES: Final = 256
"""What the kernel looks at of any file (BINPRM_BUF_SIZE); a script's first line is no longer."""
_SCRIPTS_MAX: Final = 5
"""So many interpreters may be scripts in their turn (fs/exec.c, exec_binprm)."""
_ELF: Final = b"\x7fELF"
_MACHINES: Final = {
    "x86_64": (62, 3), "i686": (3, 62), "i386": (3, 62), "aarch64": (183, 40), "armv7l": (40, 183),
    "armv8l": (40, 183), "ppc64le": (21,), "s390x": (22,), "riscv64": (243,),
}  # fmt: skip
"""ELF machines by uname(2)'s word. The second one is run as well, or cannot be distinguished from one that is."""
_NAMES: Final = {3: "386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}
_PT_INTERP: Final = 3
_PATH_MAX: Final = 4096


class _Unknown(Exception):
    """It cannot be said whether the kernel would execute it."""


def check(name: str, *, workdir: str, path: str, root: Path, says_absent: bool, hidden: Iterable[str] = ()) -> None:
    """Raise CommandNotFound or CommandNotExecutable for a program that the kernel would refuse for sure.

    Args:
        name: of the program: a path, or what is looked up in ``path`` (the value of PATH).
        workdir: the directory it is run in.
        root: the container's root, with all that is mounted in it.
        says_absent: also for one that is not there, or has no x bit: where no runtime looks.
        hidden: places of mounts that cannot be seen in ``root``; nothing is said of what lies there.
    """
    directories = [""] if "/" in name else path.split(":")
    candidates = [posixpath.join(workdir, directory, name) for directory in directories]
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        refusal = _Look(root_fd, workdir, tuple(hidden)).refusal(name, candidates, says_absent=says_absent)
    except _Unknown:
        return
    finally:
        os.close(root_fd)
    if refusal is not None:
        raise refusal


class _Look:
    """One look at a program in a container's root."""

    def __init__(self, root_fd: int, workdir: str, hidden: tuple[str, ...]) -> None:
        self._root_fd, self._workdir = root_fd, workdir
        self._hidden = [place.rstrip("/") for place in hidden]

    def refusal(self, name: str, candidates: list[str], *, says_absent: bool) -> BentoError | None:
        is_seen = False
        for candidate in candidates:
            with self._opened(candidate) as fd:
                if fd is None:
                    continue
                is_seen = True
                if _is_program(fd):
                    return self._of_file(name, candidate, fd, _SCRIPTS_MAX)
        if not says_absent:
            return None
        if is_seen:
            return CommandNotExecutable(f"cannot execute {name}: permission denied", hint="a directory, or no x bit?")
        return CommandNotFound(f"command not found: {name}", hint="check the name, and the image's PATH")

    def _of_file(self, name: str, path: str, fd: int, scripts: int) -> BentoError | None:
        head = os.pread(fd, _HEAD_BYTES, 0)
        if head.startswith(b"#!"):
            refusal = self._of_script(name, head, scripts)
        elif head.startswith(_ELF):
            refusal = self._of_elf(name, head, fd)
        else:
            what = "it is neither a program nor a script" if head else "it is empty"
            hint = "let its first line be #!/bin/sh or the like" if head else "is it what the image should have there?"
            refusal = _format_error(name, what, hint)
        if refusal is not None and binfmt.may_have_handler(path, head):
            return None
        return refusal

    def _of_script(self, name: str, head: bytes, scripts: int) -> BentoError | None:
        line, newline, _ = head[2:].partition(b"\n")
        words = line.replace(b"\t", b" ").replace(b"\0", b" ").lstrip(b" ")
        word, blank, _ = words.partition(b" ")
        is_cut = not (newline or blank) and len(head) == _HEAD_BYTES
        if not word or is_cut:
            return _format_error(name, "its first line names no interpreter", "it may be #!/bin/sh")
        interpreter = os.fsdecode(word)
        hint = "bring that interpreter into the image, or name the one that is there"
        if interpreter.endswith("\r"):
            hint = "its lines end as on Windows, in carriage return and line feed: convert it"
        with self._opened(posixpath.join(self._workdir, interpreter)) as fd:
            if fd is None:
                return CommandNotFound(
                    f"cannot execute {name}: its interpreter {interpreter!r} is not there", hint=hint
                )
            if not _is_program(fd):
                return CommandNotExecutable(f"cannot execute {name}: its interpreter {interpreter!r} is no program")
            if scripts == 0:
                return CommandNotExecutable(f"cannot execute {name}: its interpreters are scripts, one after the other")
            return self._of_file(name, interpreter, fd, scripts - 1)

    def _of_elf(self, name: str, head: bytes, fd: int) -> BentoError | None:
        damaged = _format_error(name, "it is no whole program", "has it been copied in part?")
        if len(head) < 52 or head[4] not in (1, 2) or head[5] not in (1, 2):
            return damaged
        is_64, order = head[4] == 2, "<" if head[5] == 1 else ">"
        kind, machine = struct.unpack_from(f"{order}HH", head, 16)
        own = _MACHINES.get(os.uname().machine)
        if own is None:
            raise _Unknown
        if machine not in own:
            other = _NAMES.get(machine, f"machine {machine}")
            return _format_error(name, f"it is a program for {other}", "use an image for this machine: --platform")
        size, at_size, offset_format, at_offset = (56, 54, "Q", 32) if is_64 else (32, 42, "I", 28)
        if len(head) < at_size + 4:
            return damaged
        (offset,) = struct.unpack_from(order + offset_format, head, at_offset)
        entry_size, count = struct.unpack_from(f"{order}HH", head, at_size)
        if kind not in (2, 3) or entry_size != size or not 0 < count <= 65536 // size:
            return damaged
        headers = os.pread(fd, size * count, offset)
        if len(headers) != size * count:
            return damaged
        loader = _loader(fd, [headers[at : at + size] for at in range(0, len(headers), size)], order, is_64=is_64)
        if loader is None:
            return None
        with self._opened(posixpath.join(self._workdir, loader)) as loader_fd:
            if loader_fd is None:
                return CommandNotFound(
                    f"cannot execute {name}: its loader {loader!r} is not there",
                    hint="it is made for other libraries than the image has, or for none: link it statically",
                )
        return None

    @contextmanager
    def _opened(self, path: str) -> Iterator[int | None]:
        """Open a file for reading; None: it is not there. What is no regular file is open as a mere place."""
        if any(f"{posixpath.normpath(path)}/".startswith(f"{place}/") for place in self._hidden):
            raise _Unknown
        if path.startswith("/proc/"):  # of the process that looks
            raise _Unknown
        try:
            fd = rootfs.open_in(self._root_fd, path, os.O_PATH)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise _Unknown from None
            yield None
            return
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                yield fd
                return
            try:
                readable = rootfs.reopen(fd, os.O_RDONLY | os.O_NONBLOCK)
            except OSError:
                raise _Unknown from None
            try:
                yield readable
            finally:
                os.close(readable)
        finally:
            os.close(fd)


def _is_program(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISREG(mode) and mode & 0o111 != 0


def _loader(fd: int, headers: list[bytes], order: str, *, is_64: bool) -> str | None:
    """Return the dynamic loader that a program names; None when it names none."""
    for header in headers:
        if struct.unpack_from(f"{order}I", header)[0] == _PT_INTERP:
            at, length = (8, 32) if is_64 else (4, 16)
            word = "Q" if is_64 else "I"
            (offset,) = struct.unpack_from(order + word, header, at)
            (size,) = struct.unpack_from(order + word, header, length)
            text = os.pread(fd, min(size, _PATH_MAX), offset)
            if not 2 <= size <= _PATH_MAX or len(text) != size or not text.endswith(b"\0"):
                raise _Unknown
            return os.fsdecode(text.partition(b"\0")[0])
    return None


def _format_error(name: str, what: str, hint: str) -> BentoError:
    return CommandNotExecutable(f"cannot execute {name}: exec format error: {what}", hint=hint)

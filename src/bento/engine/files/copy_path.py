"""The path at an end of a ``cp``, and what is said when a file there is in the way."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from bento import log
from bento.errors import BentoError, Conflict, KernelError, StorageUnusable, as_bento_error
from bento.files.entry import unreadable

_READ_BYTES = 1 << 16
_NAMED = 3  # of the files that were left out


class CopyOptions(Struct, frozen=True, kw_only=True):
    """``archive``: keep owners, set-id bits, capabilities and device nodes; ``follow``: copy what a link points to."""

    archive: bool = False
    follow: bool = False


class CopyState:
    """What holds for one copy, and what it has come to. ``follow``: as in CopyOptions.

    Attributes:
        owner: the uid and gid that everything is to belong to, as for a Placer; None: its own.
        made: the directories that it has made, by device and inode: they are not copied into themselves.
        left_out: the paths of device nodes that were left out.
    """

    def __init__(self, options: CopyOptions, owner: tuple[int, int]) -> None:
        self.follow = options.follow
        self.owner = None if options.archive else owner
        self.made: set[tuple[int, int]] = set()
        self.left_out: list[str] = []


class CopyPath:
    """One end of a copy: a path as it was written; ``where`` that is, for errors."""

    def __init__(self, path: str, where: str) -> None:
        self.where = where
        self.path = posixpath.normpath(f"/{path}").replace("//", "/")
        self.base = self.path  # of the paths that are copied
        self.wants_content = path == "." or path.endswith("/.")
        self.wants_directory = path.endswith("/") or self.wants_content

    @property
    def name(self) -> str:
        """The last name; "" of the root itself."""
        return posixpath.basename(self.path)

    def named(self, path: str) -> str:
        """Return a path below it as errors have it."""
        return f"{posixpath.join(self.base, path).rstrip('/') or '/'} {self.where}"


@contextmanager
def map_io_errors(source: Callable[[str], str], target: Callable[[str], str]) -> Iterator[None]:
    """Say of the system's errors which file they are about, and on which side it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except KernelError as error:
        if error.call not in ("read", "openat2"):
            raise
        raise failed("read", source(error.path), error) from error
    except OSError as error:
        raise failed("write", target(error.filename or ""), error) from error


def failed(verb: str, what: str, error: OSError | KernelError) -> BentoError:
    if error.errno == errno.ENOSPC:
        return StorageUnusable(f"cannot {verb} {what}: the disk is full", hint="make room, then try again")
    number = error.errno or 0
    reason = os.strerror(number)
    if verb == "write" and number in (errno.ELOOP, errno.ENOTDIR):
        reason = "a file is in the way, or a link, which is not followed"
    return KernelError(f"cannot {verb}", number, f"{reason[0].lower()}{reason[1:]}", path=what)


def archive_words(_path: str = "") -> str:
    return "the archive"


@contextmanager
def explained() -> Iterator[None]:
    """Let the system's errors be ours, but for a reader of stdout that is gone."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise as_bento_error(error) from error


def refuse_device(source: CopyPath, mode: int, owner: tuple[int, int] | None) -> None:
    """Raise Conflict for a source that would be left out itself."""
    if owner is not None and stat.S_IFMT(mode) in (stat.S_IFCHR, stat.S_IFBLK):
        raise Conflict(f"a device node {source.where}: {source.path}", hint="copy it as one by -a")


def warn_of_left_out(paths: list[str]) -> None:
    """Say what was left out, some of it by name."""
    if paths:
        more = ", ..." if len(paths) > _NAMED else ""
        log.warning(f"device nodes were left out, use -a: {', '.join(paths[:_NAMED])}{more}")


def buffered(read: Callable[[int], bytes]) -> io.BufferedReader:
    """Return an archive as a file, to be read by ``read``."""
    return io.BufferedReader(_Raw(read), _READ_BYTES)


class _Raw(io.RawIOBase):
    """An archive, as ``read`` gives it."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        """See io."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See io."""
        try:
            data = self._read(len(buffer))
        except OSError as error:
            raise unreadable(error, "") from error
        buffer[: len(data)] = data
        return len(data)

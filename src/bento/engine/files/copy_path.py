"""The two ends of a ``cp``, and what is said when a file at one of them is in the way."""

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
from bento.errors import BentoError, Conflict, KernelError, NotFound, StorageUnusable, as_bento_error
from bento.files.entry import unreadable
from bento.files.locate import Location, link_on_the_way, locate

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_READ_BYTES = 1 << 16
_NAMED = 3  # of the files that were left out


class CopyOptions(Struct, frozen=True, kw_only=True):
    """``archive``: keep owners, set-id bits, capabilities and device nodes; ``follow``: copy what a link points to."""

    archive: bool = False
    follow: bool = False


class CopyPath:
    """One end of a copy: a path as it was written, below an open root. ``is_machine``: below this machine's own."""

    def __init__(self, root_fd: int, path: str, where: str, *, is_machine: bool = False) -> None:
        self.root_fd = root_fd
        self.where = where
        self.is_machine = is_machine
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

    def find(self, *, follow: bool) -> Location:
        """Return where it is; the caller closes it. Raises NotFound when there is no directory for it to be in."""
        try:
            return locate(self.root_fd, self.path, follow=follow, is_machine=self.is_machine)
        except KernelError as error:
            if error.errno not in _ABSENT:
                raise
            raise self._missing(error.errno) from None

    def _missing(self, number: int = 0) -> NotFound:
        """``number``: why there is not even a place for it."""
        link = link_on_the_way(self.root_fd, self.path)
        hint = f"{link[0]} is a link to {link[1]}" if link else ""
        if number == errno.ELOOP:
            return NotFound(f"too many links {self.where}: {self.path}", hint=hint)
        if number and not (link and link[0] == self.path):
            return NotFound(f"no such directory {self.where}: {posixpath.dirname(self.path)}", hint=hint)
        return NotFound(f"no such file {self.where}: {self.path}", hint=hint)

    def open_source(self, *, follow: bool) -> int:
        """Open what is there, a link itself unless ``follow``; the caller closes it. Raises NotFound, Conflict."""
        with self.find(follow=follow or self.wants_directory) as location:
            try:
                fd = location.open(os.O_PATH)
            except FileNotFoundError:
                raise self._missing() from None
            except OSError as error:
                raise failed("read", self.named(""), error) from error
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode) or (self.wants_directory and not stat.S_ISDIR(mode)):
            os.close(fd)
            raise Conflict(f"{'a socket' if stat.S_ISSOCK(mode) else 'not a directory'} {self.where}: {self.path}")
        return fd

    def open_target(self, source: CopyPath, *, is_directory: bool) -> tuple[int, str]:
        """Return the directory to copy into, which the caller closes, and the name there: "" for only what is in it.

        ``is_directory``: whether the source is one. Docker's rules: into a directory that is there, under the name that
        is given otherwise.
        """
        with self.find(follow=True) as location:
            if location.is_directory:
                name = "" if is_directory and source.wants_content else source.name
                return location.open(os.O_RDONLY | os.O_DIRECTORY), name
            if location.status is None and self.wants_directory and not is_directory:
                raise NotFound(f"no such directory {self.where}: {self.path}")
            if location.status is not None and (is_directory or self.wants_directory):
                raise Conflict(f"not a directory {self.where}: {self.path}", hint="a file is in the way")
            self.base = posixpath.dirname(self.path)
            return os.dup(location.directory_fd), location.name


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


@contextmanager
def machine(path: str) -> Iterator[CopyPath]:
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        whole = path if path.startswith("/") else f"{os.getcwd()}/{path}"
        yield CopyPath(root_fd, whole, "on this machine", is_machine=True)
    finally:
        os.close(root_fd)


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

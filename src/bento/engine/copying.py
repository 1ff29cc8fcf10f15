"""``cp``: between a container and this machine, both ways, by Docker's rules.

What is copied from and to is held by descriptors all the way (``files``): however the container lays and changes its
links meanwhile, nothing of the host's is read or written for it.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from bento import log
from bento.engine import inside
from bento.errors import BentoError, Conflict, KernelError, NotFound, StorageUnusable, as_bento_error
from bento.files.entry import unreadable
from bento.files.locate import Spot, link_on_the_way, locate
from bento.files.place import Placer
from bento.files.tarin import read_tar
from bento.files.tarout import TarWriter
from bento.files.walk import walk

if TYPE_CHECKING:
    from bento.engine.inside import Inside
    from bento.engine.parts import Parts

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_READ_BYTES = 1 << 16
_NAMED = 3  # of the files that were left out


class CopyOptions(Struct, frozen=True, kw_only=True):
    """``archive``: keep owners, set-id bits, capabilities and device nodes; ``follow``: copy what a link points to."""

    archive: bool = False
    follow: bool = False


class _End:
    """One end of a copy: a path as it was written, below an open root."""

    def __init__(self, root_fd: int, path: str, where: str) -> None:
        self.root_fd = root_fd
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

    def find(self, *, follow: bool) -> Spot:
        """Return where it is; the caller closes it. Raises NotFound when there is no directory for it to be in."""
        try:
            return locate(self.root_fd, self.path, follow=follow)
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
        with self.find(follow=follow or self.wants_directory) as spot:
            try:
                fd = spot.open(os.O_PATH)
            except FileNotFoundError:
                raise self._missing() from None
            except OSError as error:
                raise _failed("read", self.named(""), error) from error
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode) or (self.wants_directory and not stat.S_ISDIR(mode)):
            os.close(fd)
            raise Conflict(f"{'a socket' if stat.S_ISSOCK(mode) else 'not a directory'} {self.where}: {self.path}")
        return fd

    def open_target(self, source: _End, source_fd: int) -> tuple[int, str]:
        """Return the directory to copy into, which the caller closes, and the name there: "" for only what is in it.

        Docker's rules: into a directory that is there, under the name that is given otherwise.
        """
        is_directory = stat.S_ISDIR(os.fstat(source_fd).st_mode)
        with self.find(follow=True) as spot:
            if spot.is_directory:
                name = "" if is_directory and source.wants_content else source.name
                return spot.open(os.O_RDONLY | os.O_DIRECTORY), name
            if spot.status is None and self.wants_directory and not is_directory:
                raise NotFound(f"no such directory {self.where}: {self.path}")
            if spot.status is not None and (is_directory or self.wants_directory):
                raise Conflict(f"not a directory {self.where}: {self.path}", hint="a file is in the way")
            self.base = posixpath.dirname(self.path)
            return os.dup(spot.directory_fd), spot.name


class _Raw(io.RawIOBase):
    """A descriptor to read an archive from, for as long as the container lives."""

    def __init__(self, box: Inside, fd: int) -> None:
        self._box, self._fd = box, fd

    def readable(self) -> bool:
        """See io."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See io."""
        try:
            data = self._box.read(self._fd, len(buffer))
        except OSError as error:
            raise unreadable(error, "") from error
        buffer[: len(data)] = data
        return len(data)


def copy_out(parts: Parts, ref: str, path: str, target: str, options: CopyOptions) -> None:
    """Copy a file or directory of a container to this machine. Blocks.

    Raises NotFound (also for paths), Conflict, WrongState, StorageUnusable, KernelError. What was copied by then stays.
    """
    with _explained(), inside.opened(parts, ref) as box, _machine(target) as there:
        owner = None if options.archive else (os.geteuid(), os.getegid())
        _copy(_End(box.root_fd, path, _where(box)), there, box, options, owner)


def copy_in(parts: Parts, ref: str, source: str, path: str, options: CopyOptions) -> None:
    """Copy a file or directory of this machine into a container; as ``copy_out``."""
    with _explained(), inside.opened(parts, ref) as box, _machine(source) as here:
        _copy(here, _End(box.root_fd, path, _where(box)), box, options, None if options.archive else (0, 0))


def archive_out(parts: Parts, ref: str, path: str, fd: int, options: CopyOptions) -> None:
    """Write a file or directory of a container to ``fd`` as a tar archive; as ``copy_out``."""
    with _explained(), inside.opened(parts, ref) as box:
        source = _End(box.root_fd, path, _where(box))
        source_fd = source.open_source(follow=options.follow)
        try:
            writer = TarWriter(lambda data: box.write(fd, data))
            with _told(source.named, _archive):
                writer.add_all(walk(source_fd, check=box.check), "." if source.wants_content else source.name or ".")
                writer.close()
        finally:
            os.close(source_fd)


def archive_in(parts: Parts, ref: str, fd: int, path: str) -> None:
    """Unpack a tar archive, plain or compressed, from ``fd`` into a directory of a container. Owners are kept.

    As ``copy_out``; raises UsageError for what is no archive.
    """
    with _explained(), inside.opened(parts, ref) as box:
        target = _End(box.root_fd, path, _where(box))
        target.wants_directory = True
        target_fd = target.open_source(follow=True)
        placer = Placer(target_fd)
        try:
            stream = io.BufferedReader(_Raw(box, fd), _READ_BYTES)
            with _told(_archive, target.named):
                placer.put_all(read_tar(stream, _archive()), makes_parents=True)
        finally:
            placer.close()
            os.close(target_fd)


def _copy(source: _End, target: _End, box: Inside, options: CopyOptions, owner: tuple[int, int] | None) -> None:
    source_fd = source.open_source(follow=options.follow)
    try:
        if owner is not None and stat.S_IFMT(os.fstat(source_fd).st_mode) in (stat.S_IFCHR, stat.S_IFBLK):
            raise Conflict(f"a device node {source.where}: {source.path}", hint="copy it as one by -a")
        target_fd, name = target.open_target(source, source_fd)
        try:
            placer = Placer(target_fd, owner=owner)
            try:
                with _told(source.named, target.named):
                    placer.put_all(walk(source_fd, left_out=placer.made, check=box.check), name)
            finally:
                placer.close()
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)
    if placer.left_out:
        more = ", ..." if len(placer.left_out) > _NAMED else ""
        log.warning(f"device nodes were left out, use -a: {', '.join(placer.left_out[:_NAMED])}{more}")


@contextmanager
def _told(source: Callable[[str], str], target: Callable[[str], str]) -> Iterator[None]:
    """Say of the system's errors which file they are about, and on which side it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except KernelError as error:
        if error.call not in ("read", "openat2"):
            raise
        raise _failed("read", source(error.path), error) from error
    except OSError as error:
        raise _failed("write", target(error.filename or ""), error) from error


def _failed(verb: str, what: str, error: OSError | KernelError) -> BentoError:
    if error.errno == errno.ENOSPC:
        return StorageUnusable(f"cannot {verb} {what}: the disk is full", hint="make room, then try again")
    number = error.errno or 0
    reason = os.strerror(number)
    if verb == "write" and number in (errno.ELOOP, errno.ENOTDIR):
        reason = "a file is in the way, or a link, which is not followed"
    return KernelError(f"cannot {verb}", number, f"{reason[0].lower()}{reason[1:]}", path=what)


def _archive(_path: str = "") -> str:
    return "the archive"


@contextmanager
def _explained() -> Iterator[None]:
    """Let the system's errors be ours, but for a reader of stdout that went away."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise as_bento_error(error) from error


@contextmanager
def _machine(path: str) -> Iterator[_End]:
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        whole = path if path.startswith("/") else f"{os.getcwd()}/{path}"
        yield _End(root_fd, whole, "on this machine")
    finally:
        os.close(root_fd)


def _where(box: Inside) -> str:
    return f"in container {box.container.name}"

"""Unpacking a layer into a directory, in one pass, and saying what it was.

Decompressors are programs of their own, on another CPU than the one that places the files.
"""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from bento.command import Child, find_program, spawn
from bento.drivers.image.place import Placer
from bento.drivers.image.shelf import Unpacked
from bento.errors import DeadlineExceeded, MissingTool, StorageUnusable, UsageError
from bento.files.tarstream import STREAM_MAX_BYTES, Stream, entries
from bento.oci.packing import HEAD_BYTES, packing_of

_END_LIMIT_S: Final = 60.0
_DECOMPRESSORS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "gzip": (("pigz", "gzip"), "gzip"),
    "zstd": (("zstd",), "zstd"),
    "xz": (("xz",), "xz-utils"),
    "bzip2": (("bzip2",), "bzip2"),
}
"""Programs (the first that is there) and Debian package, by the packing."""
_GZIP_WARNING: Final = 2
"""gzip's exit status for garbage behind the last member, of which pigz says nothing; Docker takes it too. What counts
is the digest of what came out."""
_FREE_BYTES: Final = 64 << 20
"""What is left free on the disk for those who work beside: a layer that would fill it is given up before."""
_FREE_FILES: Final = 4096
"""The same of inodes, on filesystems that count them."""
LOOK_EVERY_BYTES: Final = 32 << 20
BOMB_BYTES: Final = 4 << 30
RATIO_MAX: Final = 500
"""A layer that is larger than the one, and than the other times its packed size, is made to fill a disk: programs and
texts pack to a half or a twentieth, and nothing but zeros, by gzip, to a thousandth."""
LOOK_EVERY_ENTRIES: Final = 1024

_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that are not the archive's fault."""


def unpack(
    source_fd: int, target: Path, algorithm: str, check: Callable[[], None], *, takes_absolute_names: bool = False
) -> tuple[str, Unpacked]:
    """Unpack the archive that ``source_fd``, at its beginning, holds into the empty directory ``target``.

    Returns the digest of the uncompressed stream, and what it was. ``takes_absolute_names``: see Placer. Blocks;
    ``check`` is called now and then, and may raise. Raises UsageError for what is no archive, or one that would leave
    the directory; StorageUnusable when the disk is full; MissingTool. ``target`` is to be removed then.
    """
    room = Room(target, check, os.fstat(source_fd).st_size)
    with _unpacked(source_fd) as fd:
        return _fill(fd, Placer(target, takes_absolute_names=takes_absolute_names), algorithm, room)


@contextmanager
def _unpacked(source_fd: int) -> Iterator[int]:
    """Yield a descriptor of what an archive is without its packing, to be read to its end.

    A UsageError from inside is told in the decompressor's words when it is that which has failed.
    """
    program = decompressor(os.pread(source_fd, HEAD_BYTES, 0))
    if program is None:
        yield source_fd
        return
    child = spawn([program, "-dc"], stdin_fd=source_fd)
    try:
        assert child.stdout_fd is not None  # spawn captures unless told otherwise
        os.set_blocking(child.stdout_fd, True)
        try:
            yield child.stdout_fd
        except UsageError as error:
            os.set_blocking(child.stdout_fd, False)
            reason = _last_words(child)
            if not reason:
                raise
            raise UsageError(f"it cannot be unpacked: {reason}") from error
        finish(child, program)
    finally:
        child.kill()


def hash_unpacked(source_fd: int, algorithm: str, check: Callable[[], None]) -> str:
    """Return the digest of what ``source_fd``, at its beginning, unpacks to; nothing is written. Blocks.

    Raises UsageError when it cannot be unpacked, and what ``check`` raises, which is called now and then; MissingTool.
    """
    with _unpacked(source_fd) as fd, Stream(partial(os.read, fd), algorithm, lambda _: check()) as stream:
        stream.drain()
    return stream.digest


def read_entries(source_fd: int, check: Callable[[], None]) -> Generator[tarfile.TarInfo, None, None]:
    """Yield the headers of an archive that was unpacked before. Blocks, raises as ``hash_unpacked`` does."""
    with _unpacked(source_fd) as fd, Stream(partial(os.read, fd), watch=lambda _: check()) as stream:
        yield from entries(stream)


def decompressor(head: bytes) -> str | None:
    """Return the program that unpacks what begins like this; None when it is not packed. Raises MissingTool."""
    packing = packing_of(head)
    if not packing:
        return None
    programs, package = _DECOMPRESSORS[packing]
    for program in programs[:-1]:
        with suppress(MissingTool):
            return os.fspath(find_program(program, package=package))
    return os.fspath(find_program(programs[-1], package=package))


def _fill(fd: int, placer: Placer, algorithm: str, room: Room) -> tuple[str, Unpacked]:
    try:
        with Stream(partial(os.read, fd), algorithm, room.check) as stream:
            for number, entry in enumerate(entries(stream), 1):
                with _blaming(f"the entry {entry.name[:200]!r}"):
                    placer.place(entry, stream)
                if number % LOOK_EVERY_ENTRIES == 0:
                    room.look()
            with _blaming("a directory"):
                placer.finish()
        return stream.digest, Unpacked(
            size_bytes=placer.size_bytes,
            implied=tuple(sorted(placer.directories.implied)),
            once_implied=tuple(sorted(placer.directories.once_implied)),
            is_opaque=placer.has_opaque_root,
        )
    finally:
        placer.close()


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Errors that are not the disk's are the archive's: what it describes cannot be made."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK:
            raise
        raise UsageError(f"{what} cannot be made: {error.strerror}") from None


def finish(child: Child, program: str) -> None:
    """Wait for a decompressor that was read to its end. Raises UsageError when it has failed. Blocks."""
    done = child.finish(_END_LIMIT_S)
    if done.returncode not in (0, _GZIP_WARNING if program.endswith("gzip") else 0):
        reason = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise UsageError(f"it cannot be unpacked: {reason[:200]}")


class Room:
    """Watches a stream that is being unpacked: neither too long, nor longer than the disk has room for.

    ``packed_bytes``: what it is unpacked from; 0 when that is not known.
    """

    def __init__(self, target: Path, check: Callable[[], None], packed_bytes: int = 0) -> None:
        self._target = target
        self._check = check
        self._packed_bytes = packed_bytes
        self._next_look = LOOK_EVERY_BYTES

    def check(self, done_bytes: int) -> None:
        """Look now and then, after so many bytes. Raises UsageError, StorageUnusable, and what ``check`` raises."""
        self._check()
        if done_bytes < self._next_look:
            return
        self._next_look = done_bytes + LOOK_EVERY_BYTES
        if done_bytes > STREAM_MAX_BYTES:
            raise UsageError(f"it has more than {STREAM_MAX_BYTES >> 40} TiB")
        if self._packed_bytes and done_bytes > max(BOMB_BYTES, RATIO_MAX * self._packed_bytes):
            raise UsageError(f"it unpacks to more than {RATIO_MAX} times its {self._packed_bytes} bytes: it is a bomb")
        self.look()

    def look(self) -> None:
        """Raise StorageUnusable when the disk is about to be full."""
        status = os.statvfs(self._target)
        if status.f_bavail * status.f_frsize < _FREE_BYTES:
            left = f"{_FREE_BYTES >> 20} MiB"
        elif status.f_files and status.f_favail < _FREE_FILES:
            left = f"{_FREE_FILES} inodes"
        else:
            return
        raise StorageUnusable(
            f"less than {left} are free on the disk of the images", hint="free some space and try again"
        )


def _last_words(child: Child) -> str:
    """What a decompressor has said, when it is it that has failed."""
    try:
        done = child.finish(0.5)
    except DeadlineExceeded:  # it waits for us: the archive is at fault
        return ""
    return done.stderr.strip().splitlines()[-1][:200] if done.returncode > 0 and done.stderr.strip() else ""

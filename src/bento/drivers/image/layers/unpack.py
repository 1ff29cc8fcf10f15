"""Unpacking a layer into a directory, in one pass, and saying what it was."""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bento.drivers.image.layers.decompress import decompressed
from bento.drivers.image.layers.extract import Extractor
from bento.drivers.image.layers.metadata import LayerMetadata
from bento.errors import StorageUnusable, UsageError
from bento.files.tarstream import STREAM_MAX_BYTES, Stream, entries

_FREE_BYTES: Final = 64 << 20
"""What is left free on the disk for other programs: a layer that would fill it is given up before."""
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
) -> tuple[str, LayerMetadata]:
    """Unpack the archive that ``source_fd``, at its beginning, holds into the empty directory ``target``.

    Returns the digest of the uncompressed stream, and what it was. ``takes_absolute_names``: see Extractor. Blocks;
    ``check`` is called now and then, and may raise. Raises UsageError for what is no archive, or one that would leave
    the directory; StorageUnusable when the disk is full; MissingTool. ``target`` is to be removed then.
    """
    space = SpaceGuard(target, check, os.fstat(source_fd).st_size)
    with decompressed(source_fd) as fd:
        return _fill(fd, Extractor(target, takes_absolute_names=takes_absolute_names), algorithm, space)


def hash_unpacked(source_fd: int, algorithm: str, check: Callable[[], None]) -> str:
    """Return the digest of what ``source_fd``, at its beginning, unpacks to; nothing is written. Blocks.

    Raises UsageError when it cannot be unpacked, and what ``check`` raises, which is called now and then; MissingTool.
    """
    with decompressed(source_fd) as fd, Stream(partial(os.read, fd), algorithm, lambda _: check()) as stream:
        stream.drain()
    return stream.digest


def read_entries(source_fd: int, check: Callable[[], None]) -> Generator[tarfile.TarInfo, None, None]:
    """Yield the headers of an archive that was unpacked before. Blocks, raises as ``hash_unpacked`` does."""
    with decompressed(source_fd) as fd, Stream(partial(os.read, fd), watch=lambda _: check()) as stream:
        yield from entries(stream)


def _fill(fd: int, extractor: Extractor, algorithm: str, space: SpaceGuard) -> tuple[str, LayerMetadata]:
    try:
        with Stream(partial(os.read, fd), algorithm, space.check) as stream:
            for number, entry in enumerate(entries(stream), 1):
                with _blame(f"the entry {entry.name[:200]!r}"):
                    extractor.extract(entry, stream)
                if number % LOOK_EVERY_ENTRIES == 0:
                    space.look()
            with _blame("a directory"):
                extractor.finish()
        return stream.digest, LayerMetadata(
            size_bytes=extractor.size_bytes,
            implied=tuple(sorted(extractor.directories.implied)),
            once_implied=tuple(sorted(extractor.directories.once_implied)),
            is_opaque=extractor.has_opaque_root,
        )
    finally:
        extractor.close()


@contextmanager
def _blame(what: str) -> Iterator[None]:
    """Errors that are not the disk's are the archive's: what it describes cannot be made."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK:
            raise
        raise UsageError(f"{what} cannot be made: {error.strerror}") from None


class SpaceGuard:
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

"""The image store below ``<root>``: ``blobs/ALGORITHM/HEX`` as they came, ``layers/HEX`` unpacked, by their DiffID.

What an image on its way in consists of is put together in one directory ``layers/tmp-*``, and moved to its place when
it is complete and on disk; that directory is also all that an interruption leaves. Every ingest shares a lock on the
``layers`` directory: while it can be had alone, each ``tmp-*`` is a leftover.

A second lock, on the file ``layers.lock`` and held for moments only, keeps records and things together: it is shared
while a record is made that stands on a layer, and exclusive while something is put in its place or taken away. Both are
flock(2): gone with their holder.

This module is loaded when a container is removed; what an image needs on its way in is in ``ingest``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bento.drivers.image.store.paths import ALGORITHMS, METADATA, TEMPORARY, StorePaths
from bento.files.tree import remove_tree
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.drivers.image import base
    from bento.drivers.image.base import Record, Removed
    from bento.drivers.image.layers import metadata
    from bento.drivers.image.store import importing
    from bento.drivers.image.store import ingest as ingests
    from bento.drivers.image.store import transfer as transfers
    from bento.model.image import Image, ImageConfig
    from bento.model.transfer import OnProgress
    from bento.oci.platform import Platform
else:
    base, metadata = LazyModule("bento.drivers.image.base"), LazyModule("bento.drivers.image.layers.metadata")
    ingests = LazyModule("bento.drivers.image.store.ingest")
    importing = LazyModule("bento.drivers.image.store.importing")
    transfers = LazyModule("bento.drivers.image.store.transfer")


class ImageStore:
    """An ImageDriver below ``root``. Safe between processes; keeps nothing in memory."""

    def __init__(self, root: Path, *, takes_absolute_names: bool = False) -> None:
        """``takes_absolute_names``: of a layer's files, as below the root; else such a layer is refused."""
        self._paths = StorePaths(root, takes_absolute_names=takes_absolute_names)
        self.blobs_dir = self._paths.blobs_dir

    @contextmanager
    def ingest(self) -> Iterator[ingests.StoreIngest]:
        """Return a context in which an image comes in; see ImageDriver."""
        with self._ingest_directory() as (directory, _):
            ingest = ingests.StoreIngest(self._paths, directory)
            try:
                yield ingest
            finally:
                ingest.close()

    @contextmanager
    def transfer(self, on_progress: OnProgress | None = None) -> Iterator[transfers.StoreTransfer]:
        """Return a context in which images are fetched or sent; see ImageDriver."""
        with self._ingest_directory() as (directory, lock_fd):
            transfer = transfers.StoreTransfer(self._paths, directory, lock_fd, on_progress)
            try:
                yield transfer
            finally:
                transfer.close()

    def import_rootfs(
        self,
        source: Path,
        config: ImageConfig,
        record: Record | None = None,
        *,
        platform: Platform | None = None,
        message: str = "",
    ) -> Image:
        """Make an image of a directory or an archive; have it recorded, and return it.

        ``source`` is a directory (of which other filesystems mounted below are left out), a tar archive, plain or
        compressed by gzip, bzip2, xz or zstd, or ``-``: an archive on standard input. Blocks for as long as that
        takes. Idempotent: what is there already is used again. ``record``: see ImageDriver. ``platform`` None: this
        machine's. ``message``: a comment for the history.

        Raises UsageError when there is nothing usable at ``source``, StorageUnusable when the disk is full,
        NotPermitted, MissingTool; then nothing is left below the root.
        """
        with self.ingest() as ingest:
            made_of = importing.ImageMetadata(config=config, platform=platform, message=message)
            return importing.import_rootfs(ingest, source, self._paths.root, made_of, record or base.nothing)

    def gc_lock(self) -> AbstractContextManager[None]:
        """Return a context in which nothing goes. Blocks for moments at its beginning; many may be in it."""
        return self._paths.gc_lock(fcntl.LOCK_SH)

    def remove(self, choose: Callable[[], Iterable[str]]) -> Removed:
        """Delete the things that ``choose`` returns; say what was there. See ImageDriver.

        Layers that are not below this root, such as the machine's own /, are left alone.
        """
        with self._ingest_lock():
            with self._paths.gc_lock(fcntl.LOCK_EX):
                doomed = self._paths.withdraw(choose())
            freed = sum(size for _, size in doomed.values())
            for path, _ in doomed.values():
                if path is not None:
                    remove_tree(path)
            return base.Removed(tuple(doomed), freed)

    def size_bytes(self, things: Iterable[str]) -> int:
        """Return what ``remove`` would free of these things; what is not there is nothing."""
        total = 0
        for thing in things:
            with suppress(FileNotFoundError):
                if thing.partition(":")[0] in ALGORITHMS:
                    total += self._paths.blob(thing).stat().st_size
                elif Path(thing).parent == self._paths.layers_dir:
                    total += metadata.read_metadata(self._paths.metadata(Path(thing))).size_bytes
        return total

    def layers(self) -> list[str]:
        """Return the complete layers on disk."""
        return [
            os.fspath(self._paths.layers_dir / name)
            for name in self._paths.names()
            if not name.startswith(TEMPORARY) and not name.endswith(METADATA)
        ]

    def idle_blobs(self) -> list[str]:
        """Return the digests of all blobs; empty while an image is on its way in."""
        with self._alone() as is_alone:
            return self._paths.blobs() if is_alone else []

    def leftovers(self) -> list[str]:
        """Return what interrupted work has left; empty while some is under way."""
        return self._with_leftovers(is_removing=False)

    def remove_leftovers(self) -> list[str]:
        """Delete what ``leftovers`` names; return it. Idempotent."""
        return self._with_leftovers(is_removing=True)

    @contextmanager
    def _ingest_directory(self) -> Iterator[tuple[Path, int]]:
        """Yield a directory for one ingest, which is removed at the end, and the lock that keeps it until then."""
        with self._ingest_lock() as lock_fd:
            directory = self._paths.temporary()
            try:
                directory.mkdir(mode=0o700)
                yield directory, lock_fd
            finally:
                remove_tree(directory)

    @contextmanager
    def _ingest_lock(self) -> Iterator[int]:
        """Share the lock of what works here. Raises a BentoError for each OSError from inside."""
        try:
            for directory in (self._paths.layers_dir, self.blobs_dir, self.blobs_dir / ALGORITHMS[0]):
                os.makedirs(directory, mode=0o700, exist_ok=True)
            lock_fd = os.open(self._paths.layers_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._paths.explain(error) from error
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_SH)
            yield lock_fd
        except BrokenPipeError:  # the reader of what is written out has gone: nothing is wrong with the store
            raise
        except OSError as error:
            raise self._paths.explain(error) from error
        finally:
            os.close(lock_fd)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether nothing works here now; then nothing can begin to."""
        try:
            lock_fd = os.open(self._paths.layers_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield False
            return
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(lock_fd)

    def _with_leftovers(self, *, is_removing: bool) -> list[str]:
        if not self._paths.leftovers():
            return []
        with self._alone() as is_alone:
            found = self._paths.leftovers() if is_alone else []
            for name in found if is_removing else ():
                remove_tree(self._paths.layers_dir / name)
            return found

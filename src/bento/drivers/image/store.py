"""The image store below ``<root>``: ``blobs/ALGORITHM/HEX`` as they came, ``layers/HEX`` unpacked, by their DiffID.

What an image on its way in consists of is put together in one directory ``layers/tmp-*``, and moved to its place when
it is complete and on disk; that directory is also all that an interruption leaves. Who works shares a lock on the
``layers`` directory; who gets it alone knows that each ``tmp-*`` is a leftover.

A second lock, on the file ``layers.lock`` and held for moments only, keeps records and things together: shared by who
makes a record that stands on a layer, exclusive for who puts something in its place or takes it away. Both are
flock(2): gone with their holder.

This module is loaded by whoever removes a container; what an image needs on its way in is in ``intake``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bento.drivers.image.shelf import ABOUT, ALGORITHMS, TEMPORARY, Shelf, read_about
from bento.kernel.tree import remove_tree
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.drivers.image import base, pack
    from bento.drivers.image import intake as intakes
    from bento.drivers.image import transfer as transfers
    from bento.drivers.image.base import Record, Removed
    from bento.model.image import Image, ImageConfig
    from bento.oci.platform import Platform
else:
    base, intakes = LazyModule("bento.drivers.image.base"), LazyModule("bento.drivers.image.intake")
    pack, transfers = LazyModule("bento.drivers.image.pack"), LazyModule("bento.drivers.image.transfer")


class ImageStore(Shelf):
    """An ImageDriver below ``root``. Safe between processes; keeps nothing in memory."""

    def intake(self) -> AbstractContextManager[intakes.StoreIntake]:
        """Return a context in which an image comes in; see ImageDriver."""
        return self._intake()

    @contextmanager
    def _intake(self) -> Iterator[intakes.StoreIntake]:
        with self._working():
            temporary = self.temporary()
            try:
                temporary.mkdir(mode=0o700)
                yield intakes.StoreIntake(self, temporary)
            finally:
                remove_tree(temporary)

    @contextmanager
    def transfer(self, on_progress: transfers.OnProgress | None = None) -> Iterator[transfers.StoreTransfer]:
        """Return a context in which images come or go by others' hands; see ImageDriver."""
        with self._working() as lock:
            temporary = self.temporary()
            try:
                temporary.mkdir(mode=0o700)
                transfer = transfers.StoreTransfer(self, temporary, lock, on_progress)
                try:
                    yield transfer
                finally:
                    transfer.close()
            finally:
                remove_tree(temporary)

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
        with self._intake() as taken:
            about = pack.About(config=config, platform=platform, message=message)
            return pack.import_rootfs(taken, source, about, record or base.nothing)

    def kept(self) -> AbstractContextManager[None]:
        """Return a context in which nothing goes. Blocks for moments at its beginning; many may be in it."""
        return self.changing(fcntl.LOCK_SH)

    def remove(self, choose: Callable[[], Iterable[str]]) -> Removed:
        """Delete the things that ``choose`` returns; say what was there. See ImageDriver.

        Layers that are not below this root, such as the machine's own /, are left alone.
        """
        with self._working():
            with self.changing(fcntl.LOCK_EX):
                doomed = self.withdraw(choose())
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
                    total += self.blob(thing).stat().st_size
                elif Path(thing).parent == self.layers_dir:
                    total += read_about(self.about(Path(thing))).size_bytes
        return total

    def layers(self) -> list[str]:
        """Return the complete layers on disk."""
        return [
            os.fspath(self.layers_dir / name)
            for name in self.names()
            if not name.startswith(TEMPORARY) and not name.endswith(ABOUT)
        ]

    def idle_blobs(self) -> list[str]:
        """Return the digests of all blobs; empty while an image is on its way in."""
        with self._alone() as is_alone:
            return self._blobs() if is_alone else []

    def leftovers(self) -> list[str]:
        """Return what interrupted work has left; empty while some is under way."""
        return self._with_leftovers(is_removing=False)

    def remove_leftovers(self) -> list[str]:
        """Delete what ``leftovers`` names; return it. Idempotent."""
        return self._with_leftovers(is_removing=True)

    @contextmanager
    def _working(self) -> Iterator[int]:
        try:
            for directory in (self.layers_dir, self.blobs_dir, self.blobs_dir / ALGORITHMS[0]):
                os.makedirs(directory, mode=0o700, exist_ok=True)
            lock = os.open(self.layers_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self.explain(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield lock
        except BrokenPipeError:  # nobody reads what is written out any more: nothing is wrong with the store
            raise
        except OSError as error:
            raise self.explain(error) from error
        finally:
            os.close(lock)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether nobody works now, and nobody can begin to."""
        try:
            lock = os.open(self.layers_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield False
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(lock)

    def _with_leftovers(self, *, is_removing: bool) -> list[str]:
        if not self._leftovers():
            return []
        with self._alone() as is_alone:
            found = self._leftovers() if is_alone else []
            for name in found if is_removing else ():
                remove_tree(self.layers_dir / name)
            return found

    def _leftovers(self) -> list[str]:
        names = self.names()
        known = set(names)
        return [
            name
            for name in names
            if name.startswith(TEMPORARY) or (name.endswith(ABOUT) and name.removesuffix(ABOUT) not in known)
        ]

    def _blobs(self) -> list[str]:
        found = []
        for algorithm in ALGORITHMS:
            with suppress(FileNotFoundError):
                found += [f"{algorithm}:{name}" for name in sorted(os.listdir(self.blobs_dir / algorithm))]
        return found

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

import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bento.errors import BentoError, NotPermitted, StorageUnusable
from bento.kernel.tree import remove_tree
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.drivers.image import base, pack
    from bento.drivers.image import intake as intakes
    from bento.drivers.image import transfer as transfers
    from bento.drivers.image.base import Record, Removed
    from bento.model.image import Image, ImageConfig
    from bento.oci.image import Platform
else:
    base, intakes = LazyModule("bento.drivers.image.base"), LazyModule("bento.drivers.image.intake")
    pack, transfers = LazyModule("bento.drivers.image.pack"), LazyModule("bento.drivers.image.transfer")

_TEMPORARY: Final = "tmp-"
_ABOUT: Final = ".json"
ALGORITHMS: Final = ("sha256", "sha512")


class ImageStore:
    """An ImageDriver below ``root``. Safe between processes; keeps nothing in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs_dir = root / "blobs"
        self._layers = root / "layers"
        self._lock_path = root / "layers.lock"

    def intake(self) -> AbstractContextManager[intakes.StoreIntake]:
        """Return a context in which an image comes in; see ImageDriver."""
        return self._intake()

    @contextmanager
    def _intake(self) -> Iterator[intakes.StoreIntake]:
        with self._working() as lock:
            temporary = self.temporary()
            try:
                temporary.mkdir(mode=0o700)
                yield intakes.StoreIntake(self, temporary, lock)
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
                elif Path(thing).parent == self._layers:
                    total += intakes.read_about(self.about(Path(thing))).size_bytes
        return total

    def layers(self) -> list[str]:
        """Return the complete layers on disk."""
        return [
            os.fspath(self._layers / name)
            for name in self._names()
            if not name.startswith(_TEMPORARY) and not name.endswith(_ABOUT)
        ]

    def archives(self) -> set[str]:
        """Return the digests of the archives that were seen to unpack to a layer here: they are whole, and written."""
        found: set[str] = set()
        for name in self._names():
            if name.endswith(_ABOUT):
                with suppress(FileNotFoundError):
                    found.update(intakes.read_about(self._layers / name).archives)
        return found

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

    def layer(self, digits: str) -> Path:
        """Return where the layer of this DiffID, without its algorithm, is or would be."""
        return self._layers / digits

    def about(self, layer: Path) -> Path:
        """Return the file beside a layer that tells what is not in its files."""
        return layer.with_name(layer.name + _ABOUT)

    def blob(self, digest: str) -> Path:
        """Return where a blob is or would be."""
        algorithm, _, digits = digest.partition(":")
        return self.blobs_dir / algorithm / digits

    def temporary(self) -> Path:
        """Return a new name that everybody takes for unfinished."""
        return self._layers / f"{_TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}"

    @contextmanager
    def changing(self, kind: int) -> Iterator[None]:
        """Hold the lock of records and things, shared or exclusive (LOCK_SH, LOCK_EX)."""
        try:
            os.makedirs(self.root, mode=0o711, exist_ok=True)
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._explain(error) from error
        try:
            fcntl.flock(lock, kind)
            yield
        finally:
            os.close(lock)

    def withdraw(self, things: Iterable[str]) -> dict[str, tuple[Path | None, int]]:
        """Take things away from their names, so that none half deleted is ever taken for a whole one.

        The caller holds ``changing``. Returns where they are now (None: nowhere any more), and their sizes in bytes.
        """
        doomed: dict[str, tuple[Path | None, int]] = {}
        for thing in things:
            with suppress(FileNotFoundError):
                if thing.partition(":")[0] in ALGORITHMS:
                    path = self.blob(thing)
                    size = path.stat().st_size
                    path.unlink()
                    doomed[thing] = (None, size)
                elif Path(thing).parent == self._layers and not Path(thing).name.startswith("."):
                    away = self.temporary()
                    os.rename(thing, away)
                    doomed[thing] = (away, self._forget_about(Path(thing)))
        return doomed

    def _forget_about(self, layer: Path) -> int:
        about = self.about(layer)
        try:
            size = intakes.read_about(about).size_bytes
            about.unlink()
        except FileNotFoundError:
            return 0
        return size

    @contextmanager
    def _working(self) -> Iterator[int]:
        try:
            for directory in (self._layers, self.blobs_dir, self.blobs_dir / ALGORITHMS[0]):
                os.makedirs(directory, mode=0o700, exist_ok=True)
            lock = os.open(self._layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._explain(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield lock
        except BrokenPipeError:  # nobody reads what is written out any more: nothing is wrong with the store
            raise
        except OSError as error:
            raise self._explain(error) from error
        finally:
            os.close(lock)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether nobody works now, and nobody can begin to."""
        try:
            lock = os.open(self._layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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
                remove_tree(self._layers / name)
            return found

    def _leftovers(self) -> list[str]:
        names = self._names()
        known = set(names)
        return [
            name
            for name in names
            if name.startswith(_TEMPORARY) or (name.endswith(_ABOUT) and name.removesuffix(_ABOUT) not in known)
        ]

    def _names(self) -> list[str]:
        try:
            return sorted(os.listdir(self._layers))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._explain(error) from error

    def _blobs(self) -> list[str]:
        found = []
        for algorithm in ALGORITHMS:
            with suppress(FileNotFoundError):
                found += [f"{algorithm}:{name}" for name in sorted(os.listdir(self.blobs_dir / algorithm))]
        return found

    def _explain(self, error: OSError) -> BentoError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageUnusable(f"the disk of {self.root} is full", hint="free some space and try again")
        if isinstance(error, PermissionError):
            return NotPermitted(f"{error.filename or self._layers} may not be used by this user", hint="run as root")
        if error.errno == errno.EROFS:
            return StorageUnusable(f"{self.root} is on a read-only filesystem", hint="choose another --root")
        return StorageUnusable(f"{error.filename or self._layers}: {error.strerror}", hint="choose another --root")

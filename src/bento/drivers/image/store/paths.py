"""Where blobs and layers are on disk, and the lock on what comes and goes.

What the store and an ingest have in common.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bento.errors import BentoError, NotPermitted, StorageUnusable
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.drivers.image.layers import metadata
else:
    metadata = LazyModule("bento.drivers.image.layers.metadata")

TEMPORARY: Final = "tmp-"
METADATA: Final = ".json"
ALGORITHMS: Final = ("sha256", "sha512")
SEALED: Final = 0o400
"""The mode of a blob that was verified and is on disk. It is the file's: another one in its place has it not."""


class StorePaths:
    """The places below one root. Keeps nothing in memory."""

    def __init__(self, root: Path, *, takes_absolute_names: bool = False) -> None:
        """``takes_absolute_names``: of a layer's files, as below the root; else such a layer is refused."""
        self.root = root
        self.takes_absolute_names = takes_absolute_names
        self.blobs_dir = root / "blobs"
        self.layers_dir = root / "layers"
        self._lock_path = root / "layers.lock"

    def layer(self, digits: str) -> Path:
        """Return where the layer of this DiffID, without its algorithm, is or would be."""
        return self.layers_dir / digits

    def metadata(self, layer: Path) -> Path:
        """Return the file beside a layer that has its metadata."""
        return layer.with_name(layer.name + METADATA)

    def blob(self, digest: str) -> Path:
        """Return where a blob is or would be."""
        algorithm, _, digits = digest.partition(":")
        return self.blobs_dir / algorithm / digits

    def temporary(self) -> Path:
        """Return a new name, which marks what lies there as unfinished."""
        return self.layers_dir / f"{TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}"

    @contextmanager
    def gc_lock(self, kind: int) -> Iterator[None]:
        """Hold the lock of records and things, shared or exclusive (LOCK_SH, LOCK_EX). Blocks for moments."""
        try:
            os.makedirs(self.root, mode=0o711, exist_ok=True)
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self.explain(error) from error
        try:
            fcntl.flock(lock, kind)
            yield
        finally:
            os.close(lock)

    def withdraw(self, things: Iterable[str]) -> dict[str, tuple[Path | None, int]]:
        """Take things away from their names, so that none half deleted is ever taken for a whole one.

        The caller holds ``gc_lock``, exclusively. Returns where they are now (None: nowhere any more), and their sizes
        in bytes.
        """
        doomed: dict[str, tuple[Path | None, int]] = {}
        for thing in things:
            with suppress(FileNotFoundError):
                if thing.partition(":")[0] in ALGORITHMS:
                    path = self.blob(thing)
                    size = path.stat().st_size
                    path.unlink()
                    doomed[thing] = (None, size)
                elif Path(thing).parent == self.layers_dir and not Path(thing).name.startswith("."):
                    away = self.temporary()
                    os.rename(thing, away)
                    doomed[thing] = (away, self._remove_metadata(Path(thing)))
        return doomed

    def _remove_metadata(self, layer: Path) -> int:
        path = self.metadata(layer)
        try:
            size = metadata.read_metadata(path).size_bytes
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def names(self) -> list[str]:
        """Return the names in the directory of the layers, those of unfinished things too. Raises BentoError."""
        try:
            return sorted(os.listdir(self.layers_dir))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self.explain(error) from error

    def blobs(self) -> list[str]:
        """Return the digests of all blobs."""
        found = []
        for algorithm in ALGORITHMS:
            with suppress(FileNotFoundError):
                found += [f"{algorithm}:{name}" for name in sorted(os.listdir(self.blobs_dir / algorithm))]
        return found

    def leftovers(self) -> list[str]:
        """Return those of ``names`` that are leftovers, or of an ingest that is under way."""
        names = self.names()
        known = set(names)
        return [
            name
            for name in names
            if name.startswith(TEMPORARY) or (name.endswith(METADATA) and name.removesuffix(METADATA) not in known)
        ]

    def explain(self, error: OSError) -> BentoError:
        """Return the BentoError for an error of the disk."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageUnusable(f"the disk of {self.root} is full", hint="free some space and try again")
        if isinstance(error, PermissionError):
            return NotPermitted(f"{error.filename or self.layers_dir} may not be used by this user", hint="run as root")
        if error.errno == errno.EROFS:
            return StorageUnusable(f"{self.root} is on a read-only filesystem", hint="choose another --root")
        return StorageUnusable(f"{error.filename or self.layers_dir}: {error.strerror}", hint="choose another --root")


def is_sealed(blob: os.stat_result) -> bool:
    """Whether a blob is marked as whole."""
    return stat.S_IMODE(blob.st_mode) == SEALED and blob.st_size > 0

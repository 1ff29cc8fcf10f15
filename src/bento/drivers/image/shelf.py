"""Where blobs and layers are on disk, what is kept beside a layer, and the lock on changes.

What the store and what comes into it have in common.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bento.errors import BentoError, NotPermitted, StorageUnusable

TEMPORARY: Final = "tmp-"
ABOUT: Final = ".json"
ALGORITHMS: Final = ("sha256", "sha512")
SEALED: Final = 0o400
"""The mode of a blob that was verified and is on disk. It is the file's: another one in its place has it not."""


class Unpacked(Struct, frozen=True, kw_only=True):
    """What a layer is. Kept beside it, because it cannot be told from its files."""

    size_bytes: int  # what its files hold
    implied: tuple[str, ...] = ()  # directories that it has without saying of what mode and owner; "" is the root
    once_implied: tuple[str, ...] = ()  # and such as it has described, or emptied, after something was put in them
    is_opaque: bool = False  # it hides all layers below it
    archives: tuple[str, ...] = ()  # digests of what was seen to unpack to it, packed or not


class Shelf:
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

    def about(self, layer: Path) -> Path:
        """Return the file beside a layer that tells what is not in its files."""
        return layer.with_name(layer.name + ABOUT)

    def blob(self, digest: str) -> Path:
        """Return where a blob is or would be."""
        algorithm, _, digits = digest.partition(":")
        return self.blobs_dir / algorithm / digits

    def temporary(self) -> Path:
        """Return a new name that everybody takes for unfinished."""
        return self.layers_dir / f"{TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}"

    @contextmanager
    def changing(self, kind: int) -> Iterator[None]:
        """Hold the lock of records and things, shared or exclusive (LOCK_SH, LOCK_EX)."""
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
                elif Path(thing).parent == self.layers_dir and not Path(thing).name.startswith("."):
                    away = self.temporary()
                    os.rename(thing, away)
                    doomed[thing] = (away, self._forget_about(Path(thing)))
        return doomed

    def _forget_about(self, layer: Path) -> int:
        about = self.about(layer)
        try:
            size = read_about(about).size_bytes
            about.unlink()
        except FileNotFoundError:
            return 0
        return size

    def names(self) -> list[str]:
        """Return what there is beside each other in the directory of the layers, unfinished things too."""
        try:
            return sorted(os.listdir(self.layers_dir))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self.explain(error) from error

    def explain(self, error: OSError) -> BentoError:
        """Return one of our errors for one of the disk's."""
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


def read_about(path: Path) -> Unpacked:
    """Return what is known of a layer. Raises FileNotFoundError. What cannot be read is nothing known."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Unpacked)
    return Unpacked(size_bytes=0)

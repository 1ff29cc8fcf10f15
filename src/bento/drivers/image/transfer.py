"""Images on their way in or out by others' hands: what fetched blobs are taken by, and what blobs are sent from.

A layer is unpacked as soon as it has come, while others still do. Blobs that were fetched whole are in the store at
once, before any image stands on them: an interrupted pull goes on with them, and a prune removes those nobody wants.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from bento import log
from bento.drivers.image import loading, saving
from bento.drivers.image.archive import read_archive
from bento.drivers.image.base import ArchivedImage, Record, nothing
from bento.drivers.image.blobs import hash_file, of_layer
from bento.drivers.image.intake import StoreIntake
from bento.drivers.image.shelf import Shelf, is_sealed
from bento.drivers.image.source import Source
from bento.errors import NotFound, StorageUnusable, UsageError
from bento.model.image import Image
from bento.model.transfer import TransferProgress
from bento.oci.image import MANIFEST_MAX_BYTES, Descriptor
from bento.oci.platform import Platform, host_platform

_WORKERS_MAX: Final = 8

OnProgress = Callable[[TransferProgress], None]


class StoreTransfer(StoreIntake):
    """A Transfer of the ImageStore. ``close`` it before its directory is removed."""

    def __init__(self, store: Shelf, directory: Path, lock: int, on_progress: OnProgress | None) -> None:
        super().__init__(store, directory)
        self.directory = directory / "transfer"
        self.lock_fd = lock
        self._tell = on_progress
        self._held = directory / "held"
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: dict[str, Future[None]] = {}  # by the digest of the blob
        self._is_written = True
        self._sound: set[str] = set()  # blobs that were looked at
        self._taken: set[str] = set()  # blobs that are in the store since they have come here
        self.directory.mkdir()

    def find(self, digest: str) -> Path | None:
        """Return the file of a blob that is here, and is what its name says."""
        while True:
            try:
                path = self._pin(digest)
            except NotFound:
                return None
            if digest in self._sound or is_sealed(path.stat()) or _is_sound(path, digest):
                self._sound.add(digest)
                return path
            self._discard(digest, path)

    def take(self, digest: str, path: Path) -> None:
        """Take a verified file as a blob, at once for everybody. Idempotent."""
        place = self._store.blob(digest)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.add_file(digest, path)
        with suppress(FileExistsError):
            os.link(path, place)
            self._taken.add(digest)

    def adopt(self, digest: str, record: Record = nothing, platform: Platform | None = None) -> Image:
        """See Intake. What has come for an image that is refused, or has no room, goes again, unless others have it."""
        try:
            return super().adopt(digest, record, platform)
        except (UsageError, StorageUnusable):
            self._give_back()
            raise

    def add_file(self, digest: str, path: Path) -> None:
        """Take a verified file as a blob of this transfer alone. Idempotent."""
        with suppress(FileExistsError):
            os.link(path, self._blobs / digest)

    def begin_layer(self, digest: str) -> None:
        """Unpack a blob that was taken, beside everything else. Idempotent. What fails is told by ``adopt``."""
        if digest not in self._ahead:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(min(_WORKERS_MAX, os.cpu_count() or 1), "bento-unpack")
            self._ahead[digest] = self._pool.submit(self._unpack_ahead, digest)

    def load(self, path: Path, platform: Platform | None) -> list[ArchivedImage]:
        """Take the blobs of all images of an archive; ``-`` is standard input. Blocks.

        Raises UsageError for what is no such archive, OSError when the disk fails.
        """
        source = Source(path, wanted="an archive of images")
        try:
            if source.is_directory:
                raise UsageError(f"{source.words} is a directory", hint=f"bento pull oci:{path}, or dir:{path}")
            try:
                with loading.unpacked(source) as (fd, head):
                    return read_archive(fd, head, self, platform or host_platform())
            except UsageError as error:
                raise UsageError(f"{source.words}: {error.message}", hint=error.hint) from error
        finally:
            source.close()

    def save(self, images: Sequence[tuple[Image, Sequence[str]]], target: Path | int, kind: str) -> None:
        """Write images, each with these full names, to a file, a directory, or an open descriptor. Blocks.

        Raises UsageError, NotFound for an image without blobs, OSError.
        """
        saved = []
        for image, names in images:
            self.hold(image)
            manifest = self._read(Descriptor("", image.digest, -1), MANIFEST_MAX_BYTES)
            saved.append(saving.Saved(manifest, tuple(names)))
        saving.write(saved, self._held, kind, target)

    def hold(self, image: Image) -> Path:
        """Return a directory in which the blobs of an image are ``ALGORITHM/HEX``, whatever others remove meanwhile.

        Raises NotFound when the image has none, or a part of it is gone.
        """
        if not image.blobs:
            raise NotFound(f"image {image.name} has no blobs: an older Bento made it", hint="import or pull it again")
        for digest in image.blobs:
            path = self._held / digest.replace(":", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.link(self._pin(digest), path)
        return self._held

    def close(self) -> None:
        """End what is being unpacked. Idempotent."""
        self._is_cancelled = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _give_back(self) -> None:
        with self._store.changing(fcntl.LOCK_EX):
            for digest in self._taken:
                with suppress(FileNotFoundError):
                    place = self._store.blob(digest)
                    there = place.stat()
                    # A sealed one is, or is about to be, another image's; what others have begun to use is their own.
                    if os.path.samestat(there, self._pin(digest).stat()) and not is_sealed(there):
                        place.unlink()

    def _discard(self, digest: str, path: Path) -> None:
        """Away with a blob that was not all written when the power went, or that the disk has lost: it comes anew."""
        log.warning(f"the blob {digest} was damaged, and is left out")
        place = self._store.blob(digest)
        with self._store.changing(fcntl.LOCK_EX):
            with suppress(FileNotFoundError):
                if os.path.samestat(place.stat(), path.stat()):  # else somebody has brought a good one meanwhile
                    place.unlink()
            path.unlink()

    def _unpack_missing(self, wanted: dict[str, Descriptor]) -> None:
        for digest, job in self._ahead.items():
            with of_layer(digest):
                job.result()
        if not self._is_written and not self._missing(wanted):
            self._write_out()
        self._report("unpacking", [wanted[diff_id].digest for diff_id in self._missing(wanted)])
        super()._unpack_missing(wanted)
        self._report("done", [layer.digest for layer in wanted.values()])

    def _unpack_ahead(self, digest: str) -> None:
        self._report("unpacking", [digest])
        self._is_written = False
        self.add_layer(digest)
        self._report("done", [digest])

    def _report(self, phase: str, digests: Iterable[str]) -> None:
        for digest in digests if self._tell is not None else ():
            assert self._tell is not None
            size = self.blob_size(digest)
            self._tell(TransferProgress(digest=digest, phase=phase, done_bytes=size, total_bytes=size))


def _is_sound(path: Path, digest: str) -> bool:
    algorithm, _, digits = digest.partition(":")
    with open(path, "rb", buffering=0) as blob:
        return hash_file(blob.fileno(), algorithm) == digits

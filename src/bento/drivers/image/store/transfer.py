"""Images that are fetched, loaded, saved or sent: what brings blobs takes them here, what sends blobs finds them here.

A layer is unpacked as soon as it has come, while others still do. Blobs that were fetched whole are in the store at
once, before any image stands on them: an interrupted pull goes on with them, and a prune removes what is not used.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bento import log
from bento.drivers.image.base import ArchivedImage, Record, nothing
from bento.drivers.image.formats import reader, writer
from bento.drivers.image.formats.source import Source
from bento.drivers.image.store.blob_pool import hash_file
from bento.drivers.image.store.ingest import StoreIngest
from bento.drivers.image.store.paths import StorePaths, is_sealed
from bento.errors import NotFound, StorageUnusable, UsageError
from bento.model.image import Image
from bento.model.transfer import OnProgress
from bento.oci.image import MANIFEST_MAX_BYTES, Descriptor
from bento.oci.platform import Platform, host_platform


class StoreTransfer:
    """A Transfer of the ImageStore, around one ingest. ``close`` it before its directory is removed."""

    def __init__(self, paths: StorePaths, directory: Path, lock_fd: int, on_progress: OnProgress | None) -> None:
        self._paths = paths
        self._ingest = StoreIngest(paths, directory, on_progress)
        self._blobs = self._ingest.blobs
        self.directory = directory / "transfer"
        self.lock_fd = lock_fd
        self._held = directory / "held"
        self._sound: set[str] = set()  # blobs that were looked at
        self._taken: set[str] = set()  # blobs that are in the store since they have come here
        self.directory.mkdir()

    def add_blob(self, source_fd: int) -> str:
        """See Ingest."""
        return self._ingest.add_blob(source_fd)

    def add_bytes(self, content: bytes) -> str:
        """See Ingest."""
        return self._ingest.add_bytes(content)

    def blob_size(self, digest: str) -> int:
        """See Ingest."""
        return self._ingest.blob_size(digest)

    def add_layer(self, digest: str) -> str:
        """See Ingest."""
        return self._ingest.add_layer(digest)

    def commit(self, digest: str, record: Record = nothing, platform: Platform | None = None) -> Image:
        """See Ingest. What has come for an image that is refused, or has no room, goes again, unless others have it."""
        try:
            return self._ingest.commit(digest, record, platform)
        except (UsageError, StorageUnusable):
            self._give_back()
            raise

    def find(self, digest: str) -> Path | None:
        """Return the file of a blob that is here, and is what its name says."""
        while True:
            try:
                path = self._blobs.pin(digest)
            except NotFound:
                return None
            if digest in self._sound or is_sealed(path.stat()) or _is_sound(path, digest):
                self._sound.add(digest)
                return path
            self._discard(digest, path)

    def take(self, digest: str, path: Path) -> None:
        """Take a verified file as a blob, in the store at once. Idempotent."""
        place = self._paths.blob(digest)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.add_file(digest, path)
        with suppress(FileExistsError):
            os.link(path, place)
            self._taken.add(digest)

    def add_file(self, digest: str, path: Path) -> None:
        """Take a verified file as a blob of this transfer alone. Idempotent."""
        self._blobs.add_file(digest, path)

    def begin_layer(self, digest: str) -> None:
        """Unpack a blob that was taken, beside everything else. Idempotent. What fails is raised by ``commit``."""
        self._ingest.queue.begin(digest)

    def load(self, path: Path, platform: Platform | None) -> list[ArchivedImage]:
        """Take the blobs of all images of an archive; ``-`` is standard input. Blocks.

        Raises UsageError for what is no such archive, OSError when the disk fails.
        """
        source = Source(path, wanted="an archive of images")
        try:
            if source.is_directory:
                raise UsageError(f"{source.words} is a directory", hint=f"bento pull oci:{path}, or dir:{path}")
            try:
                with source.unpacked() as (fd, head):
                    return reader.read_archive(fd, head, self, platform or host_platform())
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
            manifest = self._blobs.read(Descriptor("", image.digest, -1), MANIFEST_MAX_BYTES)
            saved.append(writer.Saved(manifest, tuple(names)))
        writer.write(saved, self._held, kind, target)

    def hold(self, image: Image) -> Path:
        """Return a directory in which the blobs of an image are ``ALGORITHM/HEX``, whatever is removed meanwhile.

        Raises NotFound when the image has none, or a part of it is gone.
        """
        if not image.blobs:
            raise NotFound(f"image {image.name} has no blobs: an older Bento made it", hint="import or pull it again")
        for digest in image.blobs:
            path = self._held / digest.replace(":", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.link(self._blobs.pin(digest), path)
        return self._held

    def close(self) -> None:
        """End what is being unpacked. Idempotent."""
        self._ingest.close()

    def _give_back(self) -> None:
        with self._paths.gc_lock(fcntl.LOCK_EX):
            for digest in self._taken:
                with suppress(FileNotFoundError):
                    place = self._paths.blob(digest)
                    there = place.stat()
                    # A sealed one is, or is about to be, another image's; what others have begun to use is their own.
                    if os.path.samestat(there, self._blobs.pin(digest).stat()) and not is_sealed(there):
                        place.unlink()

    def _discard(self, digest: str, path: Path) -> None:
        """Away with a blob that was not all written when the power went, or that the disk has lost: it comes anew."""
        log.warning(f"the blob {digest} was damaged, and is left out")
        place = self._paths.blob(digest)
        with self._paths.gc_lock(fcntl.LOCK_EX):
            with suppress(FileNotFoundError):
                if os.path.samestat(place.stat(), path.stat()):  # else a good one has come meanwhile
                    place.unlink()
            path.unlink()


def _is_sound(path: Path, digest: str) -> bool:
    algorithm, _, digits = digest.partition(":")
    with open(path, "rb", buffering=0) as blob:
        return hash_file(blob.fileno(), algorithm) == digits

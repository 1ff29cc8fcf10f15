"""The unpacked layers of one ingest, in a directory of its own until an image stands on them."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Collection, Generator, Iterable
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from bento.command import run
from bento.drivers.image.layers.metadata import LayerMetadata, read_metadata
from bento.drivers.image.layers.unpack import hash_unpacked, read_entries, unpack
from bento.drivers.image.store.blob_pool import BlobPool, blame_layer
from bento.drivers.image.store.paths import StorePaths
from bento.errors import StorageUnusable, UsageError

_SYNC_LIMIT_S: Final = 600.0


class LayerPool:
    """Layers, and seams, by their DiffIDs: new ones in ``directory``, and those of the store.

    After ``cancel``, what is being unpacked, in any thread, ends with CancelledError.
    """

    def __init__(self, paths: StorePaths, directory: Path, blobs: BlobPool) -> None:
        self._paths = paths
        self._directory = directory
        self._blobs = blobs
        self._new: dict[str, Path] = {}  # by DiffID
        self._diff_ids: dict[str, str] = {}  # what was computed here, by the digest of the archive
        self._is_cancelled = False
        self._directory.mkdir()

    def unpack(self, archive: str, algorithm: str) -> str:
        """Unpack the blob of this digest; return its DiffID, by this algorithm. Blocks. Raises as ``unpack.unpack``."""
        target = self.new_directory()
        target.chmod(0o755)  # an archive without an entry for its root: what a root directory should be
        with self._blobs.open(archive) as fd:
            diff_id, metadata = unpack(
                fd, target, algorithm, self.check_cancelled, takes_absolute_names=self._paths.takes_absolute_names
            )
        self._diff_ids[archive] = diff_id
        self.add(diff_id, target, replace(metadata, archives=(archive,)))
        return diff_id

    def verify(self, diff_id: str, archive: str) -> None:
        """See that a layer's archive is what the configuration says, also where the layer was unpacked before.

        Else what is run would depend on what was here, and an image could have the files of another by their DiffID.
        Raises UsageError. Blocks.
        """
        if archive in self.metadata(diff_id).archives:
            return
        algorithm = diff_id.partition(":")[0]
        with self._blobs.open(archive) as fd, blame_layer(archive):
            got = self._diff_ids.get(archive, "")
            if not got.startswith(f"{algorithm}:"):
                got = hash_unpacked(fd, algorithm, self.check_cancelled)
            check_diff_id(got, diff_id)
        self._diff_ids[archive] = got

    def entries(self, archive: str) -> Generator[tarfile.TarInfo, None, None]:
        """Yield the headers of an archive that was unpacked before. Close it."""
        with self._blobs.open(archive) as fd:
            yield from read_entries(fd, self.check_cancelled)

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Return which of these layers are neither new nor in the store."""
        return [diff_id for diff_id in wanted if diff_id not in self._new and not self.place(diff_id).is_dir()]

    def is_unpacked(self, archive: str) -> bool:
        """Whether a blob of this digest, which is here, is a layer that is unpacked already: an uncompressed one.

        Its digest is its DiffID then, as that is the digest of the archive (image-spec, config.md).
        """
        if self.missing([archive]):
            return False
        self._diff_ids.setdefault(archive, archive)
        return True

    def is_new(self, diff_id: str) -> bool:
        """Whether a layer was unpacked, or made, here."""
        return diff_id in self._new

    def place(self, diff_id: str) -> Path:
        """Return where a layer is, or would be, in the store."""
        return self._paths.layer(diff_id.partition(":")[2])

    def path(self, diff_id: str) -> Path:
        """Return where a layer is now."""
        return self._new.get(diff_id) or self.place(diff_id)

    def metadata(self, diff_id: str) -> LayerMetadata:
        """Return what is known of a layer."""
        try:
            return read_metadata(self._paths.metadata(self.path(diff_id)))
        except FileNotFoundError:  # of a Bento that did not keep it
            return LayerMetadata(size_bytes=0)

    def new_directory(self) -> Path:
        """Make an empty directory for a layer; ``add`` makes it one."""
        directory = self._directory / os.urandom(8).hex()
        directory.mkdir()
        return directory

    def add(self, diff_id: str, directory: Path, metadata: LayerMetadata) -> None:
        """Take a ``new_directory``, which has been filled, as a layer or seam."""
        self._paths.metadata(directory).write_bytes(msgspec.json.encode(metadata))
        self._new[diff_id] = directory

    def forget(self, diff_ids: Iterable[str]) -> None:
        """Drop new layers, which must be made again."""
        for diff_id in diff_ids:
            del self._new[diff_id]

    def write_out(self) -> None:
        """Have all that is new on disk. Blocks. Raises StorageUnusable.

        A layer's name promises the content for ever, also after a power cut: rename(2) says nothing about the files.
        """
        written = run(["sync", "--file-system", os.fspath(self._directory)], timeout_s=_SYNC_LIMIT_S)
        if written.returncode != 0:
            raise StorageUnusable(
                f"the image could not be written to disk: {written.stderr.strip()}", hint="see the kernel's log"
            )

    def publish(self, layers: Collection[str], undo: ExitStack) -> None:
        """Move what is new of these layers, by their paths in the store, there; ``undo`` gets the way back."""
        for diff_id, path in self._new.items():
            place = self.place(diff_id)
            if os.fspath(place) in layers and not place.is_dir():
                for source, target in ((self._paths.metadata(path), self._paths.metadata(place)), (path, place)):
                    os.rename(source, target)
                    undo.callback(os.rename, target, source)

    def note_archive(self, diff_id: str, archive: str) -> None:
        """Keep beside a layer in its place that this archive unpacks to it: it need not be seen again."""
        place = self._paths.metadata(self.place(diff_id))
        with suppress(FileNotFoundError):
            metadata = read_metadata(place)
            if archive not in metadata.archives:
                draft = self._directory / f"{os.urandom(8).hex()}.json"
                with open(draft, "xb") as file:
                    file.write(msgspec.json.encode(replace(metadata, archives=(*metadata.archives, archive))))
                    file.flush()
                    os.fsync(file.fileno())  # else a power cut could leave nothing of what is known of the layer
                os.rename(draft, place)

    def drop_published(self) -> None:
        """Have the next image of this ingest find in the store what has gone there."""
        self._new = {diff_id: path for diff_id, path in self._new.items() if path.is_dir()}

    def cancel(self) -> None:
        """End what is being unpacked. Idempotent."""
        self._is_cancelled = True

    def check_cancelled(self) -> None:
        """Raise CancelledError once ``cancel`` was called."""
        if self._is_cancelled:
            raise CancelledError


def check_diff_id(got: str, diff_id: str) -> None:
    """Raise UsageError when an archive has unpacked to something else than the configuration says."""
    if got != diff_id:
        raise UsageError(f"what it unpacks to is {got}, not {diff_id} as the configuration says")

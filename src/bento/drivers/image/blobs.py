"""Blobs on their way in: kept under names of our own until an image stands on them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bento.drivers.image.shelf import SEALED, Shelf, is_sealed
from bento.errors import NotFound, StorageUnusable, UsageError
from bento.model.reference import is_digest
from bento.oci.image import Descriptor

_CHUNK_BYTES: Final = 1 << 20


class HeldBlobs:
    """Blobs that are in ``directory``, by their digests: new ones, and those of the store, which others may remove."""

    def __init__(self, store: Shelf, directory: Path) -> None:
        self._store = store
        self._blobs = directory
        self._blobs.mkdir()

    def add_blob(self, source_fd: int) -> str:
        """Copy what is to be read into a blob; return its digest. Blocks until the end of file."""
        digest = hashlib.sha256()
        path = self._blobs / f"new-{os.urandom(4).hex()}"
        with open(path, "xb", buffering=0) as blob:
            while chunk := os.read(source_fd, _CHUNK_BYTES):
                digest.update(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[blob.write(view) :]
        return self._named(path, f"sha256:{digest.hexdigest()}")

    def add_bytes(self, content: bytes) -> str:
        """Make a blob of these bytes; return its digest. Idempotent."""
        path = self._blobs / f"new-{os.urandom(4).hex()}"
        path.write_bytes(content)
        return self._named(path, f"sha256:{hashlib.sha256(content).hexdigest()}")

    def blob_size(self, digest: str) -> int:
        """Return how many bytes a blob has. Raises NotFound."""
        return self._pin(digest).stat().st_size

    def blob_head(self, digest: str) -> bytes:
        """Return the first bytes of a blob."""
        with open(self._pin(digest), "rb") as blob:
            return blob.read(16)

    def _named(self, path: Path, digest: str) -> str:
        os.rename(path, self._blobs / digest)
        return digest

    def _pin(self, digest: str) -> Path:
        """Return a name of our own for a blob: it stays when somebody removes it."""
        if not is_digest(digest):
            raise UsageError(f"bad digest {digest!r}", hint="it is sha256: and 64 digits, or sha512: and 128")
        own = self._blobs / digest
        if not own.exists():
            try:
                os.link(self._store.blob(digest), own, follow_symlinks=False)
            except FileNotFoundError:
                raise NotFound(f"the blob {digest} is missing", hint="fetch the image again") from None
        return own

    def _open(self, digest: str) -> int:
        return os.open(self._pin(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _read(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """Return a small blob that is what its descriptor says; -1 is any size."""
        path = self._pin(descriptor.digest)
        size = path.stat().st_size
        if size > limit_bytes:
            raise UsageError(f"{descriptor.digest} has {size} bytes; at most {limit_bytes} are read of such a document")
        if descriptor.size not in (-1, size):
            raise UsageError(f"{descriptor.digest} has {size} bytes, not {descriptor.size} as the manifest says")
        content = path.read_bytes()
        algorithm, _, digits = descriptor.digest.partition(":")
        if hashlib.new(algorithm, content).hexdigest() != digits:
            raise UsageError(f"{descriptor.digest} is damaged: its content has another digest", hint="fetch it again")
        return content

    def _seal(self, digests: Iterable[str]) -> None:
        """Have verified blobs on disk, and marked so, before anybody is told of them."""
        for digest in digests:
            fd = self._open(digest)
            try:
                if not is_sealed(os.fstat(fd)):
                    os.fsync(fd)
                    os.fchmod(fd, SEALED)
            finally:
                os.close(fd)

    def _link_blob(self, digest: str) -> Path | None:
        """Give a blob its place in the store; return that when there was none there before.

        What lies there and is not marked as whole may be what a power cut has left: ours is put in its place.
        """
        own, place = self._blobs / digest, self._store.blob(digest)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            os.link(own, place)
            return place
        except FileExistsError:
            there, ours = place.stat(), own.stat()
        if not (is_sealed(there) and there.st_size == ours.st_size):
            draft = self._blobs / f"new-{os.urandom(4).hex()}"
            os.link(own, draft)
            os.rename(draft, place)
            draft.unlink(missing_ok=True)  # rename(2) does nothing with two names of one file
        return None


@contextmanager
def of_layer(digest: str) -> Iterator[None]:
    """Say of what is wrong, or has no room, which layer that is."""
    try:
        yield
    except (UsageError, StorageUnusable) as error:
        raise type(error)(f"layer {digest}: {error.message}", hint=error.hint) from error


def hash_file(fd: int, algorithm: str) -> str:
    """Return the hexadecimal digest of a whole file. Blocks."""
    digest = hashlib.new(algorithm)
    offset = 0
    while chunk := os.pread(fd, _CHUNK_BYTES, offset):
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()

"""The blobs of one ingest, under names of its own until an image stands on them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bento.drivers.image.store.paths import SEALED, StorePaths, is_sealed
from bento.errors import NotFound, StorageUnusable, UsageError
from bento.model.reference import is_digest
from bento.oci.image import Descriptor

_CHUNK_BYTES: Final = 1 << 20


class BlobPool:
    """Blobs in ``directory``, by their digests: new ones, and links to those of the store, which may be removed there.

    Methods that take a digest raise NotFound when neither has it, UsageError for what is no digest.
    """

    def __init__(self, paths: StorePaths, directory: Path) -> None:
        self._paths = paths
        self._directory = directory
        self._directory.mkdir()

    def add_stream(self, source_fd: int) -> str:
        """Copy what is to be read into a blob; return its digest. Blocks until the end of file."""
        digest = hashlib.sha256()
        path = self._draft()
        with open(path, "xb", buffering=0) as blob:
            while chunk := os.read(source_fd, _CHUNK_BYTES):
                digest.update(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[blob.write(view) :]
        return self._named(path, f"sha256:{digest.hexdigest()}")

    def add_bytes(self, content: bytes) -> str:
        """Make a blob of these bytes; return its digest. Idempotent."""
        path = self._draft()
        path.write_bytes(content)
        return self._named(path, f"sha256:{hashlib.sha256(content).hexdigest()}")

    def add_file(self, digest: str, path: Path) -> None:
        """Take a file, whose digest the caller has verified, as a blob. Idempotent."""
        with suppress(FileExistsError):
            os.link(path, self._directory / digest)

    def pin(self, digest: str) -> Path:
        """Return the pool's own name of a blob: it stays when the store's is removed."""
        if not is_digest(digest):
            raise UsageError(f"bad digest {digest!r}", hint="it is sha256: and 64 digits, or sha512: and 128")
        own = self._directory / digest
        if not own.exists():
            try:
                os.link(self._paths.blob(digest), own, follow_symlinks=False)
            except FileNotFoundError:
                raise NotFound(f"the blob {digest} is missing", hint="fetch the image again") from None
        return own

    def size(self, digest: str) -> int:
        """Return how many bytes a blob has."""
        return self.pin(digest).stat().st_size

    def head(self, digest: str) -> bytes:
        """Return the first bytes of a blob."""
        with open(self.pin(digest), "rb") as blob:
            return blob.read(16)

    @contextmanager
    def open(self, digest: str) -> Iterator[int]:
        """Yield a descriptor of a blob, at its beginning."""
        fd = os.open(self.pin(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            yield fd
        finally:
            os.close(fd)

    def read(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """Return a small blob that is what its descriptor says; its size -1 is any. Raises UsageError."""
        path = self.pin(descriptor.digest)
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

    def seal(self, digests: Iterable[str]) -> None:
        """Have verified blobs on disk, and marked so, before they are in the store."""
        for digest in digests:
            with self.open(digest) as fd:
                if not is_sealed(os.fstat(fd)):
                    os.fsync(fd)
                    os.fchmod(fd, SEALED)

    def publish(self, digest: str) -> Path | None:
        """Give a blob its place in the store; return that when there was none there before.

        What lies there and is not marked as whole may be what a power cut has left: this one is put in its place.
        """
        own, place = self._directory / digest, self._paths.blob(digest)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            os.link(own, place)
            return place
        except FileExistsError:
            there, ours = place.stat(), own.stat()
        if not (is_sealed(there) and there.st_size == ours.st_size):
            draft = self._draft()
            os.link(own, draft)
            os.rename(draft, place)
            draft.unlink(missing_ok=True)  # rename(2) does nothing with two names of one file
        return None

    def _draft(self) -> Path:
        return self._directory / f"new-{os.urandom(4).hex()}"

    def _named(self, path: Path, digest: str) -> str:
        os.rename(path, self._directory / digest)
        return digest


@contextmanager
def blame_layer(digest: str) -> Iterator[None]:
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

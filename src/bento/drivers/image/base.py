"""What the engine needs of an image store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from bento.model.image import Image, ImageConfig
from bento.model.transfer import OnProgress
from bento.oci.platform import Platform

Record = Callable[[Image], Iterable[str]]
"""Stores an image, and returns what no record stands on any more, as ``remove`` takes it."""


def nothing(image: Image) -> tuple[str, ...]:
    """Record nothing: the ``record`` of an image that the caller keeps to itself."""
    return ()


class Removed(Struct, frozen=True):
    """What was removed, and how many bytes of the disk it had."""

    things: tuple[str, ...] = ()
    freed_bytes: int = 0


class ArchivedImage(Struct, frozen=True):
    """One image of an archive, whose blobs are here now. ``names`` are full; none: the archive has none for it."""

    manifest_digest: str
    names: tuple[str, ...]


class Documents(Protocol):
    """Where manifests and configurations go."""

    def add_bytes(self, content: bytes) -> str:
        """Make a blob of these bytes; return its digest. Idempotent."""


class Ingest(Documents, Protocol):
    """One image on its way in. Blobs that it has got or found are its own until it ends, whatever is removed."""

    def add_blob(self, source_fd: int) -> str:
        """Copy what is to be read from a descriptor into a blob; return its digest. Blocks until the end of file."""

    def add_layer(self, digest: str) -> str:
        """Unpack a blob that is a layer; return its DiffID, which a configuration for it needs.

        Blocks. Raises UsageError when it is no layer, or one that would leave its directory.
        """

    def blob_size(self, digest: str) -> int:
        """Return how many bytes a blob has. Raises NotFound."""

    def commit(self, digest: str, record: Record = nothing, platform: Platform | None = None) -> Image:
        """Make an image of a manifest whose blobs are all there; unpack what is new of its layers; have it recorded.

        ``digest``: of a manifest, or of an index, from which ``platform`` chooses; this machine's when it is None.
        Everything is verified while it is read. Blocks. Idempotent.

        Raises UsageError for what is damaged, unknown or lies about itself, NotFound when a blob is missing (it was
        removed after it was found: fetch again), StorageUnusable, MissingTool; then nothing new is there.
        """


class Inbox(Documents, Protocol):
    """Where a transport, or an archive, brings the blobs of images.

    ``directory`` is empty at first and on the disk of the blobs; what is left in it goes with the transfer. ``lock_fd``
    keeps it from being taken for left over; programs that work there inherit it.
    """

    directory: Path
    lock_fd: int

    def find(self, digest: str) -> Path | None:
        """Return the file of a blob that is here."""

    def take(self, digest: str, path: Path) -> None:
        """Take a file, whose digest the program that wrote it has verified, as a blob. Idempotent.

        It is in the store at once, so that an interrupted transfer can go on with it.
        """

    def add_file(self, digest: str, path: Path) -> None:
        """Take a file, whose digest the caller has verified, as a blob of this transfer alone. Idempotent.

        It is in the store when an image that has it is committed.
        """

    def begin_layer(self, digest: str) -> None:
        """Unpack a blob that was taken, beside everything else. Idempotent. What fails is raised by ``commit``."""


class Transfer(Inbox, Ingest, Protocol):
    """An ingest, and its inbox, for images that are fetched, loaded, saved or sent."""

    def load(self, path: Path, platform: Platform | None) -> list[ArchivedImage]:
        """Take the blobs of all images of an archive of docker save or OCI; ``-`` is standard input. Blocks.

        Of an image for several platforms, those of one. Raises UsageError for what is no such archive.
        """

    def save(self, images: Sequence[tuple[Image, Sequence[str]]], target: Path | int, kind: str) -> None:
        """Write images, each with these full names, to a file, a directory, or an open descriptor. Blocks.

        ``kind``: docker-archive, oci-archive, oci-dir or docker-dir. A file is replaced only by a complete one.
        Raises UsageError, NotFound for an image that has no blobs.
        """

    def hold(self, image: Image) -> Path:
        """Return a directory in which the blobs of an image are ``ALGORITHM/HEX``, whatever is removed meanwhile.

        Raises NotFound when the image has none, or a part of it is gone.
        """


class ImageDriver(Protocol):
    """Blobs as they came, and layers unpacked, below the engine's root.

    Records of images and containers are the engine's; what they stand on is not known here. *Things* are strings: a
    layer by the path of its directory, a blob by its digest. So that nothing goes whose record is just being written,
    things come and go only while the engine looks: ``record`` and ``choose`` are called alone, with no caller inside
    ``gc_lock`` and no other such call under way. They may block others, so they are short; they must not call the
    driver's blocking methods.
    """

    blobs_dir: Path
    """``ALGORITHM/HEX`` below it are the blobs; a "shared blob directory" for skopeo. Write to it inside ``ingest``."""

    def ingest(self) -> AbstractContextManager[Ingest]:
        """Return a context in which an image comes in: what is there is not taken for left over.

        Leaves nothing but what ``commit`` has put in place, and blobs that others put into ``blobs_dir``.
        """

    def transfer(self, on_progress: OnProgress | None = None) -> AbstractContextManager[Transfer]:
        """Return a context in which images are fetched or sent. ``on_progress`` gets what is unpacked.

        It is called by several threads. At the end of the context, nothing goes on.
        """

    def import_rootfs(
        self,
        source: Path,
        config: ImageConfig,
        record: Record = nothing,
        *,
        platform: Platform | None = None,
        message: str = "",
    ) -> Image:
        """Make an image of a directory or a tar archive, of one layer.

        ``platform`` None: this machine's. ``message``: a comment for the history. Blocks. Raises UsageError when
        there is nothing usable at ``source``, StorageUnusable when the disk is full; then nothing is left.
        """

    def gc_lock(self) -> AbstractContextManager[None]:
        """Return a context in which nothing goes: from finding an image to the record that stands on it."""

    def remove(self, choose: Callable[[], Iterable[str]]) -> Removed:
        """Delete the things that ``choose`` returns. Idempotent. Blocks while they are deleted."""

    def size_bytes(self, things: Iterable[str]) -> int:
        """Return what ``remove`` would free of these things; what is not there is nothing."""

    def layers(self) -> list[str]:
        """Return the complete layers on disk, as images name them."""

    def idle_blobs(self) -> list[str]:
        """Return the digests of all blobs; empty while an image is on its way in: whose they are is not known then."""

    def leftovers(self) -> list[str]:
        """Return what interrupted work has left, for ``doctor``; empty while some is under way."""

    def remove_leftovers(self) -> list[str]:
        """Delete what ``leftovers`` names; return it. Idempotent."""

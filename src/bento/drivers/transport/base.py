"""What the engine needs of whatever moves images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from bento.model.transfer import Access, TransferProgress
from bento.oci.platform import Platform

OnProgress = Callable[[TransferProgress], None]


class Inbox(Protocol):
    """Where fetched blobs go: one transfer's own directory, and the way from there into the store.

    ``directory`` is empty at first and on the store's filesystem; what is left in it goes with the transfer.
    ``lock_fd`` keeps it from being taken for a leftover; programs that write there inherit it.
    """

    directory: Path
    lock_fd: int

    def find(self, digest: str) -> Path | None:
        """Return the file of a blob that is in the store."""

    def take(self, digest: str, path: Path) -> None:
        """Move a file, whose digest its writer has verified, into the store. Idempotent."""

    def begin_layer(self, digest: str) -> None:
        """Begin to unpack a blob that was taken. Idempotent."""

    def add_bytes(self, content: bytes) -> str:
        """Store a manifest or a configuration; return its digest. Idempotent."""


class TransportDriver(Protocol):
    """Moves images between the blobs of a store and the world; knows nothing of records."""

    def fetch(
        self, source: str, inbox: Inbox, *, access: Access, platform: Platform, on_progress: OnProgress | None = None
    ) -> str:
        """Bring all blobs of the image that is ``TRANSPORT:DETAILS`` into the store; return its manifest's digest.

        Of an image for several platforms, the one for ``platform``. Blobs that are there are not fetched again; each
        new one is taken by the inbox as soon as it is whole. Blocks. Raises NotFound, NotPermitted, TransportFailed,
        StorageUnusable, UsageError for content that makes no sense, MissingTool.
        """

    def send(
        self, manifest: bytes, blobs: Path, inbox: Inbox, destination: str, *, access: Access,
        on_progress: OnProgress | None = None,
    ) -> str:  # fmt: skip
        """Bring the image of this manifest, whose blobs are ``blobs/sha256/HEX``, to ``TRANSPORT:DETAILS``.

        Returns the manifest's digest there; in a registry it is the same. Blocks. Raises as ``fetch``.
        """

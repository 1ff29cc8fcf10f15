"""What the engine needs of whatever moves images."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bento.drivers.image.base import Inbox
from bento.model.transfer import Access, Credentials, OnProgress
from bento.oci.platform import Platform


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

    def look(self, source: str, inbox: Inbox, *, access: Access) -> tuple[bytes, bytes]:
        """Return the manifest that is at ``TRANSPORT:DETAILS``, and its configuration, which a list of several has not.

        Nothing is stored. Blocks. Raises as ``fetch``.
        """

    def send(
        self, manifest: bytes, blobs: Path, inbox: Inbox, destination: str, *, access: Access,
        on_progress: OnProgress | None = None,
    ) -> str:  # fmt: skip
        """Bring the image of this manifest, whose blobs are ``blobs/sha256/HEX``, to ``TRANSPORT:DETAILS``.

        Returns the manifest's digest there; in a registry it is the same. Blocks. Raises as ``fetch``.
        """

    def login(self, registry: str, credentials: Credentials | None, access: Access) -> str:
        """Have a registry check credentials, and keep them for later transfers; return the user.

        ``registry`` is HOST[:PORT], maybe with a path. None checks those that are kept. ``access.authfile`` is where
        they are kept, else where skopeo and Podman do. Blocks. Raises NotFound when none are kept, NotPermitted when
        they are wrong, TransportFailed, UsageError, MissingTool.
        """

    def logout(self, registry: str, access: Access) -> bool:
        """Forget the credentials of a registry, "" of all; False when there were none. Raises UsageError."""

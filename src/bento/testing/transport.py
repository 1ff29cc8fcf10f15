"""A transport without a network, for unit tests of the engine."""

from __future__ import annotations

from pathlib import Path

from bento.drivers.image.base import Inbox
from bento.errors import BentoError, NotFound, NotPermitted
from bento.model.transfer import Access, Credentials, OnProgress, TransferProgress
from bento.oci.layout import digest_of
from bento.oci.platform import Platform


class FakeTransport:
    """A TransportDriver whose images are bytes, by place.

    Attributes:
        images: what is to be had: the manifest, or the error that is raised instead.
        asked: the places that were asked, in order.
        sent: what came, by place.
        logins: the credentials by registry; a login with the password ``wrong`` is refused.
    """

    def __init__(self, images: dict[str, bytes | BentoError] | None = None) -> None:
        self.images = images or {}
        self.asked: list[str] = []
        self.sent: dict[str, bytes] = {}
        self.logins: dict[str, Credentials] = {}

    def fetch(
        self, source: str, inbox: Inbox, *, access: Access, platform: Platform, on_progress: OnProgress | None = None
    ) -> str:
        """Store the manifest of this place; return its digest. Raises NotFound for an unknown one."""
        self.asked.append(source)
        found = self.images.get(source)
        if found is None:
            raise NotFound(f"{source}: there is no such image")
        if isinstance(found, BentoError):
            raise found
        if on_progress is not None:
            on_progress(TransferProgress(digest=digest_of(found), phase="moved"))
        return inbox.add_bytes(found)

    def look(self, source: str, inbox: Inbox, *, access: Access) -> tuple[bytes, bytes]:
        """Return the manifest of this place, and a configuration. Raises NotFound for an unknown one."""
        self.asked.append(source)
        found = self.images.get(source, NotFound(f"{source}: there is no such image"))
        if isinstance(found, BentoError):
            raise found
        return found, b'{"os": "linux", "architecture": "arm", "variant": "v7"}'

    def send(
        self, manifest: bytes, blobs: Path, inbox: Inbox, destination: str, *, access: Access,
        on_progress: OnProgress | None = None,
    ) -> str:  # fmt: skip
        """Keep the manifest; return its digest."""
        self.sent[destination] = manifest
        return digest_of(manifest)

    def login(self, registry: str, credentials: Credentials | None, access: Access) -> str:
        """Keep the credentials. Raises NotFound, and NotPermitted for the password ``wrong``."""
        kept = credentials or self.logins.get(registry)
        if kept is None:
            raise NotFound(f"there is no login at {registry} yet")
        if kept.password == "wrong":
            raise NotPermitted(f"{registry}: the registry refuses")
        self.logins[registry] = kept
        return kept.user

    def logout(self, registry: str, access: Access) -> bool:
        """Forget the credentials."""
        if not registry:
            self.logins.clear()
            return True
        return self.logins.pop(registry, None) is not None

"""An image as a registry has it, which was not fetched. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from bento.oci.image import OCI_MANIFEST, Index, decode, parse_manifest
from bento.oci.layout import digest_of
from bento.oci.platform import Platform

_OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"


class RemoteImage(Struct, frozen=True, kw_only=True):
    """Its manifest, or the list of those that it has for several platforms.

    ``platforms``: what it is for, as it says; without those of attestations, which name none.
    """

    media_type: str
    digest: str
    size_bytes: int
    platforms: tuple[Platform, ...]


class _Typed(Struct, rename="camel"):
    media_type: str = ""


class _Config(Struct):
    os: str = ""
    architecture: str = ""
    variant: str | None = None


def read(manifest: bytes, config: bytes = b"") -> RemoteImage:
    """Return what a manifest says; ``config``: the configuration, which a list has not. Raises UsageError."""
    parsed = parse_manifest(manifest)
    given = decode(manifest, _Typed, "manifest").media_type
    if isinstance(parsed, Index):
        platforms = [platform for _, platform in parsed.manifests if platform and platform.os != "unknown"]
    else:
        said = decode(config or b"{}", _Config, "configuration")
        platforms = [Platform(said.os, said.architecture, said.variant or "")] if said.os else []
    return RemoteImage(
        media_type=given or (_OCI_INDEX if isinstance(parsed, Index) else OCI_MANIFEST),
        digest=digest_of(manifest),
        size_bytes=len(manifest),
        platforms=tuple(dict.fromkeys(platforms)),
    )

"""Manifests and indexes of images: foreign JSON, checked and brought into our words. Pure.

Formats: OCI image-spec (manifest.md, image-index.md, descriptor.md) and Docker's "Image Manifest V2, Schema
2". Whatever the bytes are, a parser here returns or raises UsageError with one line.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from bento.errors import UsageError
from bento.model.reference import is_digest
from bento.oci.packing import packing_of
from bento.oci.platform import Platform, rank

MANIFEST_MAX_BYTES: Final = 4 << 20
"""What registries accept and engines read at most (distribution-spec, "Pushing Manifests")."""
LAYERS_MAX: Final = 500
"""What overlayfs stacks at most (OVL_MAX_STACK)."""
BLOB_MAX_BYTES: Final = 1 << 50

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_MANIFESTS: Final = (OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_CONFIGS: Final = (OCI_CONFIG, "application/vnd.docker.container.image.v1+json")
_NOT_DISTRIBUTED: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_LAYERS: Final = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+gzip|\+zstd)?"
    r"|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.gzip|\.zstd)?)"
)
_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+"

T = TypeVar("T")


class Descriptor(Struct, frozen=True, rename="camel"):
    """What another blob is said to be."""

    media_type: str
    digest: str
    size: int


class Manifest(Struct, frozen=True):
    """One image: its configuration, and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class Index(Struct, frozen=True):
    """Several images, by platform."""

    manifests: tuple[tuple[Descriptor, Platform | None], ...]


class _RawPlatform(Struct):
    os: str = ""
    architecture: str = ""
    variant: str | None = None


class _RawDescriptor(Struct, rename="camel"):
    digest: str
    size: int
    media_type: str = ""
    platform: _RawPlatform | None = None


class _RawManifest(Struct, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    config: _RawDescriptor | None = None
    layers: list[_RawDescriptor] | None = None
    manifests: list[_RawDescriptor] | None = None
    fs_layers: list[Any] | None = None


def parse_manifest(content: bytes) -> Manifest | Index:
    """Return what a manifest, or a list of manifests, says. Raises UsageError."""
    raw = decode(content, _RawManifest, "manifest")
    if raw.schema_version == 1 or raw.fs_layers is not None or raw.media_type.startswith(_SCHEMA1):
        raise UsageError(
            "the manifest is of Docker's schema 1, which cannot be verified",
            hint="push the image again with a current tool",
        )
    if raw.schema_version != 2:
        raise UsageError(f"the manifest has schema version {raw.schema_version}", hint="Bento knows version 2")
    if (raw.manifests is not None) == (raw.config is not None or raw.layers is not None):
        # Both at once mean different images to different readers (GHSA-qq97-vm5h-rrhg of the OCI).
        raise UsageError("the manifest must have either config and layers, or manifests", hint="it is damaged")
    if raw.manifests is not None:
        _check_type(raw.media_type, _INDEXES)
        return Index(tuple((_descriptor(each), _platform(each.platform)) for each in raw.manifests))
    _check_type(raw.media_type, _MANIFESTS)
    if raw.config is None or raw.layers is None:
        raise UsageError("the manifest lacks its config or its layers", hint="it is damaged")
    config = _descriptor(raw.config)
    if config.media_type not in _CONFIGS:
        raise UsageError(
            f"what the manifest describes is no container image but {config.media_type or 'unknown'}",
            hint="Bento runs images of OCI and of Docker",
        )
    if len(raw.layers) > LAYERS_MAX:
        raise UsageError(f"the image has {len(raw.layers)} layers; overlayfs stacks at most {LAYERS_MAX}")
    return Manifest(config, tuple(_layer(each) for each in raw.layers))


def choose_platform(index: Index, wanted: Platform) -> Descriptor:
    """Return the manifest for a platform: of those that run there the one with the best variant, the first of equals.

    Raises UsageError that names what there is.
    """
    best: Descriptor | None = None
    best_rank = -1
    for descriptor, platform in index.manifests:
        fit = rank(platform, wanted) if platform else -1
        if fit > best_rank and descriptor.media_type not in _INDEXES:
            best, best_rank = descriptor, fit
    if best is None and len(index.manifests) == 1 and index.manifests[0][1] is None:
        best = index.manifests[0][0]  # a list of one that does not say: its configuration will
    if best is None:
        known = sorted({str(platform) for _, platform in index.manifests if platform and platform.os != "unknown"})
        raise UsageError(
            f"there is no image for {wanted}", hint=f"there is one for {', '.join(known)}" if known else "it is empty"
        )
    return best


def decode(content: bytes, kind: type[T], what: str) -> T:
    """Return JSON as this struct. Raises UsageError, which calls it ``what``."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "it nests too deep" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"the {what} cannot be read: {reason}", hint="it is damaged, or no image") from None


def _check_type(media_type: str, known: tuple[str, ...]) -> None:
    if media_type and media_type not in known:
        raise UsageError(f"unknown type of manifest: {media_type[:150]!r}", hint=f"known: {', '.join(known)}")


def check_digest(digest: str) -> None:
    """Raise UsageError when it is none."""
    if not is_digest(digest):
        raise UsageError(f"bad digest {digest[:150]!r}", hint="Bento knows sha256: with 64 digits, sha512: with 128")


def _descriptor(raw: _RawDescriptor) -> Descriptor:
    check_digest(raw.digest)
    if not 0 <= raw.size <= BLOB_MAX_BYTES:
        raise UsageError(f"{raw.digest} is said to have {raw.size} bytes", hint="the manifest is damaged")
    return Descriptor(raw.media_type, raw.digest, raw.size)


def _layer(raw: _RawDescriptor) -> Descriptor:
    descriptor = _descriptor(raw)
    if descriptor.media_type.endswith("+encrypted"):
        raise UsageError("a layer of the image is encrypted, which Bento cannot read")
    if not _LAYERS.fullmatch(descriptor.media_type):
        raise UsageError(
            f"unknown type of layer: {descriptor.media_type[:150]!r}", hint="Bento knows tar, plain, gzip and zstd"
        )
    return descriptor


def _platform(raw: _RawPlatform | None) -> Platform | None:
    return Platform(raw.os, raw.architecture, raw.variant or "") if raw is not None else None


def oci_type(media_type: str) -> str:
    """Return the OCI type of a layer of Docker's: they differ in name alone."""
    packing = next((word for word in ("gzip", "zstd") if media_type.endswith(word)), "")
    is_foreign = "rootfs.foreign." in media_type or media_type.startswith(_NOT_DISTRIBUTED)
    return (_NOT_DISTRIBUTED if is_foreign else OCI_LAYER) + (f"+{packing}" if packing else "")


def layer_type(head: bytes) -> str:
    """Return the media type of a layer that begins like this; what is packed otherwise has no type of its own."""
    return OCI_LAYER + {"gzip": "+gzip", "zstd": "+zstd"}.get(packing_of(head), "")

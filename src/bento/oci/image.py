"""Manifests, indexes and configurations of images: foreign JSON, checked and brought into our words. Pure.

Formats: OCI image-spec (manifest.md, image-index.md, config.md, descriptor.md) and Docker's "Image Manifest V2, Schema
2". Whatever the bytes are, a parser here returns or raises UsageError with one line.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct, field

from bento.errors import UsageError
from bento.model.image import Healthcheck, HistoryEntry, ImageConfig
from bento.model.reference import is_digest
from bento.oci.packing import packing_of
from bento.oci.platform import Platform, rank

MANIFEST_MAX_BYTES: Final = 4 << 20
"""What registries accept and engines read at most (distribution-spec, "Pushing Manifests")."""
CONFIG_MAX_BYTES: Final = 8 << 20
"""Real ones are a few KiB; those with long histories some hundred."""
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
_TIME_MAX_NS: Final = (1 << 63) - 1
"""The year 2262: what 64 bits hold, in our records and in Go's time.UnixNano."""
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)")

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


class ParsedConfig(Struct, frozen=True, kw_only=True):
    """An image's configuration in our words. ``created_unix_ns`` 0: not said."""

    config: ImageConfig
    diff_ids: tuple[str, ...]
    platform: Platform
    author: str
    created_unix_ns: int
    history: tuple[HistoryEntry, ...]


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


class _RawHealth(Struct, rename="pascal"):
    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class _RawRuntime(Struct, rename="pascal"):
    """A null among words is an empty one, as for programs that read this in Go."""

    user: str | None = None
    exposed_ports: dict[str, Any] | None = None
    env: list[str | None] | None = None
    entrypoint: list[str | None] | str | None = None
    cmd: list[str | None] | str | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str | None = None
    labels: dict[str, str | None] | None = None
    stop_signal: str | None = None
    healthcheck: _RawHealth | None = None


class _RawHistory(Struct):
    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class _RawRootfs(Struct):
    type: str = ""
    diff_ids: list[str] | None = None


class _RawConfig(Struct):
    architecture: str = ""
    os: str = ""
    variant: str | None = None
    author: str | None = None
    created: str | None = None
    config: _RawRuntime | None = None
    rootfs: _RawRootfs | None = None
    history: list[_RawHistory | None] | None = field(default=None)


def parse_manifest(content: bytes) -> Manifest | Index:
    """Return what a manifest, or a list of manifests, says. Raises UsageError."""
    raw = _decode(content, _RawManifest, "manifest")
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


def parse_config(content: bytes) -> ParsedConfig:
    """Return what an image's configuration says. Raises UsageError."""
    raw = _decode(content, _RawConfig, "image configuration")
    if raw.rootfs is None or raw.rootfs.type != "layers":
        raise UsageError("the image configuration has no rootfs of type layers", hint="it is of no container image")
    diff_ids = tuple(raw.rootfs.diff_ids or ())
    for diff_id in diff_ids:
        _check_digest(diff_id)
    if raw.os not in ("", "linux"):
        raise UsageError(f"the image is for {raw.os[:150]!r}, not for linux")
    return ParsedConfig(
        config=_runtime_config(raw.config or _RawRuntime()),
        diff_ids=diff_ids,
        platform=Platform(raw.os or "linux", raw.architecture, raw.variant or ""),
        author=raw.author or "",
        created_unix_ns=parse_time(raw.created),
        history=tuple(_history(each or _RawHistory()) for each in raw.history or ()),
    )


def parse_time(text: str | None) -> int:
    """Return a time of RFC 3339 in ns since 1970; 0 when there is none, or none that a clock could show."""
    match = _TIME.fullmatch(text or "")
    if match is None:
        return 0
    zone = "+00:00" if match[3] in "Zz" else match[3]
    try:
        moment = datetime.fromisoformat(match[1].upper() + zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return 0
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    unix_ns = (since.days * 86400 + since.seconds) * 10**9 + int((match[2] or "0").ljust(9, "0"))
    return unix_ns if 0 < unix_ns <= _TIME_MAX_NS else 0


def _decode(content: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "it nests too deep" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"the {what} cannot be read: {reason}", hint="it is damaged, or no image") from None


def _check_type(media_type: str, known: tuple[str, ...]) -> None:
    if media_type and media_type not in known:
        raise UsageError(f"unknown type of manifest: {media_type[:150]!r}", hint=f"known: {', '.join(known)}")


def _check_digest(digest: str) -> None:
    if not is_digest(digest):
        raise UsageError(f"bad digest {digest[:150]!r}", hint="Bento knows sha256: with 64 digits, sha512: with 128")


def _descriptor(raw: _RawDescriptor) -> Descriptor:
    _check_digest(raw.digest)
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


def _runtime_config(raw: _RawRuntime) -> ImageConfig:
    env = tuple(entry for entry in raw.env or () if entry and "=" in entry[1:])  # others set nothing
    workdir = raw.working_dir or ""
    config = ImageConfig(
        entrypoint=_words(raw.entrypoint),
        command=_words(raw.cmd),
        env=env,
        workdir=posixpath.normpath(f"/{workdir}").replace("//", "/") if workdir else "",
        user=raw.user or "",
        stop_signal=raw.stop_signal or "",
        labels={key: value or "" for key, value in (raw.labels or {}).items()},
        exposed_ports=tuple(sorted(raw.exposed_ports or ())),  # a set: its order says nothing
        volumes=tuple(_paths(raw.volumes or ())),
        healthcheck=_healthcheck(raw.healthcheck),
    )
    _refuse_nul(config)
    return config


def _words(raw: list[str | None] | str | None) -> tuple[str, ...]:
    """Docker's engines once wrote a string where a shell was meant."""
    return ("/bin/sh", "-c", raw) if isinstance(raw, str) else tuple(word or "" for word in raw or ())


def _paths(volumes: Iterable[str]) -> list[str]:
    return sorted({posixpath.normpath(f"/{path}").replace("//", "/") for path in volumes if path})


def _healthcheck(raw: _RawHealth | None) -> Healthcheck | None:
    if raw is None:
        return None
    said = Healthcheck(
        test=tuple(raw.test or ()),
        interval_ns=raw.interval,
        timeout_ns=raw.timeout,
        start_period_ns=raw.start_period,
        start_interval_ns=raw.start_interval,
        retries=raw.retries,
    )
    return said if said != Healthcheck() else None  # what says nothing is none


def _refuse_nul(config: ImageConfig) -> None:
    """A NUL byte ends a string for the kernel: what was checked would not be what is run."""
    texts = (
        *config.entrypoint, *config.command, *config.env, config.workdir, config.user, config.stop_signal,
        *config.volumes,
    )  # fmt: skip
    if any("\0" in text for text in texts):
        raise UsageError("the image configuration has a NUL character in it", hint="it is damaged")


def _history(raw: _RawHistory) -> HistoryEntry:
    return HistoryEntry(
        created_unix_ns=parse_time(raw.created),
        created_by=raw.created_by or "",
        author=raw.author or "",
        comment=raw.comment or "",
        is_empty_layer=bool(raw.empty_layer),
    )


def oci_type(media_type: str) -> str:
    """Return the OCI type of a layer of Docker's: they differ in name alone."""
    packing = next((word for word in ("gzip", "zstd") if media_type.endswith(word)), "")
    is_foreign = "rootfs.foreign." in media_type or media_type.startswith(_NOT_DISTRIBUTED)
    return (_NOT_DISTRIBUTED if is_foreign else OCI_LAYER) + (f"+{packing}" if packing else "")


def layer_type(head: bytes) -> str:
    """Return the media type of a layer that begins like this; what is packed otherwise has no type of its own."""
    return OCI_LAYER + {"gzip": "+gzip", "zstd": "+zstd"}.get(packing_of(head), "")

"""Manifests and configurations of images as OCI writes them (image-spec, manifest.md and config.md). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from bento.errors import UsageError
from bento.model.image import HistoryEntry, ImageConfig
from bento.oci.image import OCI_MANIFEST, Descriptor
from bento.oci.platform import Platform


def runtime_words(config: ImageConfig) -> dict[str, Any]:
    """Return what a container inherits in the words of OCI and Docker; a health check only where there is one."""
    words: dict[str, Any] = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Env": list(config.env),
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "Volumes": {path: {} for path in config.volumes},
        "WorkingDir": config.workdir,
        "Labels": config.labels,
        "StopSignal": config.stop_signal,
    }
    return words | ({"Healthcheck": config.healthcheck.words} if config.healthcheck else {})


def write_config(
    config: ImageConfig,
    platform: Platform,
    diff_ids: Iterable[str],
    *,
    created_unix_ns: int = 0,
    author: str = "",
    history: Iterable[HistoryEntry] = (),
) -> bytes:
    """Return an image's configuration as OCI writes it. The same for the same arguments."""
    return _encode(
        {
            **_given({"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}),
            **_given({"created": write_time(created_unix_ns), "author": author}),
            "config": _given(runtime_words(config)),
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            **_given({"history": [_write_history(entry) for entry in history]}),
        }
    )


def write_time(unix_ns: int) -> str:
    """Return a time as RFC 3339 has it; "" for 0."""
    if not unix_ns:
        return ""
    seconds, rest_ns = divmod(unix_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"


def _write_history(entry: HistoryEntry) -> dict[str, Any]:
    return _given(
        {
            "created": write_time(entry.created_unix_ns),
            "created_by": entry.created_by,
            "author": entry.author,
            "comment": entry.comment,
            "empty_layer": entry.is_empty_layer,
        }
    )


def write_manifest(config: Descriptor, layers: Iterable[Descriptor]) -> bytes:
    """Return an image's manifest as OCI writes it."""
    return _encode({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": list(layers)})


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _encode(document: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(document, order="deterministic")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"not valid UTF-8: {error.object!r}", hint="what an image says of itself must be text"
        ) from None

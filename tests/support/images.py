"""Small images of any number of layers, put into an engine's store as if they had come from a registry."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bento import Engine, Settings
from bento.engine.images.images import record
from bento.model import reference
from bento.model.image import Image, ImageConfig
from bento.oci.image import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from bento.oci.platform import host_platform

from support.cli import BentoCli, Roots

Layer = Path | Mapping[str, bytes]
"""A directory, or files by their paths."""


def add_layer(bento: BentoCli, name: str, layer: Path) -> None:
    """Make an image of a directory as it is: containers only read it."""
    root, run_root = bento.roots
    image = Image(
        id="sha256:" + os.urandom(32).hex(), names=(str(reference.parse(name)),), layers=(str(layer),),
        config=ImageConfig(), created_unix_ns=0, size_bytes=0,
    )  # fmt: skip
    with Engine(Settings(root=root, run_root=run_root)) as engine:
        engine.drivers.store.put_image(image, events=())


def make_image(
    roots: Roots, *names: str, layers: Sequence[Layer], config: Mapping[str, Any] | None = None, **more: Any
) -> Image:
    """Make an image. ``config`` is what containers inherit, ``more`` other fields of the image's configuration."""
    platform = host_platform()
    archives = [_archive(layer) for layer in layers]
    document = {
        "architecture": platform.architecture,
        "os": platform.os,
        "created": "2026-01-02T03:04:05Z",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [_digest(archive) for archive in archives]},
    }
    with Engine(Settings(root=roots.root, run_root=roots.run_root)) as engine, engine.drivers.images.ingest() as ingest:
        blobs = [_described(OCI_LAYER, archive) for archive in archives]
        content = json.dumps(document | more).encode()
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": _described(OCI_CONFIG, content)}
        for blob in (content, *archives):
            ingest.add_bytes(blob)
        digest = ingest.add_bytes(json.dumps(manifest | {"layers": blobs}).encode())
        full = [str(reference.parse(name)) for name in names]
        made = ingest.commit(digest, lambda image: record(engine.drivers, image, *full, events=()))
        return engine.drivers.store.get_image(made.id) or made


def _archive(layer: Layer) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        if isinstance(layer, Path):
            tar.add(layer, ".")
        else:
            for name, content in layer.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), 0o755
                tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _described(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}

"""OCI layouts, and manifests for images whose source has none that fits. Pure.

Format: image-spec, image-layout.md and manifest.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bento.errors import UsageError
from bento.oci.image import OCI_CONFIG, OCI_MANIFEST, Descriptor, Manifest, oci_type, parse_manifest
from bento.oci.image_writing import write_manifest

LAYOUT_FILE: Final = "oci-layout"
LAYOUT_CONTENT: Final = b'{"imageLayoutVersion":"1.0.0"}'


def digest_of(content: bytes) -> str:
    """Return ``sha256:HEX``."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob_path(blobs: Path, digest: str) -> Path:
    """Return where a blob lies in ``blobs/``. Raises UsageError for another algorithm than sha256."""
    algorithm, _, digits = digest.partition(":")
    if algorithm != "sha256":
        raise UsageError(f"the image names its parts by {algorithm}", hint="Bento keeps blobs by sha256")
    return blobs / algorithm / digits


def image_manifest(content: bytes) -> Manifest:
    """Return what the manifest of one image says. Raises UsageError."""
    parsed = parse_manifest(content)
    if not isinstance(parsed, Manifest):
        raise UsageError("a list of images where one was expected", hint="Bento knows lists one level deep")
    return parsed


def layer_sizes(manifest: Manifest) -> dict[str, int]:
    """Return the size of each layer's blob by digest, lowest first."""
    return {layer.digest: layer.size for layer in manifest.layers}


def media_type(content: bytes) -> str:
    """Return the type that a manifest has; OCI's may leave it out."""
    said = msgspec.json.decode(content, type=dict[str, Any]).get("mediaType")
    return said if isinstance(said, str) and said else OCI_MANIFEST


def descriptor(content: bytes, **more: object) -> dict[str, object]:
    """Return what names a manifest in an index."""
    return {"mediaType": media_type(content), "digest": digest_of(content), "size": len(content), **more}


def index(entries: Sequence[dict[str, object]]) -> bytes:
    """Return an ``index.json``."""
    return msgspec.json.encode({"schemaVersion": 2, "manifests": entries})


def generate(config: bytes, layers: Sequence[Descriptor]) -> bytes:
    """Return an OCI manifest.

    The configuration stays as it is, byte by byte, also when it is Docker's, which is a superset of OCI's: its digest
    is the image's id.
    """
    return write_manifest(Descriptor(OCI_CONFIG, digest_of(config), len(config)), layers)


def as_oci(content: bytes) -> bytes:
    """Return an image's manifest in OCI's words, also where it is in Docker's: readers of OCI layouts know no other."""
    if media_type(content) == OCI_MANIFEST:
        return content
    manifest = image_manifest(content)
    config = Descriptor(OCI_CONFIG, manifest.config.digest, manifest.config.size)
    layers = [Descriptor(oci_type(each.media_type), each.digest, each.size) for each in manifest.layers]
    return write_manifest(config, layers)

"""``import``: a root filesystem as an image of one layer, with manifest and configuration, as others make them.

The configuration says when the image was made and of what, as Docker's does.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from msgspec import Struct

from bento.drivers.image.base import Record
from bento.drivers.image.formats.rootfs import GIVE_ROOTFS, archived
from bento.drivers.image.formats.source import Source
from bento.drivers.image.store.ingest import StoreIngest
from bento.errors import UsageError
from bento.model.image import HistoryEntry, Image, ImageConfig
from bento.oci import image as oci
from bento.oci import image_writing
from bento.oci.platform import Platform, host_platform


class ImageMetadata(Struct, frozen=True, kw_only=True):
    """What the image says of itself."""

    config: ImageConfig
    platform: Platform | None
    message: str


def import_rootfs(ingest: StoreIngest, path: Path, own_root: Path, metadata: ImageMetadata, record: Record) -> Image:
    """Make an image of a directory or an archive; see ``ImageStore.import_rootfs``. ``own_root``: the engine's."""
    source = Source(path)
    try:
        if source.is_directory:
            with archived(source, own_root) as fd:
                digest = ingest.add_blob(fd)
        else:
            digest = ingest.add_blob(source.fd)
    finally:
        source.close()
    try:
        diff_id = ingest.add_layer(digest)
    except UsageError as error:
        raise UsageError(
            f"{source.words} cannot be imported: {error.message}",
            hint="give a directory, or a tar archive (plain, gzip, bzip2, xz, zstd)",
        ) from error
    if not os.listdir(ingest.layers.path(diff_id)):
        raise UsageError(f"{source.words} holds no files", hint=GIVE_ROOTFS)
    now = time.time_ns()
    comment = metadata.message or f"Imported from {os.fsencode(path).decode(errors='replace')}"
    step = HistoryEntry(created_unix_ns=now, comment=comment)
    platform = metadata.platform or host_platform()
    content = image_writing.write_config(metadata.config, platform, [diff_id], created_unix_ns=now, history=[step])
    config_digest = ingest.add_bytes(content)
    layer = oci.Descriptor(oci.layer_type(ingest.blobs.head(digest)), digest, ingest.blob_size(digest))
    manifest = image_writing.write_manifest(oci.Descriptor(oci.OCI_CONFIG, config_digest, len(content)), [layer])
    return ingest.commit(ingest.add_bytes(manifest), record)

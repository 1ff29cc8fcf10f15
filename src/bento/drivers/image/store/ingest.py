"""An image on its way in: its blobs are verified, its layers unpacked, then all of it is put in place at once."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import ExitStack
from pathlib import Path

from bento.drivers.image.base import Record, nothing
from bento.drivers.image.store.blob_pool import BlobPool
from bento.drivers.image.store.layer_pool import LayerPool
from bento.drivers.image.store.layer_stack import LayerStack
from bento.drivers.image.store.paths import StorePaths
from bento.drivers.image.store.unpack_queue import UnpackQueue
from bento.errors import UsageError
from bento.files.tree import remove_tree
from bento.model.image import Image
from bento.model.transfer import OnProgress
from bento.oci.image import MANIFEST_MAX_BYTES, Descriptor, Index, Manifest, choose_platform, parse_manifest
from bento.oci.image_config import CONFIG_MAX_BYTES, ParsedConfig, parse_config
from bento.oci.platform import Platform, host_platform


class StoreIngest:
    """An Ingest of the ImageStore: everything new is in ``directory`` until ``commit`` moves it to its place.

    ``close`` it before that directory is removed.
    """

    def __init__(self, paths: StorePaths, directory: Path, on_progress: OnProgress | None = None) -> None:
        self._paths = paths
        self.blobs = BlobPool(paths, directory / "blobs")
        self.layers = LayerPool(paths, directory / "layers", self.blobs)
        self.queue = UnpackQueue(self.layers, self.blobs, on_progress)
        self._stack = LayerStack(self.layers)

    def add_blob(self, source_fd: int) -> str:
        """Copy what is to be read into a blob; return its digest. Blocks until the end of file."""
        return self.blobs.add_stream(source_fd)

    def add_bytes(self, content: bytes) -> str:
        """Make a blob of these bytes; return its digest. Idempotent."""
        return self.blobs.add_bytes(content)

    def blob_size(self, digest: str) -> int:
        """Return how many bytes a blob has. Raises NotFound."""
        return self.blobs.size(digest)

    def add_layer(self, digest: str) -> str:
        """Unpack a blob that is a layer; return its DiffID."""
        return self.layers.unpack(digest, "sha256")

    def commit(self, digest: str, record: Record = nothing, platform: Platform | None = None) -> Image:
        """Make an image of a manifest whose blobs are all there, and have it recorded. See Ingest."""
        digest, manifest = self._manifest(digest, platform or host_platform())
        config = self._config(manifest)
        wanted = dict(zip(config.diff_ids, manifest.layers, strict=True))
        while True:
            self.queue.finish(wanted)
            for diff_id, layer in zip(config.diff_ids, manifest.layers, strict=True):
                self.layers.verify(diff_id, layer.digest)
            try:
                stack = self._stack.build(config.diff_ids, manifest.layers)
            except FileNotFoundError:
                if self._stack.is_unchanged():
                    raise
                self._stack.forget_seams()
                continue  # removed in the last moment
            self.blobs.seal((digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)))
            with self._paths.gc_lock(fcntl.LOCK_EX):
                if self.layers.missing(stack) or not self._stack.is_unchanged():
                    self._stack.forget_seams()
                    continue
                image = self._image(digest, manifest, config, stack)
                doomed = self._publish(image, record)
                break
        for path in doomed:
            remove_tree(path)
        return image

    def close(self) -> None:
        """End what is being unpacked. Idempotent."""
        self.queue.close()

    def _manifest(self, digest: str, platform: Platform) -> tuple[str, Manifest]:
        parsed = parse_manifest(self.blobs.read(Descriptor("", digest, -1), MANIFEST_MAX_BYTES))
        if isinstance(parsed, Index):
            chosen = choose_platform(parsed, platform)
            digest, parsed = chosen.digest, parse_manifest(self.blobs.read(chosen, MANIFEST_MAX_BYTES))
        if isinstance(parsed, Index):
            raise UsageError("the index of the image leads to another index", hint="it is damaged")
        return digest, parsed

    def _config(self, manifest: Manifest) -> ParsedConfig:
        """Return the configuration, which fits the manifest, whose layers are there in the right sizes."""
        config = parse_config(self.blobs.read(manifest.config, CONFIG_MAX_BYTES))
        if len(config.diff_ids) != len(manifest.layers):
            raise UsageError(
                f"the image has {len(manifest.layers)} layers, and its configuration {len(config.diff_ids)}",
                hint="it is damaged",
            )
        if not manifest.layers:
            raise UsageError("the image has no layers", hint="there is nothing in it to run")
        for layer in manifest.layers:
            if (size := self.blobs.size(layer.digest)) != layer.size:
                raise UsageError(
                    f"layer {layer.digest} has {size} bytes, not {layer.size} as the manifest says",
                    hint="it is damaged where it comes from, or here: then remove the image with -f and fetch it again",
                )
        return config

    def _image(self, digest: str, manifest: Manifest, config: ParsedConfig, stack: list[str]) -> Image:
        sizes = tuple(self.layers.metadata(diff_id).size_bytes for diff_id in config.diff_ids)
        return Image(
            id=manifest.config.digest,
            digest=digest,
            layers=tuple(os.fspath(self.layers.place(each)) for each in reversed(stack)),
            diff_ids=config.diff_ids,
            layer_digests=tuple(layer.digest for layer in manifest.layers),
            layer_sizes_bytes=sizes,
            config=config.config,
            architecture=config.platform.architecture,
            os=config.platform.os,
            variant=config.platform.variant,
            author=config.author,
            created_unix_ns=config.created_unix_ns or time.time_ns(),
            size_bytes=sum(sizes),
            history=config.history,
        )

    def _publish(self, image: Image, record: Record) -> list[Path]:
        """Put everything in its place and have it recorded, as one; return what is to be deleted now."""
        with ExitStack() as undo:
            for digest in image.blobs:
                if (place := self.blobs.publish(digest)) is not None:
                    undo.callback(place.unlink)
            self.layers.publish(image.layers, undo)
            for diff_id, archive in zip(image.diff_ids, image.layer_digests, strict=True):
                self.layers.note_archive(diff_id, archive)
            unused = record(image)
            undo.pop_all()
        self.layers.drop_published()
        self._stack.keep_seams()
        return [path for path, _ in self._paths.withdraw(unused).values() if path is not None]

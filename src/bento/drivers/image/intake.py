"""An image on its way in: its blobs are verified, its layers unpacked, then all of it is put in place at once."""

from __future__ import annotations

import concurrent.futures
import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from bento.drivers.image.base import Record, nothing
from bento.drivers.image.blobs import hash_file, of_layer
from bento.drivers.image.shelf import read_about
from bento.drivers.image.stacking import HeldLayers
from bento.drivers.image.unpack import hash_unpacked
from bento.errors import UsageError
from bento.kernel.tree import remove_tree
from bento.model.image import Image
from bento.oci.image import (
    CONFIG_MAX_BYTES,
    MANIFEST_MAX_BYTES,
    Descriptor,
    Index,
    Manifest,
    ParsedConfig,
    choose_platform,
    parse_config,
    parse_manifest,
)
from bento.oci.platform import Platform, host_platform

_CHUNK_BYTES: Final = 1 << 20
_WORKERS_MAX: Final = 8


class StoreIntake(HeldLayers):
    """An Intake of the ImageStore: everything new is in ``directory`` until ``adopt`` moves it to its place."""

    def add_layer(self, digest: str) -> str:
        """Unpack a blob that is a layer; return its DiffID."""
        fd = self._open(digest)
        try:
            return self._unpack(fd, "sha256", digest)
        finally:
            os.close(fd)

    def is_empty(self, diff_id: str) -> bool:
        """Whether a layer of ``add_layer`` has no files."""
        return not os.listdir(self._unpacked[diff_id])

    @property
    def root(self) -> Path:
        """The engine's root."""
        return self._store.root

    def adopt(self, digest: str, record: Record = nothing, platform: Platform | None = None) -> Image:
        """Make an image of a manifest whose blobs are all there, and have it recorded. See Intake."""
        digest, manifest = self._manifest(digest, platform or host_platform())
        config = parse_config(self._read(manifest.config, CONFIG_MAX_BYTES))
        if len(config.diff_ids) != len(manifest.layers):
            raise UsageError(
                f"the image has {len(manifest.layers)} layers, and its configuration {len(config.diff_ids)}",
                hint="it is damaged",
            )
        if not manifest.layers:
            raise UsageError("the image has no layers", hint="there is nothing in it to run")
        for layer in manifest.layers:
            if (size := self.blob_size(layer.digest)) != layer.size:
                raise UsageError(
                    f"layer {layer.digest} has {size} bytes, not {layer.size} as the manifest says",
                    hint="it is damaged where it comes from, or here: then remove the image with -f and fetch it again",
                )
        wanted = dict(zip(config.diff_ids, manifest.layers, strict=True))
        while True:
            self._unpack_missing(wanted)
            self._verify(config.diff_ids, manifest.layers)
            try:
                stack = self._stack(config.diff_ids, manifest.layers)
            except FileNotFoundError:
                if self._is_as_seen():
                    raise
                self._forget_seams()
                continue  # removed in the last moment
            self._seal((digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)))
            with self._store.changing(fcntl.LOCK_EX):
                if self._missing(stack) or not self._is_as_seen():
                    self._forget_seams()
                    continue
                image = self._image(digest, manifest, config, stack)
                doomed = self._settle(image, record)
                break
        for path in doomed:
            remove_tree(path)
        return image

    def _manifest(self, digest: str, platform: Platform) -> tuple[str, Manifest]:
        parsed = parse_manifest(self._read(Descriptor("", digest, -1), MANIFEST_MAX_BYTES))
        if isinstance(parsed, Index):
            chosen = choose_platform(parsed, platform)
            digest, parsed = chosen.digest, parse_manifest(self._read(chosen, MANIFEST_MAX_BYTES))
        if isinstance(parsed, Index):
            raise UsageError("the index of the image leads to another index", hint="it is damaged")
        return digest, parsed

    def _unpack_missing(self, wanted: dict[str, Descriptor]) -> None:
        """Unpack in parallel what is not there. The first failure ends all."""
        missing = self._missing(wanted)
        if not missing:
            return
        with concurrent.futures.ThreadPoolExecutor(min(_WORKERS_MAX, len(missing), os.cpu_count() or 1)) as pool:
            jobs = [pool.submit(self._unpack_verified, wanted[diff_id], diff_id) for diff_id in missing]
            try:
                for job in concurrent.futures.as_completed(jobs):
                    job.result()
            except BaseException:
                self._is_cancelled = True
                pool.shutdown(cancel_futures=True)
                raise
        self._write_out()

    def _verify(self, diff_ids: Sequence[str], layers: Sequence[Descriptor]) -> None:
        """See that each layer's archive is what the configuration says, also where the unpacked layer was there before.

        Else what is run would depend on what was here, and an image could have another one's files by their DiffID.
        """
        for diff_id, layer in zip(diff_ids, layers, strict=True):
            if layer.digest in self._about(diff_id).archives:
                continue
            algorithm = diff_id.partition(":")[0]
            fd = self._open(layer.digest)
            try:
                with of_layer(layer.digest):
                    got = self._diff_ids.get(layer.digest, "")
                    if not got.startswith(f"{algorithm}:"):
                        got = hash_unpacked(fd, algorithm, self._check_cancelled)
                    _check_diff_id(got, diff_id)
            finally:
                os.close(fd)
            self._diff_ids[layer.digest] = got

    def _unpack_verified(self, layer: Descriptor, diff_id: str) -> None:
        algorithm, _, digits = layer.digest.partition(":")
        fd = self._open(layer.digest)
        try:
            with of_layer(layer.digest), concurrent.futures.ThreadPoolExecutor(1) as pool:
                hashed = pool.submit(hash_file, fd, algorithm)
                got = self._unpack(fd, diff_id.partition(":")[0], layer.digest)
                if hashed.result() != digits:
                    raise UsageError("its content has another digest: it is damaged")
                _check_diff_id(got, diff_id)
        finally:
            os.close(fd)

    def _image(self, digest: str, manifest: Manifest, config: ParsedConfig, stack: list[str]) -> Image:
        sizes = tuple(self._about(diff_id).size_bytes for diff_id in config.diff_ids)
        return Image(
            id=manifest.config.digest,
            digest=digest,
            layers=tuple(os.fspath(self._place(each)) for each in reversed(stack)),
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

    def _settle(self, image: Image, record: Record) -> list[Path]:
        """Put everything in its place and have it recorded, as one; return what is to be deleted now."""
        linked: list[Path] = []
        moved: list[tuple[Path, Path]] = []
        try:
            for digest in image.blobs:
                if (place := self._link_blob(digest)) is not None:
                    linked.append(place)
            for diff_id, path in self._unpacked.items():
                place = self._place(diff_id)
                if os.fspath(place) in image.layers and not place.is_dir():
                    for source, target in ((self._store.about(path), self._store.about(place)), (path, place)):
                        os.rename(source, target)
                        moved.append((target, source))
            for diff_id, archive in zip(image.diff_ids, image.layer_digests, strict=True):
                self._note_archive(diff_id, archive)
            unused = record(image)
        except BaseException:
            for place, source in reversed(moved):
                os.rename(place, source)
            for place in linked:
                place.unlink()
            raise
        # The next image of this intake finds them where they are now.
        self._unpacked = {each: path for each, path in self._unpacked.items() if path.is_dir()}
        self._seams.clear()
        return [path for path, _ in self._store.withdraw(unused).values() if path is not None]

    def _note_archive(self, diff_id: str, archive: str) -> None:
        """Keep beside a layer in its place that this archive unpacks to it: it need not be seen again."""
        place = self._store.about(self._place(diff_id))
        with suppress(FileNotFoundError):
            about = read_about(place)
            if archive not in about.archives:
                draft = self._layers / f"{os.urandom(8).hex()}.json"
                with open(draft, "xb") as file:
                    file.write(msgspec.json.encode(replace(about, archives=(*about.archives, archive))))
                    file.flush()
                    os.fsync(file.fileno())  # else a power cut could leave nothing of what is known of the layer
                os.rename(draft, place)


def _check_diff_id(got: str, diff_id: str) -> None:
    if got != diff_id:
        raise UsageError(f"what it unpacks to is {got}, not {diff_id} as the configuration says")

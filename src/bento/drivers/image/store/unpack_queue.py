"""Layers of one ingest that are unpacked beside each other: as soon as they have come, and the rest at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Final

from bento import quiet_threads
from bento.drivers.image.store.blob_pool import BlobPool, blame_layer, hash_file
from bento.drivers.image.store.layer_pool import LayerPool, check_diff_id
from bento.errors import UsageError
from bento.model.transfer import OnProgress, TransferProgress
from bento.oci.image import Descriptor

_WORKERS_MAX: Final = 8


class UnpackQueue:
    """``close`` it before the directory of the layers is removed. ``on_progress`` is called by several threads."""

    def __init__(self, layers: LayerPool, blobs: BlobPool, on_progress: OnProgress | None) -> None:
        self._layers = layers
        self._blobs = blobs
        self._on_progress = on_progress
        self._workers: ThreadPoolExecutor | None = None
        self._ahead: dict[str, Future[None]] = {}  # by the digest of the blob
        self._is_written = True

    def begin(self, digest: str) -> None:
        """Unpack a layer whose blob is there, beside everything else. Idempotent. ``finish`` raises what fails.

        Not one that is known to be unpacked.
        """
        if digest not in self._ahead and not self._layers.is_unpacked(digest):
            if self._workers is None:
                self._workers = _workers(_WORKERS_MAX)
            self._ahead[digest] = self._workers.submit(self._unpack_ahead, digest)

    def finish(self, wanted: Mapping[str, Descriptor]) -> None:
        """Wait for what has begun, then unpack what else is missing of an image's layers, which are by DiffID. Blocks.

        All of it is verified, and on disk at the end. Raises as ``LayerPool.unpack``; the first failure ends all.
        """
        for digest, job in self._ahead.items():
            with blame_layer(digest):
                job.result()
        missing = self._layers.missing(wanted)
        if not self._is_written and not missing:
            self._layers.write_out()
        self._report("unpacking", [wanted[diff_id].digest for diff_id in missing])
        self._unpack_missing({diff_id: wanted[diff_id] for diff_id in missing})
        self._report("done", [layer.digest for layer in wanted.values()])

    def close(self) -> None:
        """End what is being unpacked. Idempotent."""
        self._layers.cancel()
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)

    def _unpack_ahead(self, digest: str) -> None:
        self._report("unpacking", [digest])
        self._is_written = False
        self._layers.unpack(digest, "sha256")
        self._report("done", [digest])

    def _unpack_missing(self, missing: Mapping[str, Descriptor]) -> None:
        if not missing:
            return
        with _workers(len(missing)) as workers:
            jobs = [workers.submit(self._unpack_verified, layer, diff_id) for diff_id, layer in missing.items()]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                self._layers.cancel()
                workers.shutdown(cancel_futures=True)
                raise
        self._layers.write_out()

    def _unpack_verified(self, layer: Descriptor, diff_id: str) -> None:
        algorithm, _, digits = layer.digest.partition(":")
        with self._blobs.open(layer.digest) as fd, blame_layer(layer.digest), _workers(1) as hasher:
            hashed = hasher.submit(hash_file, fd, algorithm)
            got = self._layers.unpack(layer.digest, diff_id.partition(":")[0])
            if hashed.result() != digits:
                raise UsageError("its content has another digest: it is damaged")
            check_diff_id(got, diff_id)

    def _report(self, phase: str, digests: Iterable[str]) -> None:
        if self._on_progress is None:
            return
        for digest in digests:
            size = self._blobs.size(digest)
            self._on_progress(TransferProgress(digest=digest, phase=phase, done_bytes=size, total_bytes=size))


def _workers(most: int) -> ThreadPoolExecutor:
    count = min(_WORKERS_MAX, most, os.cpu_count() or 1)
    return ThreadPoolExecutor(count, "bento-unpack", initializer=quiet_threads.leave_signals)

"""Layers on their way in: unpacked in a directory of our own, and what lies on each other of them and the store's."""

from __future__ import annotations

import concurrent.futures
import os
import tarfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from bento.command import run
from bento.drivers.image.blobs import HeldBlobs, of_layer
from bento.drivers.image.seams import make_seam, seam_name
from bento.drivers.image.shelf import Shelf, Unpacked, read_about
from bento.drivers.image.unpack import Room, read_entries, unpack
from bento.errors import StorageUnusable, UsageError
from bento.oci.image import LAYERS_MAX, Descriptor

_SYNC_LIMIT_S: Final = 600.0


class HeldLayers(HeldBlobs):
    """Unpacked layers, and seams, that are in ``directory`` or in the store, by their DiffIDs."""

    def __init__(self, store: Shelf, directory: Path) -> None:
        super().__init__(store, directory / "blobs")
        self._layers = directory / "layers"
        self._unpacked: dict[str, Path] = {}  # by DiffID
        self._diff_ids: dict[str, str] = {}  # what was computed here, by the digest of the archive
        self._seams: set[str] = set()  # made for the image that is being adopted
        self._seen: dict[str, tuple[int, int]] = {}  # where its layers and seams were, by inode and time of change
        self._is_cancelled = False
        self._layers.mkdir()

    def _missing(self, wanted: Iterable[str]) -> list[str]:
        return [diff_id for diff_id in wanted if diff_id not in self._unpacked and not self._place(diff_id).is_dir()]

    def _place(self, diff_id: str) -> Path:
        return self._store.layer(diff_id.partition(":")[2])

    def _unpack(self, fd: int, algorithm: str, digest: str) -> str:
        target = self._layers / os.urandom(8).hex()
        target.mkdir()
        target.chmod(0o755)  # an archive without an entry for its root: what a root directory should be
        diff_id, about = unpack(
            fd, target, algorithm, self._check_cancelled, takes_absolute_names=self._store.takes_absolute_names
        )
        self._store.about(target).write_bytes(msgspec.json.encode(replace(about, archives=(digest,))))
        self._unpacked[diff_id] = target
        self._diff_ids[digest] = diff_id
        return diff_id

    def _entries(self, archive: str) -> Generator[tarfile.TarInfo, None, None]:
        fd = self._open(archive)
        try:
            yield from read_entries(fd, self._check_cancelled)
        finally:
            os.close(fd)

    def _check_cancelled(self) -> None:
        if self._is_cancelled:
            raise concurrent.futures.CancelledError

    def _stack(self, diff_ids: tuple[str, ...], layers: Sequence[Descriptor]) -> list[str]:
        """Return what is to be mounted, lowest first: layers, and seams between them. Makes the seams that are missing.

        Raises UsageError when they are too many, FileNotFoundError when one has gone.
        """
        stack: list[str] = []
        self._seen.clear()
        for number, (diff_id, layer) in enumerate(zip(diff_ids, layers, strict=True)):
            self._see(diff_id)
            about = self._about(diff_id)
            below = [each for each in stack if each != diff_id]  # overlayfs takes each once, and hides the lower one
            seam = self._seam(diff_ids[: number + 1], layer.digest, about, below) if below else None
            if seam is not None:
                self._see(seam)
                about = self._about(seam)  # it knows better what the layer hides
            stack = [*(() if about.is_opaque else below), diff_id, *([seam] if seam else ())]
        if set(stack).intersection(self._unpacked).difference(diff_ids):
            self._write_out()
        if len(stack) > LAYERS_MAX:
            raise UsageError(f"the image needs {len(stack)} layers; overlayfs stacks at most {LAYERS_MAX}")
        return stack

    def _seam(self, diff_ids: tuple[str, ...], archive: str, about: Unpacked, below: list[str]) -> str | None:
        """Return the seam on top of the last of these layers, whose archive that is; None when there need be none."""
        if not (about.implied or about.once_implied):
            return None
        seam = f"sha256:{seam_name(diff_ids)}"
        if not self._missing([seam]):
            return seam
        target = self._layers / os.urandom(8).hex()
        target.mkdir()
        lower = [self._path(each) for each in reversed(below)]
        with of_layer(archive), closing(self._entries(archive)) as entries:
            room = Room(target, self._check_cancelled)
            made = make_seam(self._path(diff_ids[-1]), about, lower, target, entries, room.look)
        if made is None:
            target.rmdir()
            return None
        self._store.about(target).write_bytes(msgspec.json.encode(made))
        self._unpacked[seam] = target
        self._seams.add(seam)
        return seam

    def _path(self, diff_id: str) -> Path:
        """Return where a layer is now."""
        return self._unpacked.get(diff_id) or self._place(diff_id)

    def _see(self, diff_id: str) -> None:
        """Remember which directory a layer is in, before anything is looked up in it: one that comes anew differs."""
        status = self._path(diff_id).stat()
        self._seen[diff_id] = status.st_ino, status.st_ctime_ns

    def _is_as_seen(self) -> bool:
        before = dict(self._seen)
        try:
            for diff_id in before:
                self._see(diff_id)
        except FileNotFoundError:
            return False
        return self._seen == before

    def _forget_seams(self) -> None:
        """They were made while a layer below was taken away, and may be wrong."""
        for seam in self._seams:
            del self._unpacked[seam]
        self._seams.clear()

    def _about(self, diff_id: str) -> Unpacked:
        try:
            return read_about(self._store.about(self._path(diff_id)))
        except FileNotFoundError:  # of a Bento that did not keep it
            return Unpacked(size_bytes=0)

    def _write_out(self) -> None:
        # A layer's name promises the content for ever, also after a power cut: rename(2) says nothing about the files.
        written = run(["sync", "--file-system", os.fspath(self._layers)], timeout_s=_SYNC_LIMIT_S)
        if written.returncode != 0:
            raise StorageUnusable(
                f"the image could not be written to disk: {written.stderr.strip()}", hint="see the kernel's log"
            )

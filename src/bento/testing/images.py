"""Images without copies, for unit tests of the engine."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from bento.drivers.image.base import Ingest, Record, Removed, Transfer, nothing
from bento.errors import UsageError
from bento.model.image import HistoryEntry, Image, ImageConfig
from bento.model.transfer import OnProgress
from bento.oci.platform import Platform


class FakeImages:
    """An ImageDriver whose layers are the source directories themselves, and that has no blobs."""

    blobs_dir = Path("/nonexistent")

    def __init__(self) -> None:
        self._layers: set[str] = set()

    def ingest(self) -> AbstractContextManager[Ingest]:
        """There are no blobs here."""
        raise UsageError("images are not fetched into memory")

    def transfer(self, on_progress: OnProgress | None = None) -> AbstractContextManager[Transfer]:
        """There are no blobs here."""
        raise UsageError("images are not fetched into memory")

    def import_rootfs(
        self,
        source: Path,
        config: ImageConfig,
        record: Record = nothing,
        *,
        platform: Platform | None = None,
        message: str = "",
    ) -> Image:
        """Record and return an image of a directory that is not empty; UsageError otherwise."""
        if not source.is_dir() or not os.listdir(source):
            raise UsageError(f"{source} holds no files")
        layer = os.fspath(source.resolve())
        self._layers.add(layer)
        image = Image(
            id="sha256:" + hashlib.sha256(f"{layer} {config}".encode()).hexdigest(),
            layers=(layer,),
            config=config,
            architecture=platform.architecture if platform else "",
            history=(HistoryEntry(comment=message),) if message else (),
            created_unix_ns=time.time_ns(),
            size_bytes=0,
        )
        self._layers.difference_update(record(image))
        return image

    def gc_lock(self) -> AbstractContextManager[None]:
        """Return a context in which nothing changes: there is only one thread."""
        return nullcontext()

    def remove(self, choose: Callable[[], Iterable[str]]) -> Removed:
        """Forget the chosen layers; the directories are the test's. Idempotent."""
        chosen = sorted(self._layers & set(choose()))
        self._layers.difference_update(chosen)
        return Removed(tuple(chosen))

    def size_bytes(self, things: Iterable[str]) -> int:
        """Return 0: nothing is stored here."""
        return 0

    def layers(self) -> list[str]:
        """Return the layers that are known."""
        return sorted(self._layers)

    def idle_blobs(self) -> list[str]:
        """Return nothing."""
        return []

    def leftovers(self) -> list[str]:
        """Return nothing: nothing is ever half-made."""
        return []

    def remove_leftovers(self) -> list[str]:
        """Return nothing."""
        return []

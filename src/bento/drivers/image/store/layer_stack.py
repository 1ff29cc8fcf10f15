"""What is mounted for an image: its layers, and the seams between them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from bento.drivers.image.layers.metadata import LayerMetadata
from bento.drivers.image.layers.seams import make_seam, seam_name
from bento.drivers.image.layers.unpack import SpaceGuard
from bento.drivers.image.store.blob_pool import blame_layer
from bento.drivers.image.store.layer_pool import LayerPool
from bento.errors import UsageError
from bento.oci.image import LAYERS_MAX, Descriptor


class LayerStack:
    """Builds the stack of one image after the other; sees whether the layers it has looked into are still the same."""

    def __init__(self, layers: LayerPool) -> None:
        self._layers = layers
        self._seams: set[str] = set()  # made for the image that is being committed
        self._seen: dict[str, tuple[int, int]] = {}  # where its layers and seams were, by inode and time of change

    def build(self, diff_ids: tuple[str, ...], layers: Sequence[Descriptor]) -> list[str]:
        """Return what is to be mounted, lowest first: layers, and seams between them. Makes seams that are missing.

        Raises UsageError when they are too many, FileNotFoundError when one has gone.
        """
        stack: list[str] = []
        self._seen.clear()
        for number, (diff_id, layer) in enumerate(zip(diff_ids, layers, strict=True)):
            self._see(diff_id)
            metadata = self._layers.metadata(diff_id)
            below = [each for each in stack if each != diff_id]  # overlayfs takes each once, and hides the lower one
            seam = self._seam(diff_ids[: number + 1], layer.digest, metadata, below) if below else None
            if seam is not None:
                self._see(seam)
                metadata = self._layers.metadata(seam)  # it knows better what the layer hides
            stack = [*(() if metadata.is_opaque else below), diff_id, *([seam] if seam else ())]
        if any(self._layers.is_new(each) for each in set(stack).difference(diff_ids)):
            self._layers.write_out()
        if len(stack) > LAYERS_MAX:
            raise UsageError(f"the image needs {len(stack)} layers; overlayfs stacks at most {LAYERS_MAX}")
        return stack

    def is_unchanged(self) -> bool:
        """Whether what ``build`` has looked into is still there: a layer that was removed and came anew differs."""
        before = dict(self._seen)
        try:
            for diff_id in before:
                self._see(diff_id)
        except FileNotFoundError:
            return False
        return self._seen == before

    def forget_seams(self) -> None:
        """Drop the seams of ``build``: they were made while a layer below was taken away, and may be wrong."""
        self._layers.forget(self._seams)
        self._seams.clear()

    def keep_seams(self) -> None:
        """Keep the seams of ``build``: the image has been committed."""
        self._seams.clear()

    def _seam(
        self, diff_ids: tuple[str, ...], archive: str, metadata: LayerMetadata, below: Sequence[str]
    ) -> str | None:
        """Return the seam on top of the last of these layers, whose archive that is; None when there need be none."""
        if not (metadata.implied or metadata.once_implied):
            return None
        seam = f"sha256:{seam_name(diff_ids)}"
        if not self._layers.missing([seam]):
            return seam
        target = self._layers.new_directory()
        lower = [self._layers.path(each) for each in reversed(below)]
        with blame_layer(archive), closing(self._layers.entries(archive)) as entries:
            space = SpaceGuard(target, self._layers.check_cancelled)
            made = make_seam(self._layers.path(diff_ids[-1]), metadata, lower, target, entries, space.look)
        if made is None:
            target.rmdir()
            return None
        self._layers.add(seam, target, made)
        self._seams.add(seam)
        return seam

    def _see(self, diff_id: str) -> None:
        """Remember which directory a layer is in, before anything is looked up in it: one that comes anew differs."""
        status = self._layers.path(diff_id).stat()
        self._seen[diff_id] = status.st_ino, status.st_ctime_ns

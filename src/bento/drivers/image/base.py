"""What the engine needs of an image source."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from bento.model.image import Image, ImageConfig


def nothing(image: Image) -> tuple[str, ...]:
    """Record nothing: the ``record`` of an import whose image the caller keeps to itself."""
    return ()


class ImageDriver(Protocol):
    """Turns a root filesystem into an image below the engine's root.

    Records of images and containers are the engine's; which layers they stand on is not known here. So that
    no layer goes whose record is just being written, layers come and go only while the engine looks: ``record``
    and ``choose`` are called alone, with nobody inside ``kept`` and no other such call under way. They may block
    others, so they are short; they must not call the driver's blocking methods.
    """

    def import_rootfs(
        self, source: Path, name: str, config: ImageConfig, record: Callable[[Image], Iterable[str]] = nothing
    ) -> Image:
        """Copy a directory, or unpack a tar archive, into a layer of its own; return the image.

        ``record`` stores it once its layer is in place, and returns the layers that nobody stands on any more.
        Blocks. Raises UsageError when there is nothing usable at ``source``, StorageUnusable when the disk is full;
        then nothing is left below the root.
        """

    def kept(self) -> AbstractContextManager[None]:
        """Return a context in which no layer goes: from finding an image to the record of who stands on it."""

    def remove_layers(self, choose: Callable[[], Iterable[str]]) -> list[str]:
        """Delete the layers that ``choose`` returns, and return them. Idempotent. Blocks while they are deleted."""

    def layers(self) -> list[str]:
        """Return the complete layers on disk, as images name them."""

    def leftovers(self) -> list[str]:
        """Return what interrupted imports and removals have left, for ``doctor``; empty while one is under way."""

    def remove_leftovers(self) -> list[str]:
        """Delete what ``leftovers`` names; return it. Idempotent."""

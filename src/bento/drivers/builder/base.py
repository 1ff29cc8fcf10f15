"""What the engine needs of the program that builds images."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from bento.model.transfer import BuildOptions


class BuildSession(Protocol):
    """One build. ``directory`` is its own, empty at first, and goes with it."""

    directory: Path

    def place_of(self, name: str) -> str:
        """Return where a base image of this full name is to be put, as ``TRANSPORT:DETAILS`` of a transport.

        What is put there is to be put in a private mount namespace.
        """

    def has(self, name: str, image_id: str) -> bool:
        """Whether the builder has the image of this id, the digest of its configuration, under this full name."""

    def build(self, options: BuildOptions, *, context: Path, containerfile: Path, output_fd: int | None) -> Path:
        """Build; return an archive with the image, in ``directory``. Blocks.

        ``output_fd`` gets what the builder and the commands of the build write; None: nothing does. Raises BuildFailed
        with the last line of that, MissingTool. When it raises, KeyboardInterrupt included, nothing of the build runs.
        """


class BuilderDriver(Protocol):
    """Builds images, with a cache below the engine's root; knows nothing of records."""

    def session(self) -> AbstractContextManager[BuildSession]:
        """Return the context of a build. Several may go on at once. Raises MissingTool, StorageUnusable."""

    def size_bytes(self) -> int:
        """Return how much room the cache takes on disk. Blocks while it looks at each file."""

    def used_unix_ns(self) -> int:
        """Return when the last build began or ended; 0: there was none."""

    def prune(self) -> int:
        """Delete the cache, and return how many bytes that frees. 0, and nothing is deleted, while a build goes on."""

    def leftovers(self) -> list[str]:
        """Return what builds that were killed have left; not what is in use."""

    def remove_leftovers(self) -> list[str]:
        """Delete what ``leftovers`` names; return it. Idempotent."""

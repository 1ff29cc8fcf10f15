"""What the engine needs of the place where volumes are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class VolumeDriver(Protocol):
    """The files of volumes below the engine's root, by name. Records of them are the engine's."""

    def changing(self) -> AbstractContextManager[None]:
        """Return a context in which no other process makes or removes a volume: held for moments, never for copying."""

    def path(self, name: str) -> Path:
        """Return the directory that is mounted in containers."""

    def make(self, name: str) -> None:
        """Make a volume's directory, empty. Idempotent. Called within ``changing``. Raises StorageUnusable."""

    def fill(self, name: str, source_fd: int, left_out: Collection[tuple[int, int]] = ()) -> bool:
        """Give an empty volume what a directory holds, and its owner, mode and times; False when it is not empty.

        Nothing half copied ever shows: an interrupted one is done again, or finished, by the next. Blocks while
        files are copied, and while another process fills it. ``left_out``: directories by device and inode.
        Raises StorageUnusable when the disk is full.
        """

    def mount(self, name: str, options: Mapping[str, str]) -> None:
        """Mount what a volume's ``type``, ``o`` and ``device`` name over its directory.

        In the calling thread's mount namespace, which is to be a private one: it is gone with that. Raises
        StorageUnusable with the words of mount(8), MissingTool. Blocks while a server does not answer.
        """

    def remove(self, name: str) -> None:
        """Free a volume's name. Idempotent. Called within ``changing``; ``clear`` deletes the files."""

    def clear(self, name: str) -> None:
        """Delete the files of what ``remove`` removed under this name. Idempotent. Blocks while they are deleted."""

    def names(self) -> list[str]:
        """Return the volumes that have a directory."""

    def is_empty(self, name: str) -> bool:
        """Whether nothing is in a volume, or it is not there."""

    def size_bytes(self, name: str) -> int:
        """Return how much room the files of a volume take on disk. Blocks while it looks at each."""

    def leftovers(self) -> list[str]:
        """Return what interrupted removals and copies have left, for ``doctor``; not what a process is working on."""

    def remove_leftovers(self) -> list[str]:
        """Delete, or finish, what ``leftovers`` names; return it. Idempotent."""

"""What ``cp`` needs of the files at either end of it: ``open_tree`` has them by descriptors, ``tar_tree`` by a tar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from bento.files.entry import Entry

if TYPE_CHECKING:
    from bento.engine.files.copy_path import CopyPath, CopyState

Put = Callable[[Iterable[Entry]], None]
"""Puts all entries where they go. Raises OSError by the path, Conflict."""


class Tree(Protocol):
    """The files below a root. Raises NotFound and Conflict, which name the path and where it is."""

    def path(self, text: str) -> CopyPath:
        """Return a path of it, as it was written."""

    def read(self, source: CopyPath, state: CopyState) -> AbstractContextManager[Iterator[Entry]]:
        """Give what a path has, the top first, under the path ""."""

    def write(
        self, target: CopyPath, source: CopyPath, state: CopyState, *, is_directory: bool
    ) -> AbstractContextManager[Put]:
        """Give what takes a source at a path, by Docker's rules. ``is_directory``: whether the source is one.

        Into a directory that is there, under the source's name; under the name that is given otherwise.
        """


class ContainerTree(Tree, Protocol):
    """A container's files. What waits here does so for as long as the container lives."""

    def check(self) -> None:
        """Raise WrongState when the container has ended meanwhile."""

    def unpack(self, target: CopyPath) -> AbstractContextManager[Put]:
        """Give what takes the entries of an archive in a directory that is there, owners and all."""

    def read_from(self, fd: int, size: int) -> bytes:
        """Read some of an archive. Blocks."""

    def write_to(self, fd: int, data: bytes) -> None:
        """Write all of it. Blocks."""

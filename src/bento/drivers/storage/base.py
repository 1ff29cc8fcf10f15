"""What the engine needs of storage: a writable root filesystem per container, and proof that it was released."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from bento.files.tree import Taken
from bento.model.namespaces.mapping import IdMapping

VIEW_SOURCE: Final = "bento"
"""What a table of mounts names as the source of a view (``MappedRoot``)."""
UPPER_IN_VIEW: Final = "top/upper"


class Holder(Struct, frozen=True):
    """A process whose mount namespace still holds a container's root filesystem."""

    pid: int
    comm: str


class ReleaseWatch(Protocol):
    """Reports when no process holds a root filesystem any more. Watching holds nothing. No call blocks."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``read`` has something to return."""

    def add(self, pid: int) -> int | None:
        """Watch the root filesystem of this live process; return a token. None: it is gone, or cannot be watched."""

    def read(self) -> list[int]:
        """Return the tokens of what was released since the last call; these are watched no more."""

    def remove(self, token: int) -> None:
        """Watch it no more. Idempotent."""

    def close(self) -> None:
        """Watch nothing any more. Idempotent."""


class Mounts(Protocol):
    """What is mounted beside the root filesystems, all in the calling thread's mount namespace. Raises KernelError."""

    def open_tree(self, path: str, *, recursive: bool) -> int:
        """Return a detached copy of the mount at ``path``, and of those below it when ``recursive``; the caller closes
        it. A process that holds the descriptor holds the filesystems, in any namespace.
        """

    def is_shared(self, path: str) -> bool:
        """Whether what is mounted below ``path`` reaches other namespaces (mount_namespaces(7))."""

    def bind(self, source: str, target: str) -> None:
        """Mount a file or directory, with all that is mounted below it."""

    def hide(self, target: str) -> None:
        """Mount something empty and read-only on a directory."""

    def refuse_writes(self, target: str) -> None:
        """Make the mount at ``target`` read-only; not those below it."""


class MappedRoot(Struct, frozen=True):
    """A root filesystem with other ids: where it is, and the directory in which more is mounted for its runtime."""

    rootfs: Path
    view: Path


class IdMaps(Protocol):
    """User namespaces, and mounts that show the ids of files as those of one."""

    def namespace(self, mapping: IdMapping) -> int:
        """Return a descriptor of a new user namespace with these ids, in which nothing runs; the caller closes it.

        Blocks for some milliseconds. Raises KernelError, MissingTool.
        """

    def namespaces(self, mapping: IdMapping, kinds: Collection[str]) -> dict[str, int]:
        """As ``namespace``, with new ones of ``kinds`` net, ipc and uts, which belong to it; by kind, and "user"."""

    def open_tree(self, path: str, namespace_fd: int, *, recursive: bool) -> int:
        """As ``Mounts.open_tree``, with ids shown as those of the namespace.

        Raises StorageUnusable where the kernel, or a filesystem there, has no such mounts.
        """

    def open_streams(self, pidfd: int) -> None:
        """Let all of a user namespace open the pipes that are the standard streams of a process, as /dev/stdout.

        They belong to root, which has no id there. No error where the process has ended.
        """

    def making_files_as(self, owner: tuple[int, int]) -> AbstractContextManager[None]:
        """Have the calling thread make files as this user and group of the machine, and with all its capabilities."""


class StorageDriver(Protocol):
    """Directories below the engine's root, one per container."""

    def check(self) -> None:
        """Raise StorageUnusable when the root cannot hold containers, naming the filesystem and the way out."""

    def prepare(self, container_id: str) -> Path:
        """Make the container's directories; return its bundle directory. Idempotent."""

    def bundle(self, container_id: str) -> Path:
        """Return the bundle directory: config.json, rootfs, log."""

    def upper(self, container_id: str) -> Path:
        """Return the directory that holds what the container has changed, as overlayfs keeps it."""

    def mount(self, container_id: str, layers: tuple[str, ...]) -> Path:
        """Mount the root filesystem in the calling thread's mount namespace; return where.

        ``layers`` are lower directories, topmost first. The caller must be in a private namespace.
        """

    def check_mapped(self, namespace_fd: int, owner: tuple[int, int]) -> None:
        """Raise StorageUnusable where the root filesystem of a container cannot be shown with other ids.

        As ``mount_mapped``, tried on directories that are removed again. Some milliseconds.
        """

    def mount_mapped(
        self,
        container_id: str,
        layers: tuple[str, ...],
        namespace_fd: int,
        owner: tuple[int, int],
        kept: Iterable[Path],
    ) -> MappedRoot:
        """As ``mount``, with ids shown as those of a user namespace: on the disk they are the container's own.

        Both are where root of that namespace (``owner`` on this machine) can reach them: on directories of the
        machine's, which they cover in this mount namespace, and which have none of ``kept``. ``mount`` is not in effect
        meanwhile. Raises StorageUnusable, KernelError.
        """

    def mount_in_view(self, view: Path, name: str, mount_fd: int) -> Path:
        """Put a detached mount into a view of ``mount_mapped``, under a name; return where."""

    def mount_beside(self, container_id: str, name: str, mount_fd: int) -> None:
        """Put a detached mount into the bundle, at a directory ``name`` that is made for it, as ``mount``."""

    def mount_image(self, container_id: str, name: str, layers: tuple[str, ...], sub_path: str) -> Path:
        """Mount an image, read-only, beside the root filesystem, as ``mount``; return where it is, or a path in it.

        Raises UsageError where that path is not there; StorageUnusable, KernelError.
        """

    def unmount(self, container_id: str) -> None:
        """Unmount the root filesystem in the calling thread's mount namespace, and its view. Idempotent.

        Never lazy for the root filesystem, so that what holds it is seen: KernelError after 0.1 s where it is busy.
        """

    def watch_releases(self) -> ReleaseWatch | None:
        """Return what reports root filesystems that are released; None where this cannot be had. Close it."""

    def is_held(self, container_id: str) -> bool:
        """Whether any mount namespace of this machine still holds the root filesystem. Cheap: asks the kernel once,
        which writes a line to its log; where there is a choice, ``watch_releases`` is the silent way.
        """

    def holders(self, container_id: str) -> list[Holder]:
        """Return the processes that hold it, from every /proc/PID/mountinfo. Slow."""

    def size_bytes(self, container_id: str) -> int:
        """Return how much of the disk the container's directories take: what ``remove`` frees. Looks at every file."""

    def taken(self, container_id: str) -> Taken:
        """Return what the container's directories take of the disk. Looks at every file."""

    def remove(self, container_id: str) -> None:
        """Delete the container's directories. Idempotent. Whether they are held is for the caller to know."""

    def ids(self) -> list[str]:
        """Return the ids that have a directory."""

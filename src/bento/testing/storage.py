"""Storage without mounts, for unit tests of the engine: real bundle directories, pretended root filesystems."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from bento.drivers.storage.base import Holder, MappedRoot, ReleaseWatch
from bento.errors import BentoError, StorageUnusable
from bento.files.tree import Taken, remove_tree, taken
from bento.model.namespaces.mapping import IdMapping


class FakeMounts:
    """Mounts that only remembers what is done, and shows what is there already."""

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []

    def open_tree(self, path: str, *, recursive: bool) -> int:
        """Open the directory itself."""
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def is_shared(self, path: str) -> bool:
        """Say that all are."""
        return True

    def bind(self, source: str, target: str) -> None:
        """Remember."""
        self.done.append(("bind", source, target))

    def hide(self, target: str) -> None:
        """Remember."""
        self.done.append(("hide", target))

    def refuse_writes(self, target: str) -> None:
        """Remember."""
        self.done.append(("refuse_writes", target))


class FakeIdMaps:
    """User namespaces that are only remembered, by their ids; no id is changed."""

    def __init__(self) -> None:
        self.made: list[IdMapping] = []

    def namespace(self, mapping: IdMapping) -> int:
        """Remember it; return what can be closed."""
        self.made.append(mapping)
        return os.open("/", os.O_PATH | os.O_CLOEXEC)

    def namespaces(self, mapping: IdMapping, kinds: Collection[str]) -> dict[str, int]:
        """Remember it; return what can be closed."""
        return {kind: self.namespace(mapping) for kind in ("user", *kinds)}

    def open_tree(self, path: str, namespace_fd: int, *, recursive: bool) -> int:
        """Open the file or directory itself."""
        return os.open(path, os.O_PATH | os.O_CLOEXEC)

    def open_streams(self, pidfd: int) -> None:
        """Do nothing: they are no pipes."""

    def making_files_as(self, owner: tuple[int, int]) -> AbstractContextManager[None]:
        """Change nothing."""
        return nullcontext()


class FakeStorage:
    """A StorageDriver that only remembers what is mounted. Tests set ``failure`` and change ``held``."""

    def __init__(self, root: Path) -> None:
        self._containers = root / "containers"
        self.held: dict[str, list[Holder]] = {}
        self.mounted: dict[str, tuple[str, ...]] = {}
        self.failure: BentoError | None = None

    def check(self) -> None:
        """Raise ``failure``, when there is one."""
        if self.failure is not None:
            raise self.failure

    def prepare(self, container_id: str) -> Path:
        """Make the container's directories; return its bundle directory. Idempotent."""
        self.check()
        bundle = self.bundle(container_id)
        for name in ("rootfs", "upper", "work"):
            (bundle / name).mkdir(parents=True, exist_ok=True)
        return bundle

    def bundle(self, container_id: str) -> Path:
        """Return the bundle directory."""
        return self._containers / container_id

    def upper(self, container_id: str) -> Path:
        """Return the directory that holds what the container has changed."""
        return self.bundle(container_id) / "upper"

    def mount(self, container_id: str, layers: tuple[str, ...]) -> Path:
        """Remember the layers; from now on the root filesystem is held, until the test calls ``let_go``."""
        for layer in layers:
            if not Path(layer).is_dir():
                raise StorageUnusable(f"the layer {layer} is missing")
        self.mounted[container_id] = layers
        self.held.setdefault(container_id, [])
        return self.bundle(container_id) / "rootfs"

    def check_mapped(self, namespace_fd: int, owner: tuple[int, int]) -> None:
        """As ``check``."""
        self.check()

    def mount_mapped(
        self,
        container_id: str,
        layers: tuple[str, ...],
        namespace_fd: int,
        owner: tuple[int, int],
        kept: Iterable[Path],
    ) -> MappedRoot:
        """As ``mount``."""
        return MappedRoot(self.mount(container_id, layers), self.bundle(container_id))

    def mount_in_view(self, view: Path, name: str, mount_fd: int) -> Path:
        """Say where it would be."""
        return view / name

    def let_go(self, container_id: str) -> None:
        """Do what the kernel does when the last process in the mount namespace has ended."""
        self.held.pop(container_id, None)
        self.mounted.pop(container_id, None)

    def mount_image(self, container_id: str, name: str, layers: tuple[str, ...], sub_path: str) -> Path:
        """Say where it would be."""
        return self.bundle(container_id) / name

    def mount_beside(self, container_id: str, name: str, mount_fd: int) -> None:
        """Nothing is mounted."""

    def unmount(self, container_id: str) -> None:
        """Forget the mount. Idempotent."""
        self.let_go(container_id)

    def watch_releases(self) -> ReleaseWatch | None:
        """Return None: there is no kernel to watch."""
        return None

    def is_held(self, container_id: str) -> bool:
        """Whether the root filesystem is mounted."""
        return container_id in self.held

    def holders(self, container_id: str) -> list[Holder]:
        """Return its holders, as the test has set them."""
        return list(self.held.get(container_id, []))

    def size_bytes(self, container_id: str) -> int:
        """Return how much of the disk the container's directories take."""
        return self.taken(container_id).used_bytes

    def taken(self, container_id: str) -> Taken:
        """Return what the container's directories take of the disk."""
        return taken(self.bundle(container_id))

    def remove(self, container_id: str) -> None:
        """Delete the container's directories. Idempotent. Whether they are held is for the caller to know."""
        remove_tree(self.bundle(container_id))

    def ids(self) -> list[str]:
        """Return the ids that have a directory."""
        return sorted(path.name for path in self._containers.iterdir()) if self._containers.is_dir() else []

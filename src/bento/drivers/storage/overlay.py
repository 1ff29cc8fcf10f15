"""Root filesystems on overlayfs: one writable directory per container above shared, read-only layers."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bento.drivers.storage.base import UPPER_IN_VIEW, VIEW_SOURCE, Holder, MappedRoot, ReleaseWatch
from bento.errors import KernelError, NotPermitted, StorageUnusable, UsageError, as_bento_error, is_shortage
from bento.files.rootfs import open_in_root
from bento.files.tree import Taken, remove_tree, taken
from bento.kernel import libc
from bento.kernel.inotify import Unmounts
from bento.kernel.mount import detach, is_upper_in_use, overlay, unmount
from bento.kernel.mountinfo import MountEntry, mount_table
from bento.kernel.namespace import in_private_mounts
from bento.kernel.process.interrupts import uninterrupted
from bento.kernel.process.proc import live_tid
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.drivers.storage import mapped
else:  # few containers have ids of their own
    mapped = LazyModule("bento.drivers.storage.mapped")

_UNFIT: Final = frozenset(
    ("overlay", "ramfs", "rootfs", "nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "vfat", "exfat", "msdos", "ntfs3")
)
"""Filesystems that overlayfs refuses as upper, or that lack trusted.* xattrs or d_type (Documentation/filesystems/
overlayfs.rst, "Upper and Lower"). Others are tried."""

_BUSY_TRIES: Final = 50
_BUSY_PAUSE_S: Final = 0.002
_SCRATCH: Final = ".check-"
_HINT: Final = "use --root on ext4, xfs, btrfs or tmpfs"


class OverlayStorage:
    """A StorageDriver below ``<root>/containers``. Keeps nothing in memory; safe between processes.

    Callers hold the container's operation lock for everything that changes something.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._containers = root / "containers"

    def check(self) -> None:
        """Raise StorageUnusable when the root cannot hold containers; NotPermitted without the privilege to mount.

        Mounts a small overlay in a private namespace and writes to it; nothing is left. A few milliseconds.
        """
        # A handler that raises would leave it behind: what comes meanwhile comes after that.
        with uninterrupted():
            self._check(_try_overlay)

    def check_mapped(self, namespace_fd: int, owner: tuple[int, int]) -> None:
        """See ``StorageDriver.check_mapped``."""
        with uninterrupted():
            self._check(lambda scratch: _try_mapped(scratch, namespace_fd, owner))

    def _check(self, attempt: Callable[[Path], object]) -> None:
        scratch = self._containers / f"{_SCRATCH}{os.getpid()}-{os.urandom(4).hex()}"
        try:
            self._make_containers()
            for name in ("lower", "upper", "work", "rootfs"):
                os.makedirs(scratch / name, mode=0o700)
            if (fstype := _filesystem(scratch)) in _UNFIT:
                raise _unfit(self._root, fstype)
            in_private_mounts(lambda: attempt(scratch))
        except OSError as error:
            if is_shortage(error):
                raise as_bento_error(error) from error
            raise _explain(self._root, error.errno or 0, error.strerror or str(error)) from error
        except KernelError as error:
            if error.call == "clone":  # says nothing of the root
                raise
            raise _explain(self._root, error.errno, str(error)) from error
        finally:
            # On a read-only filesystem the kernel says so even of what is not there, which would be reported instead.
            if scratch.exists():
                remove_tree(scratch)

    def prepare(self, container_id: str) -> Path:
        """Make the container's directories; return its bundle directory. Idempotent.

        Raises StorageUnusable when the disk is full or read-only, NotPermitted; then nothing new is left.
        """
        bundle = self.bundle(container_id)
        is_new = not bundle.exists()
        try:
            self._make_containers()
            os.makedirs(bundle, mode=0o700, exist_ok=True)
            # The root directory of a container shows the mode of ``upper``, see ``mount``.
            for name, mode in (("rootfs", 0o755), ("upper", 0o755), ("work", 0o700)):
                _make_directory(bundle / name, mode)
        except OSError as error:
            if is_new:
                remove_tree(bundle)
            raise _explain(self._root, error.errno or 0, error.strerror or str(error)) from error
        return bundle

    def _make_containers(self) -> None:
        """Make the directory of all containers, for root alone: what is in them may have a set-user-ID bit."""
        os.makedirs(self._containers, mode=0o700, exist_ok=True)
        if os.stat(self._containers).st_mode & 0o077:
            os.chmod(self._containers, 0o700)

    def bundle(self, container_id: str) -> Path:
        """Return the bundle directory."""
        return self._containers / container_id

    def upper(self, container_id: str) -> Path:
        """Return the directory that holds what the container has changed."""
        return self.bundle(container_id) / "upper"

    def mount(self, container_id: str, layers: tuple[str, ...]) -> Path:
        """Mount the root filesystem in the calling thread's (private) mount namespace; return where.

        Raises StorageUnusable when a layer is missing or the root's filesystem cannot be an upper layer.
        """
        bundle = self.bundle(container_id)
        try:
            _inherit_root(bundle, layers)
            overlay(bundle / "rootfs", lower=layers, upper=bundle / "upper", work=bundle / "work")
        except FileNotFoundError as error:
            raise StorageUnusable(
                f"{error.filename} is missing", hint="import the image again, then create the container anew"
            ) from error
        except OSError as error:
            raise _explain(self._root, error.errno or 0, error.strerror or str(error)) from error
        except KernelError as error:
            raise self._explain_mount(layers, error) from error
        return bundle / "rootfs"

    def _explain_mount(self, layers: tuple[str, ...], error: KernelError) -> Exception:
        for layer in layers:
            if not os.path.isdir(layer):
                return StorageUnusable(
                    f"the layer {layer} is missing", hint="import the image again, then create the container anew"
                )
        return _explain(self._root, error.errno, str(error), fstype=_filesystem(self._containers))

    def mount_mapped(
        self,
        container_id: str,
        layers: tuple[str, ...],
        namespace_fd: int,
        owner: tuple[int, int],
        kept: Iterable[Path],
    ) -> MappedRoot:
        """See ``StorageDriver.mount_mapped``."""
        chosen = mapped.make_view(container_id, (self._root, *kept))
        try:
            mapped.mount_overlay(chosen, self.bundle(container_id), layers, namespace_fd, owner)
        except OSError as error:
            raise _explain(self._root, error.errno or 0, error.strerror or str(error)) from error
        return chosen

    def mount_in_view(self, view: Path, name: str, mount_fd: int) -> Path:
        """See ``StorageDriver.mount_in_view``."""
        place = view / name
        mapped.make_point(place, is_directory=stat.S_ISDIR(os.fstat(mount_fd).st_mode))
        libc.move_mount(mount_fd, str(place))
        return place

    def mount_beside(self, container_id: str, name: str, mount_fd: int) -> None:
        """See ``StorageDriver.mount_beside``."""
        place = self.bundle(container_id) / name
        place.mkdir(mode=0o700, exist_ok=True)
        libc.move_mount(mount_fd, str(place))

    def mount_image(self, container_id: str, name: str, layers: tuple[str, ...], sub_path: str) -> Path:
        """See ``StorageDriver.mount_image``."""
        place = self.bundle(container_id) / name
        place.mkdir(mode=0o755, exist_ok=True)
        overlay(place, lower=(*layers, str(place)))  # itself, which is empty: one layer alone would be refused
        if not sub_path.strip("/"):
            return place
        try:
            fd = open_in_root(place, sub_path, os.O_PATH)
        except KernelError as error:
            raise UsageError(f"{sub_path} in the image: {os.strerror(error.errno)}", hint="see what it has") from None
        try:
            part = place.with_name(f"{name}-part")
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                part.mkdir(mode=0o755, exist_ok=True)
            else:
                part.touch(mode=0o644)
            tree = libc.open_tree(f"/proc/self/fd/{fd}", recursive=False)
            try:
                libc.move_mount(tree, str(part))
            finally:
                os.close(tree)
        finally:
            os.close(fd)
        return part

    def unmount(self, container_id: str) -> None:
        """See ``StorageDriver.unmount``."""
        mounted = mount_table()
        marks = self._marks(container_id)
        for entry in mounted:
            if entry.fstype == "overlay" and _is_ours(entry, *marks):
                _unmount(Path(entry.target))
        for entry in mounted:
            if entry.source == VIEW_SOURCE and os.path.isdir(f"{entry.target}/{container_id}"):
                detach(Path(entry.target))

    def watch_releases(self) -> ReleaseWatch | None:
        """Return one inotify instance for any number of root filesystems."""
        try:
            return Unmounts()
        except KernelError:  # this user has as many instances as the kernel allows: then ``is_held`` must do
            return None

    def is_held(self, container_id: str) -> bool:
        """Whether any mount namespace of this machine still holds the root filesystem. Asks the kernel once."""
        return is_upper_in_use(self.bundle(container_id) / "upper")

    def holders(self, container_id: str) -> list[Holder]:
        """Return its holders: all processes in mount namespaces that show it. Reads every /proc/PID/mountinfo once
        per namespace: slow. A namespace that only an open file keeps alive has no process to name."""
        marks = self._marks(container_id)
        seen: dict[str, bool] = {}
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            pid = int(name)
            tid = live_tid(pid)
            try:
                namespace = os.readlink(f"/proc/{tid}/ns/mnt")
                comm = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
            except OSError:  # it is gone, or a zombie: neither holds a mount
                continue
            if namespace not in seen:
                seen[namespace] = any(
                    entry.fstype == "overlay" and _is_ours(entry, *marks) for entry in mount_table(tid)
                )
            if seen[namespace]:
                found.append(Holder(pid=pid, comm=comm))
        return sorted(found, key=lambda holder: holder.pid)

    def _marks(self, container_id: str) -> tuple[str, str, str]:
        """Return what tells the root filesystem of a container: its place, its upper directory, and that in a view."""
        bundle = self.bundle(container_id)
        return str(bundle / "rootfs"), f"upperdir={bundle / 'upper'}", f"/{container_id}/{UPPER_IN_VIEW}"

    def size_bytes(self, container_id: str) -> int:
        """Return how much of the disk the container's directories take. Looks at every file."""
        return self.taken(container_id).used_bytes

    def taken(self, container_id: str) -> Taken:
        """See ``StorageDriver.taken``."""
        return taken(self.bundle(container_id))  # what is mounted at ``rootfs`` in a namespace of its own is not seen

    def remove(self, container_id: str) -> None:
        """Delete the container's directories. Idempotent. Whether they are held is for the caller to know."""
        remove_tree(self.bundle(container_id))

    def ids(self) -> list[str]:
        """Return the ids that have a directory; with them what a ``check`` that was killed has left."""
        try:
            names = os.listdir(self._containers)
            return sorted(name for name in names if not name.startswith(".") or _is_abandoned(name))
        except FileNotFoundError:
            return []


def _is_ours(entry: MountEntry, rootfs: str, upper: str, in_view: str) -> bool:
    options = entry.options.split(",")
    return entry.target == rootfs or any(
        one == upper or (one.startswith("upperdir=") and one.endswith(in_view)) for one in options
    )


def _unmount(target: Path) -> None:
    """Unmount what may be busy for a moment: a fork in another thread has copies of descriptors until it executes."""
    for _ in range(_BUSY_TRIES):
        try:
            unmount(target)
            return
        except KernelError as error:
            if error.errno != errno.EBUSY:
                raise
        time.sleep(_BUSY_PAUSE_S)  # the kernel does not tell
    unmount(target)


def _is_abandoned(name: str) -> bool:
    """Whether the process that made this scratch directory, and is named in it, is gone."""
    return name.startswith(_SCRATCH) and not os.path.exists("/proc/" + name.split("-")[1])


def _make_directory(path: Path, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    os.chmod(path, mode)  # whatever the umask


def _inherit_root(bundle: Path, layers: tuple[str, ...]) -> None:
    """Give a fresh upper directory the owner and mode of the image's /, which it hides."""
    # The kernel makes work/work at the first mount: from then on / belongs to the container, which may change it.
    if (bundle / "work" / "work").exists():
        return
    below = os.stat(layers[0])
    os.chown(bundle / "upper", below.st_uid, below.st_gid)
    os.chmod(bundle / "upper", below.st_mode & 0o7777)


def _try_overlay(scratch: Path) -> None:
    rootfs = scratch / "rootfs"
    overlay(rootfs, lower=[os.fspath(scratch / "lower")], upper=scratch / "upper", work=scratch / "work")
    try:
        os.mkdir(rootfs / "directory")
    finally:
        detach(rootfs)


def _try_mapped(scratch: Path, namespace_fd: int, owner: tuple[int, int]) -> None:
    chosen = mapped.make_view(scratch.name, (scratch,))
    mapped.mount_overlay(chosen, scratch, (os.fspath(scratch / "lower"),), namespace_fd, owner)
    detach(chosen.rootfs)


def _filesystem(path: Path) -> str:
    """Return the type of the filesystem that ``path`` is on; "" when it cannot be known."""
    wanted = os.path.realpath(path)
    best, fstype = -1, ""
    for entry in mount_table():
        prefix = entry.target.rstrip("/") + "/"
        # Later lines of the table lie above earlier ones: the last of the longest wins.
        if (wanted + "/").startswith(prefix) and len(prefix) >= best:
            best, fstype = len(prefix), entry.fstype
    return fstype


def _unfit(root: Path, fstype: str) -> StorageUnusable:
    return StorageUnusable(f"{root} is on {fstype or 'a filesystem'}, which cannot hold containers", hint=_HINT)


def _explain(root: Path, code: int, reason: str, *, fstype: str = "") -> StorageUnusable | NotPermitted:
    if code in (errno.ENOSPC, errno.EDQUOT):
        return StorageUnusable(f"the disk of {root} is full", hint="free some space and try again")
    if code == errno.EROFS:
        return StorageUnusable(f"{root} is on a read-only filesystem", hint="choose a --root that can be written")
    if code in (errno.EPERM, errno.EACCES):
        return NotPermitted(f"{root} cannot be used: {reason}", hint="run as root, with CAP_SYS_ADMIN")
    if code == errno.ENODEV:
        return StorageUnusable("this kernel has no overlayfs", hint="load it: modprobe overlay")
    if code == errno.EINVAL and fstype:
        return _unfit(root, fstype)
    return StorageUnusable(f"{root} cannot hold containers: {reason}", hint=_HINT)

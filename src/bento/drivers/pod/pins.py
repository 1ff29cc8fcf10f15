"""Namespaces kept by bind mounts below the run root, as ``ip netns`` keeps its own: no process is needed for one.

A mount namespace begins with copies of all of them, which would keep the namespaces of pods that are removed while it
is there. So they are below one mount point of the host's, a bind mount of the directory on itself, which is shared:
what is unmounted below it is unmounted in other mount namespaces, too, unless these are cut off (mount_namespaces(7)).
Those of Bento's own containers are rid of that place as soon as they are made
(``kernel.namespace.in_private_mounts``). It goes with the last pod.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from bento.errors import KernelError, StorageUnusable, UsageError
from bento.files.tree import remove_tree
from bento.kernel import libc, mount, namespace
from bento.kernel.net import links
from bento.model.pods import Pin

DIRECTORY: Final = "pods"
"""Below the run root."""
_FLAGS: Final = {"net": libc.CLONE_NEWNET, "ipc": libc.CLONE_NEWIPC, "uts": libc.CLONE_NEWUTS}
_USER: Final = "user"
_SHM: Final = "shm"
_SHM_BYTES: Final = 64 << 20
_SHM_FLAGS: Final = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC


class PodPins:
    """Implements ``PodDriver`` for the engine whose run root this is."""

    def __init__(self, run_root: Path) -> None:
        self._home = run_root / DIRECTORY

    def make(
        self,
        pod_id: str,
        kinds: Collection[str],
        *,
        hostname: str = "",
        sysctls: Mapping[str, str],
        shm_bytes: int | None = None,
        given: Mapping[str, int] | None = None,
        root: tuple[int, int] = (0, 0),
    ) -> tuple[Pin, ...]:
        """See ``PodDriver.make``."""
        self.remove(pod_id)
        try:
            self._have_home()
            self.directory(pod_id).mkdir(mode=0o700)
            if "ipc" in kinds:
                self._mount_shm(pod_id, _SHM_BYTES if shm_bytes is None else shm_bytes, root)
            flags = 0
            for kind in kinds:
                flags |= _FLAGS[kind]
            if given is not None:
                own = [fd for kind, fd in given.items() if kind != _USER]
                sources = {kind: f"/proc/self/fd/{fd}" for kind, fd in sorted(given.items())}
                return namespace.in_given(own, lambda: self._fill(pod_id, sources, hostname, sysctls, root[0]))
            sources = {kind: f"/proc/thread-self/ns/{kind}" for kind in sorted(kinds)}
            return namespace.in_new(flags, lambda: self._fill(pod_id, sources, hostname, sysctls, root[0]))
        except BaseException as error:
            with suppress(KernelError):
                self.remove(pod_id)
            if isinstance(error, OSError):
                raise StorageUnusable(f"{error.filename}: {error.strerror}", hint="is the disk full?") from error
            raise

    def _fill(
        self, pod_id: str, sources: Mapping[str, str], hostname: str, sysctls: Mapping[str, str], root: int
    ) -> tuple[Pin, ...]:
        """In the new namespaces, which are kept from where ``sources`` says."""
        if "net" in sources:
            links.set_up(links.index_of("lo"))
        if "uts" in sources and hostname:
            socket.sethostname(hostname)
        for key, value in sysctls.items():
            _set(key, value, root)
        pins = []
        for kind, source in sources.items():
            place = self.path(pod_id, kind)
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            mount.bind(source, str(place))
            pins.append(Pin(kind, os.stat(place).st_ino))
        return tuple(pins)

    def path(self, pod_id: str, kind: str) -> Path:
        """See ``PodDriver.path``."""
        return self.directory(pod_id) / kind

    def directory(self, pod_id: str) -> Path:
        """See ``PodDriver.directory``."""
        return self._home / pod_id

    def open(self, pod_id: str, pin: Pin) -> int | None:
        """See ``PodDriver.open``."""
        try:
            fd = os.open(self.path(pod_id, pin.kind), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        if os.fstat(fd).st_ino == pin.inode:
            return fd
        os.close(fd)
        return None

    def open_shm(self, pod_id: str) -> int | None:
        """See ``PodDriver.open_shm``."""
        if not self._is_mounted(self.directory(pod_id), _SHM):
            return None
        return libc.open_tree(str(self.directory(pod_id) / _SHM), recursive=False)

    def is_whole(self, pod_id: str, pins: Collection[Pin]) -> bool:
        """See ``PodDriver.is_whole``. The inode of a namespace is no other's while it is there (ioctl_ns(2))."""
        try:
            # Not by ``path``: a kubelet looks at every pod each second, and a Path costs more than the look.
            return all(os.stat(f"{self._home}/{pod_id}/{pin.kind}").st_ino == pin.inode for pin in pins)
        except FileNotFoundError:
            return False

    def remove(self, pod_id: str) -> None:
        """See ``PodDriver.remove``."""
        directory = self.directory(pod_id)
        for name in (*_FLAGS, _USER, _SHM):
            while self._is_mounted(directory, name):  # one that was killed may have mounted it, and begun anew
                libc.umount2(str(directory / name), libc.MNT_DETACH | libc.UMOUNT_NOFOLLOW)
        remove_tree(directory)
        if not self.ids():
            self._forgo_home()

    def ids(self) -> list[str]:
        """See ``PodDriver.ids``."""
        try:
            return sorted(os.listdir(self._home))
        except FileNotFoundError:
            return []

    def _have_home(self) -> None:
        self._home.mkdir(mode=0o700, exist_ok=True)
        path = str(self._home)
        if not self._is_mounted(self._home.parent, DIRECTORY):
            libc.mount(path, path, "", libc.MS_BIND)
        libc.mount("", path, "", libc.MS_SHARED)  # also where a process was killed between the two

    def _forgo_home(self) -> None:
        while self._is_mounted(self._home.parent, DIRECTORY):
            libc.umount2(str(self._home), libc.MNT_DETACH | libc.UMOUNT_NOFOLLOW)
        with suppress(FileNotFoundError):
            self._home.rmdir()

    def _mount_shm(self, pod_id: str, size_bytes: int, root: tuple[int, int]) -> None:
        place = self.directory(pod_id) / _SHM
        place.mkdir(mode=0o700)
        libc.mount("shm", str(place), "tmpfs", _SHM_FLAGS, f"mode=1777,size={size_bytes},uid={root[0]},gid={root[1]}")

    def _is_mounted(self, directory: Path, name: str) -> bool:
        """Whether something is mounted at a name; by ids of mounts, as a bind mount is of the same device."""
        try:
            fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return libc.statx_mount_id(fd, name) != libc.statx_mount_id(fd, "")
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        finally:
            os.close(fd)


def _set(key: str, value: str, root: int) -> None:
    """``root``: the machine's user that is root there: it alone may write those of ipc (ipc_permissions(), Linux)."""
    is_users = root != 0 and not key.startswith("net.")
    try:
        if is_users:
            libc.set_effective_uid(root)
        fd = os.open(f"/proc/sys/{key.replace('.', '/')}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise UsageError(f"sysctl {key}={value} cannot be set: {error.strerror}", hint="see sysctl -a") from error
    finally:
        if is_users:
            libc.set_effective_uid(0)

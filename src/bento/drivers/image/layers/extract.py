"""Making the entries of a layer's archive in a directory, and nowhere else.

What comes out is a layer as overlayfs wants it, see ``whiteouts``.

No path is ever followed from the outside: directories are opened by openat2(2) with RESOLVE_BENEATH, which refuses
every link that would leave the directory, and each entry is made by its last name below such a descriptor,
exclusively: a layer has one entry for each place (image-spec, layer.md, "Distributable Format"), and nothing that an
entry has made is replaced. So a name that leads through links of the same layer always leads to the same place.

What is said of directories is kept until the end, see ``directories``.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from bento.drivers.image.layers.directories import Directories, set_attributes, twice
from bento.drivers.image.layers.whiteouts import OPAQUE_ATTRIBUTE, deletion_of, is_marked, is_whiteout, make_whiteout
from bento.errors import KernelError, UsageError
from bento.files.rootfs import open_beneath
from bento.files.tarheader import check_path, device_of, meta_of, no_nul, path_of
from bento.files.tarstream import Stream
from bento.files.whole import write_all

_ABSOLUTE: Final = "with absolute_names=take in the configuration such names are taken below the root"
_OPEN_DIRECTORIES: Final = 64
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _Directory(Struct, frozen=True):
    """A directory that is open. ``path``: its real one below the root, through no link; "" is the root."""

    fd: int
    path: str

    def below(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


class Extractor:
    """Fills one directory. ``close`` it when done; ``finish`` first when all entries are made."""

    def __init__(self, root: Path, *, takes_absolute_names: bool = False) -> None:
        """``takes_absolute_names``: as names below the root; else only the root itself may be called "/"."""
        self._takes_absolute_names = takes_absolute_names
        self.size_bytes = 0  # what the files hold
        self._root = os.open(root, _DIRECTORY)
        self._root_path = _path_of(self._root)
        self._open: dict[str, _Directory] = {"": _Directory(self._root, "")}  # by the names that entries have for them
        self.directories = Directories(self._root)
        self._has_opaque_root = False

    @property
    def has_opaque_root(self) -> bool:
        """Whether the layer hides all that is below it."""
        return self._has_opaque_root

    def extract(self, entry: tarfile.TarInfo, stream: Stream) -> None:
        """Make one entry. Raises UsageError, OSError when the disk fails."""
        path = path_of(entry.name)
        parent, _, name = path.rpartition("/")
        if path and entry.name.startswith("/") and not self._takes_absolute_names:
            raise UsageError(f"the name {entry.name!r} is absolute", hint=_ABSOLUTE)
        if is_marked(path):
            self.directories.check_first(path, entry)
            self._delete(path)
        elif entry.isdir():
            self.directories.check_first(path, entry)
            self._make_directory(parent, name, entry)
        elif not path:
            raise UsageError(f"the entry {entry.name!r} has the place of the root directory")
        else:
            directory = self._parent(parent)
            try:
                self._make(directory.fd, name, entry, stream)
            except FileExistsError:
                self._take_deletion(directory, name)
                self._make(self._parent(parent).fd, name, entry, stream)

    def finish(self) -> None:
        """Give the directories what is theirs. Raises OSError."""
        self.directories.finish()

    def close(self) -> None:
        """Close all descriptors. Idempotent."""
        for directory in self._open.values():
            os.close(directory.fd)
        self._open = {}

    def _parent(self, path: str) -> _Directory:
        """Return a directory, open until the next one is asked for."""
        directory = self._open.get(path)
        if directory is None:
            directory = self._enter(path)
            if len(self._open) > _OPEN_DIRECTORIES:
                self._forget_open()
            self._open[path] = directory
        return directory

    def _enter(self, path: str) -> _Directory:
        """Open a directory, making it and those above it when they are missing, the highest first."""
        missing: list[str] = []
        at = path
        while at:
            fd = self._try_to_enter(at)
            if fd is not None and not missing:
                return _Directory(fd, _path_of(fd)[len(self._root_path) + 1 :])
            if fd is not None:
                os.close(fd)
                break
            missing.append(at)
            at = at.rpartition("/")[0]
        for each in reversed(missing):
            above, _, name = each.rpartition("/")
            self._make_directory(above, name, None)
        above, _, name = path.rpartition("/")
        parent = self._parent(above)
        return _Directory(os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent.fd), parent.below(name))

    def _try_to_enter(self, path: str) -> int | None:
        try:
            return open_beneath(self._root, path, _DIRECTORY)
        except KernelError as error:
            if error.errno == errno.EXDEV:
                raise UsageError(f"{path!r} leads out of the root filesystem through a symbolic link") from None
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise UsageError(f"{path!r} cannot be entered: {os.strerror(error.errno)}") from None
            return None

    def _forget_open(self) -> None:
        for path, directory in self._open.items():
            if path:
                os.close(directory.fd)
        self._open = {"": _Directory(self._root, "")}

    def _make_directory(self, above: str, name: str, entry: tarfile.TarInfo | None) -> None:
        """Make a directory, or keep the one that is there; without ``entry`` because something is to lie in it."""
        parent = self._parent(above)
        path = parent.below(name) if name else ""
        check_path(path)
        is_new = is_fresh = False
        try:
            if name:
                os.mkdir(name, 0o755, dir_fd=parent.fd)
                is_new = True
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode):
                self._take_deletion(parent, name, is_needed=entry is None)
                os.mkdir(name, 0o755, dir_fd=parent.fd)
                self._set_opaque(parent.fd, name)  # what was here before hid all that lies below
                is_new = is_fresh = True
        if entry is not None:
            self.directories.describe(path, meta_of(entry))
        elif is_new:
            if not is_fresh:
                self.directories.imply(path)
            os.chmod(name, 0o755, dir_fd=parent.fd)  # whatever the umask

    def _take_deletion(self, parent: _Directory, name: str, *, is_needed: bool = False) -> None:
        """Take a deletion away: what is made in its place hides as much. Raises UsageError for all else that is there.

        ``is_needed``: only as a directory for something to lie in.
        """
        path = parent.below(name)
        if is_whiteout(os.stat(name, dir_fd=parent.fd, follow_symlinks=False)):
            os.unlink(name, dir_fd=parent.fd)
        elif is_needed or path in self.directories.implied:
            raise UsageError(f"{path!r} is no directory in its layer, but something is to lie in it")
        elif not self.directories.delete_empty(path):
            raise twice(path)
        else:
            self._forget_open()

    def _delete(self, path: str) -> None:
        """Carry out a whiteout. What the same layer has put there stays (layer.md, "Whiteouts")."""
        deletion = deletion_of(path)
        if deletion is None:
            return
        directory = self._parent(deletion.parent)
        if not deletion.name:
            if directory.path:
                os.setxattr(directory.fd, OPAQUE_ATTRIBUTE, b"y")
            else:
                self._has_opaque_root = True  # overlayfs takes no such order from a layer's root
            return
        try:
            make_whiteout(directory.fd, deletion.name)
        except FileExistsError:
            there = os.stat(deletion.name, dir_fd=directory.fd, follow_symlinks=False)
            if is_whiteout(there):
                raise twice(path) from None
            if stat.S_ISDIR(there.st_mode):
                self._set_opaque(directory.fd, deletion.name)
                self.directories.empty(directory.below(deletion.name))

    def _set_opaque(self, parent: int, name: str) -> None:
        os.setxattr(f"/proc/self/fd/{parent}/{name}", OPAQUE_ATTRIBUTE, b"y", follow_symlinks=False)

    def _make(self, parent: int, name: str, entry: tarfile.TarInfo, stream: Stream) -> None:
        """Make what is no directory. Raises FileExistsError before anything was read or written."""
        if entry.islnk():
            self._link(parent, name, path_of(entry.linkname))
            return
        mode, uid, gid, mtime_ns, attributes = meta_of(entry)
        if entry.isreg():
            fd = os.open(name, _NEW, 0o600, dir_fd=parent)
            try:
                self._write(fd, entry, stream)
                if uid or gid:
                    os.fchown(fd, uid, gid)
                if attributes:
                    set_attributes(fd, attributes, is_regular=True)
                os.fchmod(fd, mode)  # after the owner: chown(2) takes set-user-ID away
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)
            return
        if entry.issym():
            os.symlink(no_nul(entry.linkname), name, dir_fd=parent)
        elif (device := device_of(entry)) == (stat.S_IFCHR, 0):
            make_whiteout(parent, name)  # to overlayfs it is one
        else:
            os.mknod(name, *device, dir_fd=parent)
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        if attributes:
            set_attributes(f"/proc/self/fd/{parent}/{name}", attributes, is_regular=False)
        if not entry.issym():
            os.chmod(name, mode, dir_fd=parent)
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _write(self, fd: int, entry: tarfile.TarInfo, stream: Stream) -> None:
        if entry.sparse is None:
            for piece in stream.pieces(entry.size):
                write_all(fd, piece)
            self.size_bytes += entry.size
            return
        parts: Iterable[tuple[int, int]] = entry.sparse  # type: ignore[assignment]  # typeshed has it flat
        for offset, size in parts:
            if min(offset, size) < 0 or offset + size > entry.size:
                raise UsageError(f"{entry.name!r} is damaged: a part of it lies outside of it")
            os.lseek(fd, offset, os.SEEK_SET)
            for piece in stream.pieces(size):
                write_all(fd, piece)
            self.size_bytes += size
        os.ftruncate(fd, entry.size)

    def _link(self, parent: int, name: str, target: str) -> None:
        above, _, last = target.rpartition("/")
        try:
            source = open_beneath(self._root, above or ".", _DIRECTORY)
        except KernelError as error:
            raise UsageError(f"the hard link {name!r} leads to {target!r}: {os.strerror(error.errno)}") from None
        try:
            if not last or is_whiteout(os.stat(last, dir_fd=source, follow_symlinks=False)):
                raise FileNotFoundError
            os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise UsageError(f"the hard link {name!r} leads to {target!r}, which is not in its layer") from None
        finally:
            os.close(source)


def _path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")

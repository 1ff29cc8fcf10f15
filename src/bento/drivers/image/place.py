"""Making the entries of a layer's archive in a directory, and nowhere else.

What comes out is a layer as overlayfs wants it: a deletion is a character device 0:0, an emptied directory has the
attribute ``trusted.overlay.opaque`` (kernel, Documentation/filesystems/overlayfs.rst; image-spec, layer.md).

No path is ever followed from the outside: directories are opened by openat2(2) with RESOLVE_BENEATH, which refuses
every link that would leave the directory, and each entry is made by its last name below such a descriptor,
exclusively. A name may lead through links of the same layer, which a later entry may replace: what is remembered of a
directory is remembered under its real path.

Directories get their owner, mode, attributes and times last: a set-group-ID bit or a default ACL would be inherited,
and every new entry would change the times.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from bento.errors import KernelError, UsageError
from bento.files.output import write_all
from bento.files.tarheader import Meta, device_of, meta_of, no_nul, path_of
from bento.files.tarstream import Stream
from bento.kernel.rootfs import open_beneath, open_without_links
from bento.kernel.tree import remove_tree

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_AUFS: Final = ".wh..wh."
"""What aufs keeps for itself: directories of hard links and of orphans."""
OPAQUE_ATTRIBUTE: Final = "trusted.overlay.opaque"
_OPEN_DIRECTORIES: Final = 64
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _Directory(Struct, frozen=True):
    """A directory that is open. ``path``: its real one below the root, through no link; "" is the root."""

    fd: int
    path: str

    def below(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


class Placer:
    """Fills one directory. ``close`` it when done; ``finish`` first when all entries are made."""

    def __init__(self, root: Path) -> None:
        self.size_bytes = 0  # what the files hold
        self._root = os.open(root, _DIRECTORY)
        self._root_path = _path_of(self._root)
        self._open: dict[str, _Directory] = {"": _Directory(self._root, "")}  # by the names that entries have for them
        self._directories: dict[str, Meta] = {}  # by their real paths, and so are the implied ones
        self._implied: set[str] = set()
        self._has_opaque_root = False

    @property
    def implied(self) -> tuple[str, ...]:
        """Directories that no entry describes, "" for the root: only made because something lies in them.

        What they are is said by the layers below, see ``seams``.
        """
        own = self._implied if "" in self._directories else self._implied | {""}
        return tuple(sorted(own))

    @property
    def has_opaque_root(self) -> bool:
        """Whether the layer hides all that is below it."""
        return self._has_opaque_root

    def place(self, entry: tarfile.TarInfo, stream: Stream) -> None:
        """Make one entry, in place of what is there under its name. Raises UsageError, OSError when the disk fails."""
        path = path_of(entry.name)
        parent, _, name = path.rpartition("/")
        if not path:
            if not entry.isdir():
                raise UsageError(f"the entry {entry.name!r} has the place of the root directory")
            self._directories[""] = meta_of(entry)
        elif f"/{_WHITEOUT}" in f"/{path}":
            self._delete(parent, name)
        elif entry.isdir():
            self._make_directory(parent, name, entry)
        else:
            try:
                self._make(self._parent(parent).fd, name, entry, stream)
            except FileExistsError:
                if entry.islnk() and path_of(entry.linkname) == path:
                    return
                self._remove(parent, name)
                self._make(self._parent(parent).fd, name, entry, stream)

    def finish(self) -> None:
        """Give the directories what is theirs, the deepest first."""
        for path in sorted(self._directories, reverse=True):
            mode, uid, gid, mtime_ns, attributes = self._directories[path]
            fd = open_without_links(self._root, path, _DIRECTORY)
            try:
                os.fchown(fd, uid, gid)
                _set_attributes(fd, attributes, is_regular=True)
                os.fchmod(fd, mode)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)

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
        """Names may mean other directories now."""
        for path, directory in self._open.items():
            if path:
                os.close(directory.fd)
        self._open = {"": _Directory(self._root, "")}

    def _make_directory(self, above: str, name: str, entry: tarfile.TarInfo | None) -> None:
        """Make a directory, or keep the one that is there; without ``entry`` because something is to lie in it."""
        parent = self._parent(above)
        path = parent.below(name)
        is_new, is_fresh = True, False
        try:
            os.mkdir(name, 0o755, dir_fd=parent.fd)
        except FileExistsError:
            there = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            is_new = not stat.S_ISDIR(there.st_mode)
            if is_new:
                if entry is None and not is_whiteout(there):
                    raise UsageError(f"{path!r} is no directory, but something is to lie in it") from None
                self._remove(above, name)
                parent = self._parent(above)
                os.mkdir(name, 0o755, dir_fd=parent.fd)
                self._set_opaque(parent.fd, name)  # what was here before hid all that lies below
                is_fresh = True
        if entry is not None:
            self._directories[path] = meta_of(entry)
            self._implied.discard(path)
        elif is_new:
            if not is_fresh:
                self._implied.add(path)
            os.chmod(name, 0o755, dir_fd=parent.fd)  # whatever the umask

    def _remove(self, above: str, name: str) -> None:
        """Take away what is there: a later entry of the same name has its place."""
        parent = self._parent(above)
        mode = os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            remove_tree(Path(f"/proc/self/fd/{parent.fd}/{name}"))
            path = parent.below(name)
            inside = f"{path}/"
            for each in [each for each in self._directories if each == path or each.startswith(inside)]:
                del self._directories[each]
            self._implied = {each for each in self._implied if each != path and not each.startswith(inside)}
        else:
            os.unlink(name, dir_fd=parent.fd)
        if not stat.S_ISREG(mode):
            self._forget_open()

    def _delete(self, parent: str, name: str) -> None:
        """Carry out a whiteout: what lies below under this name, or all that lies below in this directory, is hidden.

        What the same layer has put there stays (layer.md, "Whiteouts").
        """
        first = next((part for part in parent.split("/") if part.startswith(_WHITEOUT)), name)
        if first == _OPAQUE and not parent:
            self._has_opaque_root = True
        elif first == _OPAQUE and first is name:
            os.setxattr(self._parent(parent).fd, OPAQUE_ATTRIBUTE, b"y")
        elif first.startswith(_AUFS):
            return
        elif first is not name or name[len(_WHITEOUT) :] in ("", ".", ".."):
            raise UsageError(
                f"{posixpath.join(parent, name)!r}: names that begin with {_WHITEOUT} are deletions; this is none"
            )
        else:
            hidden = name[len(_WHITEOUT) :]
            directory = self._parent(parent)
            try:
                os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=directory.fd)
            except FileExistsError:
                if stat.S_ISDIR(os.stat(hidden, dir_fd=directory.fd, follow_symlinks=False).st_mode):
                    self._set_opaque(directory.fd, hidden)
                    self._implied.discard(directory.below(hidden))  # nothing of the one below is to be seen of it

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
                    _set_attributes(fd, attributes, is_regular=True)
                os.fchmod(fd, mode)  # after the owner: chown(2) takes set-user-ID away
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)
            return
        if entry.issym():
            os.symlink(no_nul(entry.linkname), name, dir_fd=parent)
        else:
            os.mknod(name, *device_of(entry), dir_fd=parent)
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        if attributes:
            _set_attributes(f"/proc/self/fd/{parent}/{name}", attributes, is_regular=False)
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


def is_whiteout(there: os.stat_result) -> bool:
    """Whether this is what hides a name of the layers below."""
    return stat.S_ISCHR(there.st_mode) and there.st_rdev == 0


def _set_attributes(where: int | str, attributes: dict[str, bytes], *, is_regular: bool) -> None:
    for name, value in attributes.items():
        if name.startswith("user.") and not is_regular:
            continue  # only files and directories can have these (xattr(7))
        try:
            if isinstance(where, int):
                os.setxattr(where, name, value)
            else:
                os.setxattr(where, name, value, follow_symlinks=False)
        except OSError as error:
            # What security module runs here, if any, is not the image's to say; all else is part of its files.
            if error.errno != errno.ENOTSUP or name == "security.capability":
                raise

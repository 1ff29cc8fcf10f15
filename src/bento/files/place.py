"""Writing a tree into a directory that other processes may be changing at the same time, to deceive us or not.

Parents are opened name by name, following no symbolic link; a file is made under a name of its own beside its
place and renamed there when it is whole. So nothing is ever written through a link, and no reader sees half a file.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from bento.errors import Conflict, KernelError
from bento.files.entry import KEPT_XATTRS, Entry, shown
from bento.files.metadata import apply_metadata, keep_mode
from bento.files.rootfs import reopen
from bento.files.way import Way
from bento.kernel import libc
from bento.model.namespaces.mapping import IdMapping

NEVER_REPLACED: Final = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)


class Placer:
    """Puts entries below a directory, parents first; ``close`` finishes.

    ``owner`` (uid, gid): everything belongs to them, and what only its own owner may have handed out is dropped: set-id
    bits, file capabilities, device nodes (their paths go to ``left_out``). None: all as it was.
    ``keeps_modes``: with an owner, a file that is replaced by another one leaves it its mode.
    ``ids``: owners are those of a user namespace, and the caller makes files as one of it.
    ``made`` gets the directories that are made, by device and inode: they are not to be copied into themselves.

    What is there is replaced, but for directories (which stay as they are, and are filled) and device nodes, FIFOs and
    sockets; those raise Conflict. A file that something is mounted on is written in its place. Raises OSError.
    """

    def __init__(
        self,
        top_fd: int,
        *,
        owner: tuple[int, int] | None = None,
        keeps_modes: bool = False,
        ids: IdMapping | None = None,
        made: set[tuple[int, int]] | None = None,
        left_out: list[str] | None = None,
    ) -> None:
        self._ids = ids
        self._owner = owner if owner is None or ids is None else ids.to_machine(owner)
        self._keeps_modes = keeps_modes and owner is not None
        self._token = os.urandom(6).hex()
        self._count = 0
        self._way = Way(top_fd)
        self._linked = Way(top_fd)  # to the first names of hard links
        self._times: list[tuple[str, int]] = []  # of directories made here: what is put into them would change them
        self._left_out = [] if left_out is None else left_out
        self._made = set() if made is None else made

    def put_all(self, entries: Iterable[Entry], base: str = "", *, makes_parents: bool = False) -> None:
        """Put every entry; ``base`` is the name that the tree's top gets, "": the directory itself.

        ``makes_parents``: for archives, which need not name every directory.
        """
        for entry in entries:
            path = "/".join(part for part in (base, entry.path) if part)
            if entry.link:
                entry.link = "/".join(part for part in (base, entry.link) if part)
            if path and makes_parents:
                self._make_parents(path)
            if path:
                self.put(entry, path)

    def _make_parents(self, path: str) -> None:
        missing = []
        directory = path.rpartition("/")[0]
        while True:
            try:
                _enter(self._way, directory)
                break
            except FileNotFoundError:
                if not directory:
                    raise
                missing.append(directory)
                directory = directory.rpartition("/")[0]
        for each in reversed(missing):
            self.put(Entry(path=each, mode=stat.S_IFDIR | 0o755, mtime_ns=time.time_ns()), each)

    def put(self, entry: Entry, path: str) -> None:
        """Put one entry at ``path``. Raises Conflict, FileNotFoundError when its parent is not there, OSError."""
        try:
            if self._ids is not None:
                entry.uid, entry.gid = _mapped(self._ids, entry)
            self._put(entry, path)
        except OSError as error:
            error.filename = shown(path)  # not what it was called on its way
            raise

    def _put(self, entry: Entry, path: str) -> None:
        if self._owner is not None and entry.is_device and not entry.link:
            self._left_out.append(path)
            return
        directory, _, name = path.rpartition("/")
        parent_fd = _enter(self._way, directory)
        if entry.is_directory:
            self._make_directory(entry, path, parent_fd, name)
            return
        self._count += 1
        temporary = f".bento-{self._token}-{self._count}"
        try:
            self._make(entry, parent_fd, temporary, path)
            self._rename(parent_fd, temporary, name, path, entry)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent_fd)
            raise

    def close(self) -> None:
        """Set the times of the directories that were made, and let go. Idempotent."""
        for path, mtime_ns in reversed(self._times):
            with suppress(KernelError):  # it was removed meanwhile, or something else put there
                os.utime(self._way.enter(path), ns=(mtime_ns, mtime_ns))
        self._times.clear()
        self._way.close()
        self._linked.close()

    def _make_directory(self, entry: Entry, path: str, parent_fd: int, name: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
                raise Conflict(f"cannot overwrite a file by a directory: {shown(path)}") from None
            return
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        try:
            apply_metadata(fd, entry, self._owner)
            status = os.fstat(fd)
            self._made.add((status.st_dev, status.st_ino))
        finally:
            os.close(fd)
        self._times.append((path, entry.mtime_ns))

    def _make(self, entry: Entry, parent_fd: int, name: str, path: str) -> None:
        """Make what is no directory, whole, under a name of its own."""
        if entry.link:
            self._link(entry.link, parent_fd, name, path)
        elif stat.S_ISREG(entry.mode):
            self._write(entry, parent_fd, name)
        elif stat.S_ISLNK(entry.mode):
            os.symlink(entry.target, name, dir_fd=parent_fd)
            os.chown(name, *self._whose(entry), dir_fd=parent_fd, follow_symlinks=False)
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent_fd, follow_symlinks=False)
        else:
            os.mknod(name, stat.S_IFMT(entry.mode) | 0o600, entry.device, dir_fd=parent_fd)
            # By a descriptor that opens nothing: a FIFO would keep us waiting, a device would act.
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
            try:
                path = f"/proc/self/fd/{fd}"
                os.chown(path, *self._whose(entry))
                os.chmod(path, stat.S_IMODE(entry.mode))
                os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
            finally:
                os.close(fd)

    def _link(self, first: str, parent_fd: int, name: str, path: str) -> None:
        directory, _, old = first.rpartition("/")
        try:
            fd = _enter(self._linked, directory)
            try:
                os.link(old, name, src_dir_fd=fd, dst_dir_fd=parent_fd, follow_symlinks=False)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _copy(old, fd, name, parent_fd)  # on another mount it can only be another file
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            raise Conflict(
                f"cannot make {shown(path)} a hard link to {shown(first)}: no such file below the target",
                hint="it has to come first",
            ) from None

    def _write(self, entry: Entry, parent_fd: int, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=parent_fd)
        try:
            _fill(fd, entry)
            apply_metadata(fd, entry, self._owner)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _rename(self, parent_fd: int, temporary: str, name: str, path: str, entry: Entry) -> None:
        """Put what was made into its place."""
        with suppress(FileNotFoundError):
            there = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
            if stat.S_ISDIR(there.st_mode):
                raise Conflict(f"cannot overwrite a directory by a file: {shown(path)}")
            if stat.S_IFMT(there.st_mode) in NEVER_REPLACED:
                raise Conflict(f"cannot overwrite a device, FIFO or socket: {shown(path)}", hint="remove it first")
            if self._keeps_modes and not entry.link and stat.S_ISREG(there.st_mode) and stat.S_ISREG(entry.mode):
                keep_mode(parent_fd, temporary, there)
        if _is_mounted(parent_fd, name):
            self._overwrite(parent_fd, temporary, name, path)
        else:
            os.rename(temporary, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        # Also after a rename: rename(2) does nothing with two names of one file.
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=parent_fd)

    def _overwrite(self, parent_fd: int, temporary: str, name: str, path: str) -> None:
        """Write into the file that is mounted at ``name``, such as a container's /etc/hosts; it stays the same file."""
        looked = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        made = os.open(temporary, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        try:
            if not all(stat.S_ISREG(os.fstat(fd).st_mode) for fd in (looked, made)):
                raise Conflict(
                    f"cannot replace what is mounted at {shown(path)}", hint="only a file's content can be written"
                )
            source = reopen(made, os.O_RDONLY)
            try:
                target = reopen(looked, os.O_WRONLY | os.O_TRUNC)
                try:
                    while os.sendfile(target, source, None, 1 << 30):
                        pass
                finally:
                    os.close(target)
            finally:
                os.close(source)
        finally:
            os.close(made)
            os.close(looked)

    def _whose(self, entry: Entry) -> tuple[int, int]:
        return self._owner or (entry.uid, entry.gid)


def _mapped(ids: IdMapping, entry: Entry) -> tuple[int, int]:
    try:
        return ids.to_machine((entry.uid, entry.gid))
    except ValueError:
        raise OSError(errno.EINVAL, "its owner has no id in the user namespace") from None


def _copy(old: str, old_dir_fd: int, name: str, dir_fd: int) -> None:
    """Make a file like another one. Raises OSError, Conflict for what is no file."""
    looked = os.open(old, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=old_dir_fd)
    try:
        there = os.fstat(looked)
        if not stat.S_ISREG(there.st_mode):
            raise Conflict(f"cannot make {name} another name of {old}: it is on another mount, and no file")
        source = reopen(looked, os.O_RDONLY)
    finally:
        os.close(looked)
    try:
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
        try:
            while os.sendfile(target, source, None, 1 << 30):
                pass
            names = [each for each in os.listxattr(source) if each.startswith(KEPT_XATTRS)]
            attributes = {each: os.getxattr(source, each) for each in names}
            apply_metadata(target, Entry("", there.st_mode, there.st_uid, there.st_gid, xattrs=attributes))
            os.utime(target, ns=(there.st_mtime_ns, there.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _is_mounted(directory_fd: int, name: str) -> bool:
    """Whether something is mounted on a name.

    rename(2) and unlink(2) say EBUSY only for what is mounted in the caller's own mount namespace, and take every other
    mount off the name: what a container has mounted, and what a detached tree has.
    """
    try:
        return libc.statx_mount_id(directory_fd, name) != libc.statx_mount_id(directory_fd, "")
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return False
        raise OSError(error.errno, os.strerror(error.errno), name) from error


def _enter(way: Way, directory: str) -> int:
    """As ``Way.enter``, but raises OSError."""
    try:
        return way.enter(directory)
    except KernelError as error:
        raise OSError(error.errno, os.strerror(error.errno), directory) from error


def _fill(fd: int, entry: Entry) -> None:
    if entry.body is not None:
        for offset, data in entry.body.chunks():
            view = memoryview(data)
            while view:
                written = os.pwrite(fd, view, offset)
                view, offset = view[written:], offset + written
    os.ftruncate(fd, entry.size)  # a hole at the end; and what grew meanwhile stays as long as it was said to be

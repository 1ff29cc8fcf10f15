"""The files at an end of a copy by descriptors: what the container lays and changes meanwhile leads nowhere else."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from bento.engine.files.copy_path import CopyPath, failed
from bento.errors import Conflict, KernelError, NotFound
from bento.files.locate import Location, link_on_the_way, locate
from bento.files.metadata import inside
from bento.files.place import Placer
from bento.files.walk import walk

if TYPE_CHECKING:
    from bento.engine.files.container_root import ContainerRoot
    from bento.engine.files.copy_path import CopyState
    from bento.engine.files.copy_tree import Put
    from bento.files.entry import Entry
    from bento.model.namespaces.mapping import IdMapping

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class OpenTree:
    """Tree below an open root. ``check`` is called between files. ``is_machine``: it is this machine's own.

    ``_ids``: its owners are those of a user namespace; files are made as its root, by ``_making``.
    """

    _ids: IdMapping | None = None
    _making: Callable[[tuple[int, int]], AbstractContextManager[None]]

    def __init__(self, root_fd: int, where: str, *, check: Callable[[], object], is_machine: bool = False) -> None:
        self._root_fd, self._where, self._check, self._is_machine = root_fd, where, check, is_machine

    def path(self, text: str) -> CopyPath:
        """See Tree."""
        is_relative = self._is_machine and not text.startswith("/")
        return CopyPath(f"{os.getcwd()}/{text}" if is_relative else text, self._where)

    @contextmanager
    def read(self, source: CopyPath, state: CopyState) -> Iterator[Iterator[Entry]]:
        """See Tree."""
        fd = self._open(source, follow=state.follow)
        try:
            yield inside(walk(fd, left_out=state.made, check=self._check), self._ids)
        finally:
            os.close(fd)

    @contextmanager
    def write(self, target: CopyPath, source: CopyPath, state: CopyState, *, is_directory: bool) -> Iterator[Put]:
        """See Tree."""
        fd, name = self._open_target(target, source, is_directory=is_directory)
        try:
            placer = Placer(
                fd,
                owner=state.owner,
                keeps_modes=self._is_machine,
                ids=self._ids,
                made=state.made,
                left_out=state.left_out,
            )
            with self._as_root():
                try:
                    yield lambda entries: placer.put_all(entries, name)
                finally:
                    placer.close()
        finally:
            os.close(fd)

    def _as_root(self) -> AbstractContextManager[None]:
        return nullcontext() if self._ids is None else self._making(self._ids.root)

    def _find(self, path: CopyPath, *, follow: bool) -> Location:
        """Return where it is; the caller closes it. Raises NotFound when there is no directory for it to be in."""
        try:
            return locate(self._root_fd, path.path, follow=follow, is_machine=self._is_machine)
        except KernelError as error:
            if error.errno not in _ABSENT:
                raise
            raise self._missing(path, error.errno) from None

    def _missing(self, path: CopyPath, number: int = 0) -> NotFound:
        """``number``: why there is not even a place for it."""
        link = link_on_the_way(self._root_fd, path.path)
        hint = f"{link[0]} is a link to {link[1]}" if link else ""
        if number == errno.ELOOP:
            return NotFound(f"too many links {path.where}: {path.path}", hint=hint)
        if number and not (link and link[0] == path.path):
            return NotFound(f"no such directory {path.where}: {posixpath.dirname(path.path)}", hint=hint)
        return NotFound(f"no such file {path.where}: {path.path}", hint=hint)

    def _open(self, path: CopyPath, *, follow: bool) -> int:
        """Open what is there, a link itself unless ``follow``; the caller closes it. Raises NotFound, Conflict."""
        with self._find(path, follow=follow or path.wants_directory) as location:
            try:
                fd = location.open(os.O_PATH)
            except FileNotFoundError:
                raise self._missing(path) from None
            except OSError as error:
                raise failed("read", path.named(""), error) from error
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode) or (path.wants_directory and not stat.S_ISDIR(mode)):
            os.close(fd)
            raise Conflict(f"{'a socket' if stat.S_ISSOCK(mode) else 'not a directory'} {path.where}: {path.path}")
        return fd

    def _open_target(self, target: CopyPath, source: CopyPath, *, is_directory: bool) -> tuple[int, str]:
        """Return the directory to copy into, which the caller closes, and the name there: "" for only what is in it."""
        with self._find(target, follow=True) as location:
            if location.is_directory:
                name = "" if is_directory and source.wants_content else source.name
                return location.open(os.O_RDONLY | os.O_DIRECTORY), name
            if location.status is None and target.wants_directory and not is_directory:
                raise NotFound(f"no such directory {target.where}: {target.path}")
            if location.status is not None and (is_directory or target.wants_directory):
                raise Conflict(f"not a directory {target.where}: {target.path}", hint="a file is in the way")
            target.base = posixpath.dirname(target.path)
            return os.dup(location.directory_fd), location.name


class OpenContainer(OpenTree):
    """ContainerTree of a root that is open, for as long as the container lives."""

    def __init__(self, root: ContainerRoot, making: Callable[[tuple[int, int]], AbstractContextManager[None]]) -> None:
        super().__init__(root.root_fd, f"in container {root.container.name}", check=root.check)
        self._ids, self._making = root.ids, making
        self.check, self.read_from, self.write_to = root.check, root.read, root.write

    @contextmanager
    def unpack(self, target: CopyPath) -> Iterator[Put]:
        """See ContainerTree."""
        target.wants_directory = True
        fd = self._open(target, follow=True)
        try:
            placer = Placer(fd, ids=self._ids)
            with self._as_root():
                try:
                    yield lambda entries: placer.put_all(entries, makes_parents=True)
                finally:
                    placer.close()
        finally:
            os.close(fd)


@contextmanager
def machine(check: Callable[[], object]) -> Iterator[OpenTree]:
    """Give this machine's own files; a path that does not begin with / is below the working directory."""
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield OpenTree(root_fd, "on this machine", check=check, is_machine=True)
    finally:
        os.close(root_fd)

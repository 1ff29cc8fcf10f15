"""The files of a container that runs where the host does not reach them, by a tar that is run in it.

gVisor keeps what its files hold to itself, so to go past it by the host would be to read and write something else. What
comes out is the container's to say: it is taken apart, and placed on the host as everything else is (``files``).
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Final

from bento.engine.files.copy_path import CopyPath, buffered
from bento.engine.files.tar_session import TarSession
from bento.errors import Conflict, NotFound, RuntimeFailed, UsageError
from bento.files.entry import Entry
from bento.files.metadata import strip_owner
from bento.files.place import NEVER_REPLACED
from bento.files.tarin import read_tar
from bento.files.tarout import TarWriter
from bento.files.whole import write_all

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.files.copy_path import CopyState
    from bento.engine.files.copy_tree import Put
    from bento.model.container import Container

_LINKS_MAX: Final = 40  # as the kernel's own (path_resolution(7))
_WITHOUT_MADE_UP: Final = ("--exclude=./proc", "--exclude=./sys")


class TarContainer:
    """ContainerTree by execs of tar."""

    def __init__(self, drivers: Drivers, container: Container) -> None:
        self._drivers, self._container = drivers, container

    def path(self, text: str) -> CopyPath:
        """See Tree."""
        return CopyPath(text, f"in container {self._container.name}")

    def check(self) -> None:
        """See ContainerTree. The tar ends with the container."""

    def read_from(self, fd: int, size: int) -> bytes:
        """See ContainerTree. The root filesystem is not held meanwhile."""
        return os.read(fd, size)

    def write_to(self, fd: int, data: bytes) -> None:
        """See ContainerTree."""
        write_all(fd, data)

    @contextmanager
    def read(self, source: CopyPath, state: CopyState) -> Iterator[Iterator[Entry]]:
        """See Tree."""
        directory, name = posixpath.split(source.path)
        words = ["-cf", "-"]
        if source.wants_directory or not name or (state.follow and self._look(source.path, ".")):
            directory, name = source.path, "."
            words += _WITHOUT_MADE_UP if source.path == "/" else ()
        elif state.follow:
            words = ["-chf", "-"]
        with self._tar(source.path, "-C", directory, *words, f"./{name}") as session:
            entries = _entries(session, source, "" if name == "." else name)
            first = next(entries, None)
            if first is None or first.path:
                raise Conflict(f"nothing to copy {source.where}: {source.path}", hint="a socket?")
            yield chain([first], entries)

    @contextmanager
    def write(self, target: CopyPath, source: CopyPath, state: CopyState, *, is_directory: bool) -> Iterator[Put]:
        """See Tree."""
        directory, name = self._find_target(target, source, is_directory=is_directory)
        with self._put_below(directory, name) as put:
            yield lambda entries: put(strip_owner(entries, state.owner, state.left_out))

    @contextmanager
    def unpack(self, target: CopyPath) -> Iterator[Put]:
        """See ContainerTree."""
        if not self._look(target.path, "."):
            raise NotFound(f"no such directory {target.where}: {target.path}")
        with self._put_below(target.path, "") as put:
            yield put

    @contextmanager
    def _put_below(self, directory: str, name: str) -> Iterator[Put]:
        with self._tar(directory, "-C", directory, "-xpf", "-", has_input=True) as session:
            writer = TarWriter(session.write)

            def put(entries: Iterable[Entry]) -> None:
                writer.add_all(entries, name)
                writer.close()

            yield put
            session.finish()

    def _tar(self, path: str, *words: str, has_input: bool = False) -> TarSession:
        return TarSession(self._drivers, self._container, path, *words, has_input=has_input)

    def _look(self, directory: str, name: str) -> Entry | None:
        """Return what a name in a directory is; with the name "." whether that is one. None when nothing is there."""
        path = posixpath.join(directory, name)
        with self._tar(path, "-C", directory, "-cf", "-", f"./{name}") as session:
            try:
                return next(_entries(session, self.path(path), ""), None)
            except (NotFound, Conflict):
                return None

    def _find_target(self, target: CopyPath, source: CopyPath, *, is_directory: bool) -> tuple[str, str]:
        """As ``OpenTree`` does, by what the tar in the container says; a path instead of an open directory."""
        path = target.path
        for _ in range(_LINKS_MAX):
            if self._look(path, "."):
                name = "" if is_directory and source.wants_content else source.name
                if name:
                    _check_place(self._look(path, name), target, is_directory=is_directory)
                return path, name
            directory, name = posixpath.split(path)
            if not self._look(directory, "."):
                raise NotFound(f"no such directory {target.where}: {directory}")
            there = self._look(directory, name)
            if there is not None and stat.S_ISLNK(there.mode):
                path = posixpath.normpath(posixpath.join(directory, there.target))
                continue
            if there is None and target.wants_directory and not is_directory:
                raise NotFound(f"no such directory {target.where}: {target.path}")
            _check_place(there, target, is_directory=is_directory or target.wants_directory)
            return directory, name
        raise NotFound(f"too many links {target.where}: {target.path}")


def _entries(session: TarSession, source: CopyPath, top: str) -> Iterator[Entry]:
    stream = buffered(session.read)
    words = f"what the tar {source.where} sent"
    sent: set[str] = set()
    try:
        for entry in read_tar(stream, words):
            # Else a tar that lies could give a file of this machine's a second name beside what it sends.
            if entry.link and entry.link not in sent:
                raise RuntimeFailed(f"{words} links {entry.path!r} to {entry.link!r}, which it has not sent")
            sent.add(entry.path)
            entry.path = _below(top, entry.path, words)
            entry.link = _below(top, entry.link, words) if entry.link else ""
            yield entry
    except UsageError:
        session.finish()  # why it is none is said there
        raise
    session.finish()


def _below(top: str, path: str, words: str) -> str:
    if not top:
        return path
    if path != top and not path.startswith(f"{top}/"):
        raise RuntimeFailed(f"{words} holds {path!r}, which was not asked for")
    return path[len(top) + 1 :]


def _check_place(there: Entry | None, target: CopyPath, *, is_directory: bool) -> None:
    """Raise Conflict when what is there gives no way, as ``Placer`` would."""
    if there is None or (is_directory and there.is_directory):
        return
    if is_directory:
        raise Conflict(f"not a directory {target.where}: {target.path}", hint="a file is in the way")
    if there.is_directory:
        raise Conflict(f"cannot overwrite a directory by a file {target.where}: {target.path}")
    if stat.S_IFMT(there.mode) in NEVER_REPLACED:
        raise Conflict(
            f"cannot overwrite a device, FIFO or socket {target.where}: {target.path}", hint="remove it first"
        )

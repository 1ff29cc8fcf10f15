"""``cp`` with a container that runs where the host does not reach its files: by a tar that is run in it.

gVisor keeps what its files hold to itself, so to go past it by the host would be to read and write something else. What
comes out is the container's to say: it is taken apart, and placed on the host as everything else is (``files``).
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Final

from bento.engine.files.copy_path import (
    CopyOptions,
    CopyPath,
    archive_words,
    buffered,
    map_io_errors,
    refuse_device,
    warn_of_left_out,
)
from bento.engine.files.tar_session import TarSession
from bento.engine.lifecycle import reconcile
from bento.errors import Conflict, NotFound, RuntimeFailed, UsageError
from bento.files.entry import Entry
from bento.files.metadata import strip_owner
from bento.files.output import write_all
from bento.files.place import NEVER_REPLACED, Placer
from bento.files.tarin import read_tar
from bento.files.tarout import TarWriter
from bento.files.walk import walk

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container

_LINKS_MAX: Final = 40  # as the kernel's own (path_resolution(7))
_WITHOUT_MADE_UP: Final = ("--exclude=./proc", "--exclude=./sys")


def out_of_reach(drivers: Drivers, ref: str) -> Container | None:
    """Return a container whose files only its own programs see now, None for another one. Raises NotFound."""
    container = reconcile.find(drivers, ref)
    is_virtual = container.status.is_live and container.run is not None and not container.run.shows_processes
    return container if is_virtual else None


def copy_out(
    drivers: Drivers,
    container: Container,
    path: str,
    there: CopyPath,
    options: CopyOptions,
    owner: tuple[int, int] | None,
) -> None:
    """See ``copying.copy_out``."""
    source = _end(container, path)
    with _read(drivers, container, source, follow=options.follow) as entries:
        first = next(entries)
        refuse_device(source, first.mode, owner)
        target_fd, name = there.open_target(source, is_directory=first.is_directory)
        try:
            placer = Placer(target_fd, owner=owner, keeps_modes=there.is_machine)
            try:
                with map_io_errors(source.named, there.named):
                    placer.put_all(chain([first], entries), name)
            finally:
                placer.close()
        finally:
            os.close(target_fd)
    warn_of_left_out(placer.left_out)


def archive_out(drivers: Drivers, container: Container, path: str, fd: int, options: CopyOptions) -> None:
    """See ``copying.archive_out``."""
    source = _end(container, path)
    with _read(drivers, container, source, follow=options.follow) as entries:
        writer = TarWriter(lambda data: write_all(fd, data))
        with map_io_errors(source.named, archive_words):
            writer.add_all(entries, "." if source.wants_content else source.name or ".")
            writer.close()


def copy_in(
    drivers: Drivers,
    container: Container,
    here: CopyPath,
    path: str,
    options: CopyOptions,
    owner: tuple[int, int] | None,
) -> None:
    """See ``copying.copy_in``."""
    target = _end(container, path)
    left_out: list[str] = []
    source_fd = here.open_source(follow=options.follow)
    try:
        mode = os.fstat(source_fd).st_mode
        refuse_device(here, mode, owner)
        directory, name = _find_target(drivers, container, target, here, is_directory=stat.S_ISDIR(mode))
        with _writer(drivers, container, directory) as writer, map_io_errors(here.named, target.named):
            writer.add_all(strip_owner(walk(source_fd), owner, left_out), name)
            writer.close()
    finally:
        os.close(source_fd)
    warn_of_left_out(left_out)


def archive_in(drivers: Drivers, container: Container, fd: int, path: str) -> None:
    """See ``copying.archive_in``."""
    target = _end(container, path)
    if not _look(drivers, container, target.path, "."):
        raise NotFound(f"no such directory {target.where}: {target.path}")
    stream = buffered(lambda size: os.read(fd, size))
    with _writer(drivers, container, target.path) as writer, map_io_errors(archive_words, target.named):
        writer.add_all(read_tar(stream, archive_words()), "")
        writer.close()


def _end(container: Container, path: str) -> CopyPath:
    return CopyPath(-1, path, f"in container {container.name}")


@contextmanager
def _read(drivers: Drivers, container: Container, source: CopyPath, *, follow: bool) -> Iterator[Iterator[Entry]]:
    """Give what a path has, the top first, under the path ""."""
    directory, name = posixpath.split(source.path)
    words = ["-cf", "-"]
    if source.wants_directory or not name or (follow and _look(drivers, container, source.path, ".")):
        directory, name = source.path, "."
        words += _WITHOUT_MADE_UP if source.path == "/" else ()
    elif follow:
        words = ["-chf", "-"]
    with TarSession(drivers, container, source.path, "-C", directory, *words, f"./{name}") as session:
        entries = _entries(session, source, "" if name == "." else name)
        first = next(entries, None)
        if first is None or first.path:
            raise Conflict(f"nothing to copy {source.where}: {source.path}", hint="a socket?")
        yield chain([first], entries)


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


@contextmanager
def _writer(drivers: Drivers, container: Container, directory: str) -> Iterator[TarWriter]:
    with TarSession(drivers, container, directory, "-C", directory, "-xpf", "-", has_input=True) as session:
        yield TarWriter(session.write)
        session.finish()


def _look(drivers: Drivers, container: Container, directory: str, name: str) -> Entry | None:
    """Return what a name in a directory is; with the name "." whether that is one. None when nothing is there."""
    path = posixpath.join(directory, name)
    with TarSession(drivers, container, path, "-C", directory, "-cf", "-", f"./{name}") as session:
        try:
            return next(_entries(session, _end(container, path), ""), None)
        except (NotFound, Conflict):
            return None


def _find_target(
    drivers: Drivers, container: Container, target: CopyPath, source: CopyPath, *, is_directory: bool
) -> tuple[str, str]:
    """As ``End.open_target``, by what the tar in the container says; a path instead of an open directory."""
    path = target.path
    for _ in range(_LINKS_MAX):
        if _look(drivers, container, path, "."):
            name = "" if is_directory and source.wants_content else source.name
            if name:
                _check_place(_look(drivers, container, path, name), target, is_directory=is_directory)
            return path, name
        directory, name = posixpath.split(path)
        if not _look(drivers, container, directory, "."):
            raise NotFound(f"no such directory {target.where}: {directory}")
        there = _look(drivers, container, directory, name)
        if there is not None and stat.S_ISLNK(there.mode):
            path = posixpath.normpath(posixpath.join(directory, there.target))
            continue
        if there is None and target.wants_directory and not is_directory:
            raise NotFound(f"no such directory {target.where}: {target.path}")
        _check_place(there, target, is_directory=is_directory or target.wants_directory)
        return directory, name
    raise NotFound(f"too many links {target.where}: {target.path}")


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

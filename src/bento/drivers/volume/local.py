"""Volumes as directories: ``volumes/NAME/_data`` below the root.

A lock on ``volumes`` is held, for moments, to make or remove one; a lock on ``volumes/NAME`` to copy into
it or delete it. Both are flock(2): gone with their holder. Beside ``_data`` there may be ``filling``, what is being
copied, and ``filled``, the whole of it on its way into ``_data``: the first is worth nothing once no process holds the
lock, the second is finished by the next process that comes. What was removed is ``.removed-*`` until its files are
deleted.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bento import command
from bento.errors import BentoError, NotPermitted, StorageUnusable
from bento.files.metadata import apply_metadata
from bento.files.place import Placer
from bento.files.tree import remove_tree, taken_bytes
from bento.files.walk import read_entry, walk

_DATA: Final = "_data"
_FILLING: Final = "filling"
_FILLED: Final = "filled"
_REMOVED: Final = ".removed-"
_MOUNT_LIMIT_S: Final = 120.0
"""A server of files may be slow, but not for ever."""


class LocalVolumes:
    """A VolumeDriver below ``<root>/volumes``. Safe between processes; keeps nothing in memory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._volumes = root / "volumes"

    @contextmanager
    def changing(self) -> Iterator[None]:
        """See VolumeDriver."""
        try:
            os.makedirs(self._volumes, mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._explain(error) from error
        with self._locked(self._volumes):
            yield

    def path(self, name: str) -> Path:
        """See VolumeDriver."""
        return self._volumes / name / _DATA

    def make(self, name: str) -> None:
        """See VolumeDriver."""
        try:
            os.makedirs(self._volumes / name, mode=0o700, exist_ok=True)
            os.mkdir(self.path(name), 0o755)
            os.chmod(self.path(name), 0o755)  # whatever the umask
        except FileExistsError:
            return
        except OSError as error:
            with suppress(OSError):  # else it is not empty, or not there
                os.rmdir(self._volumes / name)
            raise self._explain(error) from error

    def fill(self, name: str, source_fd: int, left_out: Collection[tuple[int, int]] = ()) -> bool:
        """See VolumeDriver."""
        home = self._volumes / name
        with self._locked(home):
            try:
                _finish(home)
                if os.listdir(home / _DATA):
                    return False
                _copy(source_fd, home / _FILLING, left_out)
                os.rename(home / _FILLING, home / _FILLED)
                _finish(home)
                return True
            except OSError as error:
                remove_tree(home / _FILLING)
                raise self._explain(error) from error
            except BaseException:
                remove_tree(home / _FILLING)
                raise

    def mount(self, name: str, options: Mapping[str, str]) -> None:
        """See VolumeDriver."""
        words = ["-n", "-t", options.get("type") or "none", *(["-o", options["o"]] if options.get("o") else [])]
        path = str(self.path(name))
        done = command.run(["mount", *words, "--", options.get("device") or name, path], timeout_s=_MOUNT_LIMIT_S)
        if done.returncode != 0:
            said = " ".join(done.stderr.split()).removeprefix(f"mount: {path}: ").partition(". dmesg")[0]
            raise StorageUnusable(
                f"volume {name} cannot be mounted: {said or 'mount(8) gave no reason'}",
                hint="its options are those of mount(8): see bento volume inspect",
            )

    def remove(self, name: str) -> None:
        """See VolumeDriver."""
        try:
            with suppress(FileNotFoundError):
                os.rename(self._volumes / name, self._volumes / f"{_REMOVED}{name}.{os.urandom(4).hex()}")
        except OSError as error:
            raise self._explain(error) from error

    def clear(self, name: str) -> None:
        """See VolumeDriver."""
        for entry in self._listed():
            if entry.startswith(_REMOVED) and entry.removeprefix(_REMOVED).rpartition(".")[0] == name:
                self._delete(entry, waits=True)

    def names(self) -> list[str]:
        """See VolumeDriver."""
        return [name for name in self._listed() if not name.startswith(".")]

    def is_empty(self, name: str) -> bool:
        """See VolumeDriver."""
        home = self._volumes / name
        return not any(path.is_dir() and os.listdir(path) for path in (home / _DATA, home / _FILLED))

    def size_bytes(self, name: str) -> int:
        """See VolumeDriver."""
        return taken_bytes(self.path(name))

    def leftovers(self) -> list[str]:
        """See VolumeDriver."""
        return self._with_leftovers(is_removing=False)

    def remove_leftovers(self) -> list[str]:
        """See VolumeDriver."""
        return self._with_leftovers(is_removing=True)

    def _with_leftovers(self, *, is_removing: bool) -> list[str]:
        found = []
        for entry in self._listed():
            home = self._volumes / entry
            if entry.startswith(_REMOVED):
                is_left = self._delete(entry, waits=False) if is_removing else _is_free(home)
                found += [entry] if is_left else []
            elif any((home / name).exists() for name in (_FILLING, _FILLED)) and _is_free(home):
                if is_removing:
                    with self._locked(home):
                        _finish(home)
                found.append(f"unfinished copy into {entry}")
        return found

    def _delete(self, entry: str, *, waits: bool) -> bool:
        """Delete what was removed; False when it is gone, or another process is working on it."""
        if not waits and not _is_free(self._volumes / entry):
            return False
        try:
            with self._locked(self._volumes / entry):
                remove_tree(self._volumes / entry)
        except StorageUnusable:  # another process was quicker
            return False
        return True

    def _listed(self) -> list[str]:
        try:
            return sorted(os.listdir(self._volumes))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._explain(error) from error

    @contextmanager
    def _locked(self, directory: Path) -> Iterator[None]:
        try:
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._explain(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _explain(self, error: OSError) -> BentoError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageUnusable(f"the disk of {self._root} is full", hint="free some space and try again")
        if isinstance(error, PermissionError):
            return NotPermitted(f"{error.filename or self._volumes} may not be used by this user", hint="run as root")
        return StorageUnusable(
            f"{error.filename or self._volumes}: {error.strerror}", hint="is it there, and writable?"
        )


def _is_free(directory: Path) -> bool:
    """Whether a directory's lock is free; False when it is gone."""
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _copy(source_fd: int, target: Path, left_out: Collection[tuple[int, int]]) -> None:
    """Make ``target`` a copy of a directory: its files, and its own owner, mode and times."""
    os.mkdir(target, 0o700)
    top = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        placer = Placer(top)
        try:
            placer.put_all(walk(source_fd, left_out=left_out))
        finally:
            placer.close()
        _copy_metadata(top, source_fd)
    finally:
        os.close(top)


def _finish(home: Path) -> None:
    """Drop a copy that was not completed; bring one that was to its place. Called with the volume's lock held."""
    remove_tree(home / _FILLING)
    try:
        filled = os.open(home / _FILLED, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        data = os.open(home / _DATA, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            there = set(os.listdir(data))
            for name in os.listdir(filled):
                if name not in there:  # written since the copy was interrupted
                    os.rename(name, name, src_dir_fd=filled, dst_dir_fd=data)
            _copy_metadata(data, filled)
        finally:
            os.close(data)
    finally:
        os.close(filled)
    remove_tree(home / _FILLED)


def _copy_metadata(fd: int, source_fd: int) -> None:
    status = os.fstat(source_fd)
    apply_metadata(fd, read_entry(source_fd, "", status))
    os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))

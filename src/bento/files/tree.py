"""Deleting and measuring a directory tree that a container has filled, without trusting anything in it."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from bento.errors import CleanupFailed

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK_BYTES: Final = 512
"""The unit of st_blocks, whatever the filesystem's own (stat(2))."""


def remove_tree(path: Path) -> None:
    """Delete ``path`` and all below it. Idempotent: what is not there is deleted. Blocks for as long as it takes.

    Follows no symlink and crosses no mount point, bind mounts of the same filesystem included. Any depth needs two
    open descriptors: each directory is first renamed up into ``path``, where the kernel refuses (EBUSY) to move what
    something is mounted on in this namespace: rename(2), unlink(2), rmdir(2). What is mounted is not entered, then.

    Raises CleanupFailed naming the first thing that could not be deleted, after having deleted all the rest.
    """
    try:
        # Tells the cases apart, a mount point (EBUSY) before anything of what is mounted there has been touched.
        os.rmdir(path)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            _remove_no_directory(path)
            return
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise _cleanup_failed(path, error) from error
    try:
        top = os.open(path, _DIRECTORY)
    except OSError as error:
        raise _cleanup_failed(path, error) from error
    try:
        failure = _empty(top)
    finally:
        os.close(top)
    if failure is not None:
        raise _cleanup_failed(path, failure)
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _cleanup_failed(path, error) from error


class Taken(Struct, frozen=True):
    """What files take of the disk, and how many they are, directories among them."""

    used_bytes: int = 0
    files: int = 0


def taken_bytes(path: Path) -> int:
    """Return how much of the disk ``path`` and all below it take, as ``taken``."""
    return taken(path).used_bytes


def taken(path: Path) -> Taken:
    """Return what ``path`` and all below it take of the disk, a file with several names once.

    Follows no symlink. Blocks for as long as it takes. What goes meanwhile, or cannot be looked at, counts nothing.
    Any depth needs two open descriptors: the way back is "..", which is held against where it came from.
    """
    found_here: dict[tuple[int, int], int] = {}
    above: list[tuple[tuple[int, int], list[str]]] = []  # the directories that were left for one in them
    try:
        top = os.lstat(path)
        found_here[top.st_dev, top.st_ino] = top.st_blocks * _BLOCK_BYTES
        current = os.open(path, _DIRECTORY)
    except OSError:
        return Taken(sum(found_here.values()), len(found_here))
    try:
        here, inside = _key(os.fstat(current)), _take(current, found_here)
        while inside or above:
            if inside:
                with suppress(OSError):
                    found = os.open(inside.pop(), _DIRECTORY, dir_fd=current)
                    above.append((here, inside))
                    os.close(current)
                    current = found
                    here, inside = _key(os.fstat(current)), _take(current, found_here)
                continue
            found = os.open("..", _DIRECTORY, dir_fd=current)
            os.close(current)
            current = found
            here, inside = above.pop()
            if _key(os.fstat(current)) != here:  # moved meanwhile to somewhere that may not be ours to look at
                break
    except OSError:
        pass
    finally:
        os.close(current)
    return Taken(sum(found_here.values()), len(found_here))


def _take(directory: int, taken: dict[tuple[int, int], int]) -> list[str]:
    """Count what is in a directory; return the names of those to be looked into."""
    inside = []
    with suppress(OSError), os.scandir(directory) as found:
        for entry in found:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                taken[_key(status)] = status.st_blocks * _BLOCK_BYTES
                if stat.S_ISDIR(status.st_mode):
                    inside.append(entry.name)
    return inside


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _remove_no_directory(path: Path) -> None:
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):  # the latter: not even a directory for it to be in
        pass
    except OSError as error:
        raise _cleanup_failed(path, error) from error


def _empty(top: int) -> OSError | None:
    """Delete everything in the directory ``top``; return the first failure."""
    failures: list[OSError] = []
    count = 0
    token = os.urandom(8).hex()  # a name that nothing in the tree can have taken
    pending = [""]  # names of directories that lie in ``top``; "" is itself
    while pending:
        name = pending.pop()
        try:
            current = os.open(name, _DIRECTORY, dir_fd=top) if name else os.dup(top)
        except OSError as error:
            failures.append(error)
            continue
        try:
            for entry, is_directory in _entries(current, failures):
                moved = f".bento-{token}-{count}"
                count += 1
                if _remove_entry(current, entry, is_directory, top, moved, failures):
                    pending.append(moved)
        finally:
            os.close(current)
        if name:
            _rmdir(top, name, failures)
    return failures[0] if failures else None


def _entries(directory: int, failures: list[OSError]) -> list[tuple[str, bool]]:
    try:
        with os.scandir(directory) as found:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    except OSError as error:
        failures.append(error)
        return []


def _remove_entry(directory: int, name: str, is_directory: bool, top: int, moved: str, failures: list[OSError]) -> bool:
    """Delete one entry; or, when it is a directory with something in it, move it to ``top`` and return True."""
    try:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
            return False
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            os.rename(name, moved, src_dir_fd=directory, dst_dir_fd=top)
            return True
    except FileNotFoundError:
        pass
    except OSError as error:
        failures.append(OSError(error.errno, error.strerror, name))
    return False


def _rmdir(top: int, name: str, failures: list[OSError]) -> None:
    try:
        os.rmdir(name, dir_fd=top)
    except FileNotFoundError:
        pass
    except OSError as error:
        failures.append(error)


def _cleanup_failed(path: Path, error: OSError) -> CleanupFailed:
    what = f"{path}/{error.filename}" if error.filename and error.filename != os.fspath(path) else os.fspath(path)
    hint = "something is mounted there: unmount it first" if error.errno == errno.EBUSY else "see lsattr, mount and df"
    return CleanupFailed(f"cannot delete {what}: {error.strerror}", hint=hint)

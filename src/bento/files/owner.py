"""Giving a directory tree to another owner, without trusting anything in it: a container may be at work there."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from bento.errors import StorageUnusable

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def give(path: str, uid: int, gid: int) -> None:
    """Give ``path``, which may be a file, and all below it to a user and a group. Idempotent. Blocks.

    A link at ``path`` is followed; links below are given, and not followed. Other filesystems below are left alone.
    Any depth needs two open descriptors: the way back is "..", which is held against where it came from.

    Raises StorageUnusable for what cannot be given, or when a directory is moved away meanwhile.
    """
    try:
        top = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            status = os.fstat(top)
            if (status.st_uid, status.st_gid) != (uid, gid):
                os.chown(f"/proc/self/fd/{top}", uid, gid)
            if stat.S_ISDIR(status.st_mode):
                _below(os.open(".", _DIRECTORY, dir_fd=top), uid, gid, status.st_dev)
        finally:
            os.close(top)
    except OSError as error:
        raise StorageUnusable(
            f"cannot give {path} to {uid}:{gid}: {error.strerror}", hint="omit U, or look for what is immutable there"
        ) from error


def _below(current: int, uid: int, gid: int, device: int) -> None:
    """Walk from a directory's descriptor, which is closed at the end."""
    above: list[tuple[tuple[int, int], list[str]]] = []  # the directories that were left for one in them
    try:
        here, inside = _key(current), _give_entries(current, uid, gid, device)
        while True:
            while inside:
                try:
                    found = os.open(inside.pop(), _DIRECTORY, dir_fd=current)
                except (FileNotFoundError, NotADirectoryError):  # gone meanwhile, or something else is in its place
                    continue
                above.append((here, inside))
                os.close(current)
                current = found
                here, inside = _key(current), _give_entries(current, uid, gid, device)
            if not above:
                return
            found = os.open("..", _DIRECTORY, dir_fd=current)
            os.close(current)
            current = found
            here, inside = above.pop()
            if _key(current) != here:
                raise OSError(errno.ESTALE, "a directory was moved away meanwhile")
    finally:
        os.close(current)


def _give_entries(directory: int, uid: int, gid: int, device: int) -> list[str]:
    """Give what is in a directory; return the names of the directories."""
    inside = []
    with os.scandir(directory) as found:
        for entry in found:
            try:
                status = entry.stat(follow_symlinks=False)
                if status.st_dev != device:
                    continue
                if (status.st_uid, status.st_gid) != (uid, gid):
                    os.chown(entry.name, uid, gid, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                inside.append(entry.name)
    return inside


def _key(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino

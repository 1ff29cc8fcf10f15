"""Deletions: how a layer's archive says that something of the layers below is gone, and how overlayfs is told.

In an archive the file ``.wh.NAME`` takes NAME away, ``.wh..wh..opq`` all that lies below in its directory (image-spec,
layer.md, "Whiteouts"). To overlayfs the first is a character device 0:0, the second the attribute
``trusted.overlay.opaque`` of the directory (kernel, Documentation/filesystems/overlayfs.rst).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from msgspec import Struct

from bento.errors import UsageError

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_AUFS: Final = ".wh..wh."
"""What aufs keeps for itself: directories of hard links and of orphans."""
OPAQUE_ATTRIBUTE: Final = "trusted.overlay.opaque"
_ORIGIN_ATTRIBUTE: Final = "trusted.overlay.origin"


class Deletion(Struct, frozen=True):
    """What an entry takes away: ``name`` in the directory ``parent``; "" for all that lies below in it."""

    parent: str
    name: str


def is_marked(path: str) -> bool:
    """Whether the path of an entry has a name in it that no file can have."""
    return f"/{_WHITEOUT}" in f"/{path}"


def deletion_of(path: str) -> Deletion | None:
    """Return what an entry, whose path ``is_marked``, takes away; None for what only aufs understands.

    Raises UsageError for one that is no deletion.
    """
    parent, _, name = path.rpartition("/")
    first = next((part for part in parent.split("/") if part.startswith(_WHITEOUT)), name)
    if first == _OPAQUE and first is name:
        return Deletion(parent, "")
    if first.startswith(_AUFS):
        return None
    hidden = name.removeprefix(_WHITEOUT)
    if first is not name or hidden in ("", ".", ".."):
        raise UsageError(f"{path!r}: names that begin with {_WHITEOUT} are deletions; this is none")
    return Deletion(parent, hidden)


def make_whiteout(directory_fd: int, name: str) -> None:
    """Hide a name of the layers below in an open directory. Raises FileExistsError, OSError.

    Where no layer below has that directory, overlayfs would list the deletion itself, as a file that is not there. It
    looks for deletions in such a directory when that has an origin, be it an empty one (kernel, fs/overlayfs/inode.c,
    "non-merge dir that may have whiteouts").
    """
    os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory_fd)
    os.setxattr(directory_fd, _ORIGIN_ATTRIBUTE, b"")


def is_whiteout(there: os.stat_result) -> bool:
    """Whether this is what hides a name of the layers below."""
    return stat.S_ISCHR(there.st_mode) and there.st_rdev == 0


def deletions_only(path: str | Path) -> list[str] | None:
    """Return the directories in one in which there is nothing but deletions, and such directories; else None.

    They are relative to it. No link is followed, not at the end of ``path`` either. Raises OSError.
    """
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = [""]
        for inner in found:
            with os.scandir(f"/proc/self/fd/{top}/{inner}") as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        found.append(f"{inner}/{entry.name}" if inner else entry.name)
                    elif not is_whiteout(entry.stat(follow_symlinks=False)):
                        return None
        return found[1:]
    finally:
        os.close(top)


def is_opaque(path: Path) -> bool:
    """Whether a directory hides what the layers below have in it; what is not there does not."""
    try:
        return os.getxattr(path, OPAQUE_ATTRIBUTE, follow_symlinks=False) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP, errno.ENOENT):
            return False
        raise

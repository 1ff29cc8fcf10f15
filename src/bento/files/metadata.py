"""Owner, mode and attributes of a file that is placed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Final

from bento.files.entry import Entry
from bento.files.planted import is_planted
from bento.model.namespaces.mapping import IdMapping

_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_CAPABILITY: Final = "security.capability"


def apply_metadata(fd: int, entry: Entry, owner: tuple[int, int] | None = None) -> None:
    """Give a file its owner, mode and attributes, in an order in which setting one clears no other.

    ``owner``: as for Placer.
    """
    os.fchown(fd, *(owner or (entry.uid, entry.gid)))
    mode = stat.S_IMODE(entry.mode)
    if owner is not None and not entry.is_directory:
        mode &= ~_SET_ID
    os.fchmod(fd, mode)
    for name, value in entry.xattrs.items():
        if owner is None or name != _CAPABILITY:
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):  # not what this filesystem can keep
                    raise


def keep_mode(parent_fd: int, name: str, there: os.stat_result) -> None:
    """Give a new file the mode of the one in its place, but for set-id bits, and for a stranger's in /tmp."""
    if is_planted(os.fstat(parent_fd), there):
        return
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(there.st_mode) & 0o777)
    finally:
        os.close(fd)


def inside(entries: Iterable[Entry], ids: IdMapping | None) -> Iterator[Entry]:
    """Yield entries with the owners that they have in a user namespace; None: as they are."""
    for entry in entries:
        if ids is not None:
            entry.uid, entry.gid = ids.from_machine((entry.uid, entry.gid))
        yield entry


def strip_owner(entries: Iterable[Entry], owner: tuple[int, int] | None, left_out: list[str]) -> Iterator[Entry]:
    """Yield entries for another program to place as a Placer of this ``owner`` would; note paths of device nodes."""
    for entry in entries:
        if owner is not None:
            if entry.is_device and not entry.link:
                left_out.append(entry.path)
                continue
            entry.uid, entry.gid = owner
            entry.mode &= ~(0 if entry.is_directory else _SET_ID)
            entry.xattrs = {name: value for name, value in entry.xattrs.items() if name != _CAPABILITY}
        yield entry

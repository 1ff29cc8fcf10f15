"""Names that another user has put where root may come by: links and files in a directory such as /tmp.

The kernel does not follow such a link where fs.protected_symlinks is set (proc(5)), but lets a program read it and go
where it leads, as is done here to find out where a file is to be.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from bento.errors import Conflict, UsageError

_LINKS_MAX: Final = 40  # as the kernel's own (path_resolution(7))


def is_planted(directory: os.stat_result, there: os.stat_result) -> bool:
    """Whether what is in a directory where all may make names is another user's."""
    is_open_to_all = directory.st_mode & stat.S_ISVTX and directory.st_mode & stat.S_IWOTH
    return bool(is_open_to_all) and there.st_uid not in (os.geteuid(), directory.st_uid)


def refuse_link(directory: os.stat_result, link: os.stat_result, path: str | Path) -> None:
    """Raise Conflict for a link that is not to be followed."""
    if is_planted(directory, link):
        raise Conflict(
            f"{path} is a link that user {link.st_uid} has made in a directory where all may: it is not followed",
            hint="name the place that it leads to, or remove it",
        )


def resolved(target: Path) -> Path:
    """Return where a path leads, also where nothing is yet. Raises Conflict, UsageError; OSError."""
    for _ in range(_LINKS_MAX):
        parent = target.parent.resolve()
        if target.name in ("", "..") or parent.is_relative_to("/proc"):  # /dev/stdout: no name that is really there
            return target
        target = parent / target.name
        try:
            link = target.lstat()
        except FileNotFoundError:
            return target
        if not stat.S_ISLNK(link.st_mode):
            return target
        refuse_link(parent.stat(), link, target)
        target = parent / target.readlink()
    raise UsageError(f"{target}: too many links")

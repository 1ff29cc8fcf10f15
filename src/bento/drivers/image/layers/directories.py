"""What a layer's archive says of its directories, and what it leaves unsaid; kept until all of it is unpacked.

Directories get their owner, mode, attributes and times last: a set-group-ID bit or a default ACL would be inherited,
and every new entry would change the times.
"""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bento.drivers.image.layers.whiteouts import deletions_only, make_whiteout
from bento.errors import UsageError
from bento.files.rootfs import open_without_links
from bento.files.tarheader import Meta
from bento.files.tree import remove_tree

BROKEN: Final = "the image specification forbids it: build the image anew"
MEMORY_MAX_BYTES: Final = 512 << 20
"""What may be kept of a layer's directories and deletions until all of it is unpacked: some hundred thousand."""
_EACH_BYTES: Final = 400
"""What one of them takes, besides its name and its attributes (measured)."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Directories:
    """The directories below an open one, by their real paths, through no link; "" is that one."""

    def __init__(self, root: int) -> None:
        self.implied = {""}
        """Those that no entry describes, only made because something lies in them: what they are is said by the layers
        below, see ``seams``."""
        self.once_implied: set[str] = set()
        """Those of which the same holds up to some entry, and not in the end."""
        self._root = root
        self._described: dict[str, Meta] = {}
        self._filled: set[str] = set()  # those, and all that they are in
        self._emptied: set[str] = set()
        self._names: set[str] = set()  # of entries that the filesystem itself would take twice
        self._memory_bytes = 0

    def check_first(self, name: str, entry: tarfile.TarInfo) -> None:
        """Raise UsageError for a second directory, or deletion, of one name, and for too many."""
        if name in self._names:
            raise twice(name)
        self._names.add(name)
        self._count(name, sum(map(len, entry.pax_headers.values())))

    def describe(self, path: str, meta: Meta) -> None:
        """Note what an entry says of a directory."""
        self._described[path] = meta
        for above in _upwards(path):
            if above in self._filled:
                break
            self._filled.add(above)
        self._say(path)

    def imply(self, path: str) -> None:
        """Note a directory that was made, and of which no entry says anything. Raises UsageError for too many."""
        self._count(path, 0)
        self.implied.add(path)

    def empty(self, path: str) -> None:
        """Note a directory that is to have nothing of the layers below in it, nor to be what it is there."""
        self._emptied.add(path)
        self._say(path)

    def finish(self) -> None:
        """Give the directories what is theirs, the deepest first. Raises OSError."""
        if self._emptied:
            self._delete_all_empty()
        for path in sorted(self._described, reverse=True):
            mode, uid, gid, mtime_ns, attributes = self._described[path]
            fd = open_without_links(self._root, path, _DIRECTORY)
            try:
                os.fchown(fd, uid, gid)
                set_attributes(fd, attributes, is_regular=True)
                os.fchmod(fd, mode)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)

    def delete_empty(self, path: str) -> bool:
        """Take an emptied directory away that has nothing but deletions in it. Return whether it was one."""
        return path in self._emptied and path not in self._filled and self._remove_empty(path, is_deletion=False)

    def _count(self, path: str, more_bytes: int) -> None:
        self._memory_bytes += _EACH_BYTES + 2 * len(path) + more_bytes
        if self._memory_bytes > MEMORY_MAX_BYTES:
            raise UsageError("it has more directories and deletions, or more attributes of them, than any image needs")

    def _say(self, path: str) -> None:
        if path in self.implied:
            self.implied.remove(path)
            if path:  # no name goes through a link to the root directory itself
                self.once_implied.add(path)

    def _delete_all_empty(self) -> None:
        """Make deletions of emptied directories in which, by now, there is nothing but deletions, too."""
        for path in sorted(self._emptied, reverse=True):
            if path not in self._filled and not self._remove_empty(path, is_deletion=True):
                self._filled.update(_upwards(path))  # nor are those that it is in, which need not be looked through

    def _remove_empty(self, path: str, *, is_deletion: bool) -> bool:
        above, _, name = path.rpartition("/")
        parent = open_without_links(self._root, above, _DIRECTORY)
        try:
            directory = f"/proc/self/fd/{parent}/{name}"
            inside = deletions_only(directory)
            if inside is None:
                return False
            remove_tree(Path(directory))
            if is_deletion:
                make_whiteout(parent, name)
        finally:
            os.close(parent)
        for each in (path, *(f"{path}/{name}" for name in inside)):
            self._emptied.discard(each)
            self._say(each)  # nothing is known of it any more: what went through it may have gone elsewhere
        return True


def _upwards(path: str) -> Iterator[str]:
    """Yield a path, and those of the directories it is in, but for the root."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def twice(path: str) -> UsageError:
    """Return the error for a second entry."""
    return UsageError(f"two entries have the place {path!r}", hint=BROKEN)


def set_attributes(where: int | str, attributes: dict[str, bytes], *, is_regular: bool) -> None:
    """Give a file its extended attributes; those that it cannot have here are left out. Raises OSError."""
    for name, value in attributes.items():
        if name.startswith("user.") and not is_regular:
            continue  # only files and directories can have these (xattr(7))
        try:
            if isinstance(where, int):
                os.setxattr(where, name, value)
            else:
                os.setxattr(where, name, value, follow_symlinks=False)
        except OSError as error:
            # What security module runs here, if any, is not the image's to say; all else is part of its files.
            if error.errno != errno.ENOTSUP or name == "security.capability":
                raise

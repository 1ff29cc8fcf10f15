"""Reading a tar archive, plain or compressed, that comes from anywhere."""

from __future__ import annotations

import lzma
import os
import posixpath
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final, cast

from bento.errors import UsageError
from bento.files.entry import CHUNK_BYTES, KEPT_XATTRS, Entry

_XATTR: Final = "SCHILY.xattr."
_KINDS: Final = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.AREGTYPE: stat.S_IFREG,
    tarfile.CONTTYPE: stat.S_IFREG,
    tarfile.GNUTYPE_SPARSE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.LNKTYPE: stat.S_IFREG,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}
_BROKEN: Final = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)


def read_tar(stream: IO[bytes], words: str) -> Iterator[Entry]:
    """Yield the entries of an archive; ``words`` name it in errors. Nothing in it leads out of where it is put.

    Raises UsageError for what is no archive, is cut short, or has a name that leaves its directory.
    """
    with _told(words), tarfile.open(fileobj=stream, mode="r|*", errorlevel=2, errors="surrogateescape") as archive:
        for member in archive:
            yield _entry(archive, member, words)


@contextmanager
def _told(words: str) -> Iterator[None]:
    """Say what is wrong with an archive in our words; not what is wrong with the system."""
    try:
        yield
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UsageError(f"{words} is no tar archive, or not a whole one: {error}") from error


class _MemberBody:
    """A member's content, as it comes."""

    def __init__(self, source: IO[bytes], words: str, *, is_sparse: bool) -> None:
        self._source = source
        self._words = words
        self._is_sparse = is_sparse

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """See Body."""
        position = 0
        while data := self._next():
            if not (self._is_sparse and not data.strip(b"\0")):
                yield position, data
            position += len(data)

    def _next(self) -> bytes:
        with _told(self._words):
            return self._source.read(CHUNK_BYTES)


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, words: str) -> Entry:
    if member.type not in _KINDS:
        raise UsageError(f"{words} holds something of an unknown kind: {member.name}")
    entry = Entry(
        path=_clean(member.name, words),
        mode=_KINDS[member.type] | (member.mode & 0o7777),
        uid=member.uid,
        gid=member.gid,
        mtime_ns=_mtime_ns(member),
        target=member.linkname if member.issym() else "",
        link=_clean(member.linkname, words) if member.islnk() else "",
        xattrs={
            name: os.fsencode(value)
            for key, value in member.pax_headers.items()
            if key.startswith(_XATTR) and (name := key.removeprefix(_XATTR)).startswith(KEPT_XATTRS)
        },
    )
    if member.ischr() or member.isblk():
        entry.device = os.makedev(member.devmajor, member.devminor)
    if member.isfile():
        entry.size = member.size
        entry.body = _MemberBody(cast("IO[bytes]", archive.extractfile(member)), words, is_sparse=member.issparse())
    return entry


def _clean(name: str, words: str) -> str:
    """Return a member's name as an entry has it. Raises UsageError for one that leads upwards."""
    if ".." in name.split("/") or "\0" in name:
        raise UsageError(f"{words} holds a name that leaves its directory: {name!r}")
    path = posixpath.normpath(f"/{name}").strip("/")
    return path


def _mtime_ns(member: tarfile.TarInfo) -> int:
    text = member.pax_headers.get("mtime", "")
    seconds, _, fraction = text.partition(".")
    if seconds.isdigit() and (fraction.isdigit() or not fraction):
        return int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)
    return int(member.mtime * 10**9)

"""Reading a tar archive, plain or compressed, that comes from anywhere."""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final, cast

from bento.errors import UsageError
from bento.files.entry import KEPT_XATTRS, Entry
from bento.files.tarheader import device_of, meta_of, no_nul
from bento.files.tarstream import Stream, entries

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
_PACKED: Final[tuple[tuple[bytes, Callable[[IO[bytes]], object]], ...]] = (
    (b"\x1f\x8b", lambda source: gzip.GzipFile(fileobj=source)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)
_HEAD_BYTES: Final = 6
_BROKEN: Final = (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)


def read_tar(source: IO[bytes], words: str) -> Iterator[Entry]:
    """Yield the entries of an archive; ``words`` name it in errors. Nothing in it leads out of where it is put.

    Raises UsageError for what is no archive, is cut short, or has a name that leaves its directory.
    """
    stream = Stream(_unpacked(source).read)
    members = entries(stream)
    while True:
        with _map_tar_errors(words):
            member = next(members, None)
            if member is None:
                return
            entry = _entry(stream, member, words)
        yield entry


def _unpacked(source: IO[bytes]) -> IO[bytes]:
    head = source.read(_HEAD_BYTES)
    whole = cast("IO[bytes]", _Rewound(head, source))
    for magic, opened in _PACKED:
        if head.startswith(magic):
            return cast("IO[bytes]", opened(whole))
    return whole


class _Rewound:
    """A stream of which the beginning was read already."""

    def __init__(self, head: bytes, source: IO[bytes]) -> None:
        self._head, self._source = head, source

    def read(self, size: int) -> bytes:
        """Return some bytes, at most so many; b"" at the end."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._source.read(size)


@contextmanager
def _map_tar_errors(words: str) -> Iterator[None]:
    """Say what is wrong with an archive in our words; not what is wrong with the system."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{words}: {error.message}", hint=error.hint) from error
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UsageError(f"{words} is no tar archive, or not a whole one: {error}") from error


class _MemberBody:
    """A member's content, as it comes."""

    def __init__(self, stream: Stream, member: tarfile.TarInfo, words: str) -> None:
        self._stream = stream
        self._member = member
        self._words = words

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """See Body."""
        member = self._member
        whole = [(0, member.size)]
        for begin, size in cast("list[tuple[int, int]]", member.sparse) if member.sparse is not None else whole:
            position = begin
            with _map_tar_errors(self._words):
                if min(begin, size) < 0 or begin + size > member.size:
                    raise UsageError(f"{member.name!r} is damaged: a part of it lies outside of it")
            for piece in self._pieces(size):
                yield position, piece
                position += len(piece)

    def _pieces(self, size: int) -> Iterator[bytes]:
        pieces = self._stream.pieces(size)
        while True:
            with _map_tar_errors(self._words):
                piece = next(pieces, None)
            if piece is None:
                return
            yield bytes(piece)


def _entry(stream: Stream, member: tarfile.TarInfo, words: str) -> Entry:
    if member.type not in _KINDS:
        raise UsageError(f"it holds something of an unknown kind: {member.name}")
    mode, uid, gid, mtime_ns, attributes = meta_of(member)
    entry = Entry(
        path=_clean(member.name),
        mode=_KINDS[member.type] | mode,
        uid=uid,
        gid=gid,
        mtime_ns=mtime_ns,
        target=no_nul(member.linkname) if member.issym() else "",
        link=_clean(member.linkname) if member.islnk() else "",
        xattrs={name: value for name, value in attributes.items() if name.startswith(KEPT_XATTRS)},
    )
    if member.ischr() or member.isblk():
        entry.device = device_of(member)[1]
    if member.isfile():
        entry.size = member.size
        entry.body = _MemberBody(stream, member, words)
    return entry


def _clean(name: str) -> str:
    """Return a member's name as an entry has it. Raises UsageError for one that leads upwards."""
    if ".." in name.split("/"):
        raise UsageError(f"it holds a name that leaves its directory: {name!r}")
    return posixpath.normpath(f"/{no_nul(name)}").strip("/")

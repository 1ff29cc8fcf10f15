"""Writing a tar archive: ustar headers, and pax records for what does not fit into them (POSIX.1-2008, pax).

Extended attributes are SCHILY.xattr.* records, as GNU tar and Go write them; files with large holes are in GNU tar's
sparse format 1.0, which Go and Python read, too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from bento.files.entry import Entry, FileBody

_BLOCK: Final = 512
_END: Final = bytes(2 * _BLOCK)
_ZEROS: Final = bytes(1 << 16)
_BUFFER_BYTES: Final = 1 << 16
_NAME_BYTES: Final = 100
_PREFIX_BYTES: Final = 155
_ID_MAX: Final = 0o7777777
_NUMBER_MAX: Final = 0o77777777777
SPARSE_BYTES: Final = 1 << 20
"""Holes smaller than this in all are written as zeros: not every reader of tar knows of sparse files."""

_KINDS: Final = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}


class TarWriter:
    """An archive on its way to ``write``. ``close`` writes its end."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._sink = write
        self._buffer = bytearray()

    def add_all(self, entries: Iterable[Entry], base: str) -> None:
        """Add every entry below the name ``base``; "" is the archive's own top, which is not named then."""
        front = f"{base}/" if base else ""
        for entry in entries:
            if entry.path or base:
                name = f"{front}{entry.path}" if entry.path else base
                self.add(entry, name, link=f"{front}{entry.link}" if entry.link else "")

    def add(self, entry: Entry, name: str, *, link: str = "") -> None:
        """Add one entry under a name; ``link``: the name of an earlier one that it is another name of."""
        if link:
            self._header(entry, name, b"1", target=link)
            return
        if not stat.S_ISREG(entry.mode):
            slash = "/" if entry.is_directory else ""
            self._header(entry, name + slash, _KINDS[stat.S_IFMT(entry.mode)], target=entry.target)
            return
        body = entry.body
        extents = list(body.extents()) if isinstance(body, FileBody) else []
        if isinstance(body, FileBody) and entry.size - sum(end - begin for begin, end in extents) >= SPARSE_BYTES:
            self._add_sparse(entry, name, body, extents)
            return
        self._header(entry, name, b"0", size=entry.size)
        self._content(body.chunks() if body is not None else iter(()), [(0, entry.size)])

    def close(self) -> None:
        """Write the end of the archive."""
        self._write(_END)
        self._flush()

    def _write(self, data: bytes) -> None:
        if len(self._buffer) + len(data) > _BUFFER_BYTES:
            self._flush()
        if len(data) >= _BUFFER_BYTES:
            self._sink(data)
        else:
            self._buffer += data

    def _flush(self) -> None:
        if self._buffer:
            self._sink(bytes(self._buffer))
            self._buffer.clear()

    def _add_sparse(self, entry: Entry, name: str, body: FileBody, extents: list[tuple[int, int]]) -> None:
        if not extents or extents[-1][1] < entry.size:
            extents = [*extents, (entry.size, entry.size)]  # where the file ends
        numbers = [len(extents), *(number for begin, end in extents for number in (begin, end - begin))]
        table = "".join(f"{number}\n" for number in numbers).encode()
        table += bytes(-len(table) % _BLOCK)
        directory, _, last = name.rpartition("/")
        records = {
            "GNU.sparse.major": b"1",
            "GNU.sparse.minor": b"0",
            "GNU.sparse.name": os.fsencode(name),
            "GNU.sparse.realsize": str(entry.size).encode(),
        }
        stored_bytes = len(table) + sum(end - begin for begin, end in extents)
        self._header(entry, f"{directory or '.'}/GNUSparseFile.0/{last}", b"0", size=stored_bytes, records=records)
        self._write(table)
        self._content(body.read(extents), extents)

    def _content(self, chunks: Iterator[tuple[int, bytes]], extents: list[tuple[int, int]]) -> None:
        """Write exactly what the extents hold: zeros where nothing comes, as for what was cut off meanwhile."""
        written_bytes = 0
        pending = next(chunks, None)
        for begin, end in extents:
            position = begin
            while position < end:
                if pending is None or pending[0] >= end:
                    position = self._zeros(position, end)
                elif pending[0] > position:
                    position = self._zeros(position, pending[0])
                else:
                    self._write(pending[1])
                    position += len(pending[1])
                    pending = next(chunks, None)
            written_bytes += end - begin
        self._write(bytes(-written_bytes % _BLOCK))

    def _zeros(self, begin: int, end: int) -> int:
        for position in range(begin, end, len(_ZEROS)):
            self._write(_ZEROS[: min(len(_ZEROS), end - position)])
        return end

    def _header(
        self,
        entry: Entry,
        name: str,
        kind: bytes,
        *,
        size: int = 0,
        target: str = "",
        records: dict[str, bytes] | None = None,
    ) -> None:
        records = dict(records or {})
        prefix, short = _split_name(os.fsencode(name))
        if short is None:
            records["path"] = os.fsencode(name)
        link = os.fsencode(target)
        if len(link) > _NAME_BYTES:
            records["linkpath"] = link
        seconds, rest_ns = divmod(entry.mtime_ns, 10**9)
        if rest_ns or not 0 <= seconds <= _NUMBER_MAX:
            records["mtime"] = _time(entry.mtime_ns)
        for key, value, limit in (
            ("uid", entry.uid, _ID_MAX),
            ("gid", entry.gid, _ID_MAX),
            ("size", size, _NUMBER_MAX),
        ):
            if value > limit:
                records[key] = str(value).encode()
        records |= {f"SCHILY.xattr.{key}": value for key, value in entry.xattrs.items()}
        if records:
            data = b"".join(_record(key, value) for key, value in records.items())
            self._write(_ustar(b"PaxHeaders/" + os.fsencode(name)[-80:], b"", b"x", 0o644, size=len(data)))
            self._write(data + bytes(-len(data) % _BLOCK))
        self._write(
            _ustar(
                short if short is not None else os.fsencode(name)[-_NAME_BYTES:],
                prefix,
                kind,
                stat.S_IMODE(entry.mode),
                uid=min(entry.uid, _ID_MAX),
                gid=min(entry.gid, _ID_MAX),
                size=size if size <= _NUMBER_MAX else 0,
                mtime_s=min(max(seconds, 0), _NUMBER_MAX),
                link=link[:_NAME_BYTES],
                device=entry.device,
            )
        )


def _split_name(name: bytes) -> tuple[bytes, bytes | None]:
    """Return (prefix, name) as they fit into a header, or (b"", None)."""
    if len(name) <= _NAME_BYTES:
        return b"", name
    cut = name.find(b"/", max(0, len(name) - _NAME_BYTES - 1), _PREFIX_BYTES + 1)
    if cut <= 0 or cut == len(name) - 1:
        return b"", None
    return name[:cut], name[cut + 1 :]


def _time(mtime_ns: int) -> bytes:
    sign, (seconds, rest_ns) = "-" if mtime_ns < 0 else "", divmod(abs(mtime_ns), 10**9)
    return f"{sign}{seconds}.{rest_ns:09d}".rstrip("0").rstrip(".").encode()


def _record(key: str, value: bytes) -> bytes:
    """A pax record, which begins with its own length."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _ustar(
    name: bytes,
    prefix: bytes,
    kind: bytes,
    mode: int,
    *,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime_s: int = 0,
    link: bytes = b"",
    device: int = 0,
) -> bytes:
    fields = [
        name.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % uid,
        b"%07o\0" % gid,
        b"%011o\0" % size,
        b"%011o\0" % mtime_s,
        b" " * 8,
        kind,
        link.ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),
        b"%07o\0" % os.major(device),
        b"%07o\0" % os.minor(device),
        prefix.ljust(155, b"\0"),
        bytes(12),
    ]
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]

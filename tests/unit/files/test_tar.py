"""Archives that we write are read by others, and the other way round; none leads out of its place."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.errors import UsageError
from bento.files.entry import Entry, FileBody
from bento.files.tarin import read_tar
from bento.files.tarout import SPARSE_BYTES, TarWriter


class Held:
    """Content that is there."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def chunks(self):
        yield 0, self._data


def archive(*entries: Entry, base: str = "") -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    writer.add_all(entries, base)
    writer.close()
    return out.getvalue()


def file(path: str, data: bytes = b"", **more) -> Entry:
    return Entry(path=path, mode=stat.S_IFREG | 0o644, size=len(data), body=Held(data), **more)


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        return read.getmembers()


NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=120).filter(
        lambda name: name not in (".", "..") and name.strip() == name
    ),
    min_size=1,
    max_size=4,
).map("/".join)


@given(
    path=NAMES,
    data=st.binary(max_size=2000),
    uid=st.integers(0, 2**32 - 2),
    mtime_ns=st.integers(-(10**18), 10**19),
    xattr=st.binary(max_size=300),
    mode=st.integers(0, 0o7777),
)
def test_what_is_written_is_read_back(path: str, data: bytes, uid: int, mtime_ns: int, xattr: bytes, mode: int) -> None:
    entry = file(path, data, uid=uid, gid=uid, mtime_ns=mtime_ns, xattrs={"user.x": xattr})
    entry.mode = stat.S_IFREG | mode
    written = archive(entry)
    assert len(written) % 512 == 0
    read = next(read_tar(io.BytesIO(written), "it"))
    assert (read.path, read.mode, read.uid, read.gid, read.size) == (path, entry.mode, uid, uid, len(data))
    if mtime_ns >= 0:
        assert read.mtime_ns == mtime_ns
    assert read.xattrs == {"user.x": xattr}
    assert read.body is not None


@pytest.mark.parametrize("length", [1, 99, 100, 101, 155, 200, 256, 257, 300])
def test_long_names_and_targets(length: int) -> None:
    deep = ("d" * 49 + "/") * (length // 50) + "f" * (length % 50 or 1)
    link = Entry(path=deep, mode=stat.S_IFLNK | 0o777, target=deep)
    assert [(m.name, m.linkname) for m in members(archive(link))] == [(deep, deep)]
    flat = Entry(path="f" * length, mode=stat.S_IFDIR | 0o755)
    assert [m.name for m in members(archive(flat, base="base"))] == [f"base/{'f' * length}"]


def test_every_kind_of_file() -> None:
    entries = [
        Entry(path="", mode=stat.S_IFDIR | 0o1777),
        file("f", b"hello"),
        Entry(path="again", mode=stat.S_IFREG, link="f"),
        Entry(path="null", mode=stat.S_IFCHR | 0o666, device=os.makedev(1, 3)),
        Entry(path="fifo", mode=stat.S_IFIFO | 0o600),
        Entry(path="link", mode=stat.S_IFLNK | 0o777, target="/etc/passwd"),
        file(os.fsdecode(b"not\xffutf8")),
    ]
    data = archive(*entries, base="top")
    read = list(read_tar(io.BytesIO(data), "it"))
    assert [entry.path for entry in read] == [f"top/{entry.path}".rstrip("/") for entry in entries]
    assert [stat.S_IFMT(entry.mode) for entry in read] == [stat.S_IFMT(entry.mode) for entry in entries]
    assert (read[2].link, read[3].device, read[5].target) == ("top/f", os.makedev(1, 3), "/etc/passwd")
    listed = subprocess.run(["tar", "-tf", "-"], input=data, capture_output=True, check=True)
    assert listed.stdout.count(b"\n") == len(entries)
    assert listed.stderr == b""


def test_sparse_files_stay_sparse_for_gnu_tar_and_python(tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as made:
        made.truncate(8 * SPARSE_BYTES)
        made.seek(3 * SPARSE_BYTES)
        made.write(b"x" * 5000)
    fd = os.open(tmp_path / "sparse", os.O_RDONLY)
    try:
        if list(FileBody(fd, 8 * SPARSE_BYTES).extents()) == [(0, 8 * SPARSE_BYTES)]:
            pytest.skip("kernel: this filesystem knows of no holes")
        entry = Entry(path="dir/sparse", mode=stat.S_IFREG | 0o644, size=8 * SPARSE_BYTES)
        entry.body = FileBody(fd, entry.size)
        data = archive(entry, file("after", b"whole"))
    finally:
        os.close(fd)
    assert len(data) < 40_000
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-x", "-C", tmp_path / "out"], input=data, check=True)
    assert (tmp_path / "out/dir/sparse").read_bytes() == (tmp_path / "sparse").read_bytes()
    assert (tmp_path / "out/dir/sparse").stat().st_blocks * 512 < SPARSE_BYTES
    assert (tmp_path / "out/after").read_bytes() == b"whole"
    read = read_tar(io.BytesIO(data), "it")
    first = next(read)
    assert first.body is not None
    assert first.size == 8 * SPARSE_BYTES
    assert sum(len(piece) for _, piece in first.body.chunks()) <= SPARSE_BYTES


def test_a_file_that_shrinks_while_it_is_read_is_filled_up(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        entry = Entry(path="f", mode=stat.S_IFREG | 0o644, size=2000, body=FileBody(fd, 2000))
        data = archive(entry, file("after", b"x"))
    finally:
        os.close(fd)
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        content = read.extractfile("f")
        assert content is not None
        assert content.read() == b"abc" + bytes(1997)
        assert read.getnames() == ["f", "after"]


@pytest.mark.parametrize("name", ["../f", "a/../../f", "a/.."])
def test_names_that_lead_upwards_are_refused(name: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.addfile(tarfile.TarInfo(name))
    with pytest.raises(UsageError, match="leaves its directory"):
        list(read_tar(io.BytesIO(out.getvalue()), "it"))


def test_absolute_names_are_taken_as_relative() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.addfile(tarfile.TarInfo("/etc/./passwd"))
    assert [entry.path for entry in read_tar(io.BytesIO(out.getvalue()), "it")] == ["etc/passwd"]


def read_all(data: bytes) -> None:
    for entry in read_tar(io.BytesIO(data), "it"):
        assert ".." not in entry.path.split("/")
        if entry.body is not None:
            list(entry.body.chunks())


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_compressed_archives_and_cut_ones(mode: Any) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as made:
        info = tarfile.TarInfo("f")
        info.size = 100_000
        made.addfile(info, io.BytesIO(os.urandom(100_000)))
    whole = out.getvalue()
    (entry,) = read_tar(io.BytesIO(whole), "it")
    assert entry.size == 100_000
    with pytest.raises(
        UsageError, match=r"^it(: the archive ends in the middle| is no tar archive, or not a whole one)"
    ):
        read_all(whole[:50_000])


@pytest.mark.parametrize(
    "junk", [b"x" * 1000, b"\x1f\x8b" + b"x" * 600, os.urandom(2000)], ids=["text", "gzip", "noise"]
)
def test_what_is_no_archive(junk: bytes) -> None:
    with pytest.raises(UsageError, match=r"^it(: this)? is no tar archive"):
        list(read_tar(io.BytesIO(junk), "it"))


def member(**fields: Any) -> bytes:
    info = tarfile.TarInfo("f")
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize("mtime", ["1" + "0" * 29, "\u00b2", "nan", "-inf", "1e9"])
def test_a_time_that_makes_no_sense_is_1970(mtime: str) -> None:
    (entry,) = read_tar(io.BytesIO(member(pax_headers={"mtime": mtime})), "it")
    assert entry.mtime_ns == 0


@pytest.mark.parametrize(
    "headers",
    [{"uid": str(2**40)}, {"SCHILY.xattr.user.\0a": "x"}, {"linkpath": "a\0b"}],
    ids=["owner", "name", "link"],
)
def test_what_no_file_can_have_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"^it: "):
        list(read_tar(io.BytesIO(member(pax_headers=headers, type=tarfile.SYMTYPE)), "it"))


def test_a_damaged_header_is_not_taken_for_the_end() -> None:
    with pytest.raises(UsageError, match=r"^it: this is no tar archive, or a damaged one"):
        list(read_tar(io.BytesIO(member() + b"\xff" * 512 + member()), "it"))


def test_of_a_sparse_file_of_any_size_only_what_there_is_comes() -> None:
    sparse = {"major": "1", "minor": "0", "name": "f", "realsize": str(2**42)}
    headers = {f"GNU.sparse.{key}": value for key, value in sparse.items()}
    data = member(size=515, pax_headers=headers) + b"1\n7\n3\n".ljust(512, b"\0") + b"abc".ljust(512, b"\0")
    for entry in read_tar(io.BytesIO(data), "it"):
        assert entry.body is not None
        assert (entry.size, list(entry.body.chunks())) == (2**42, [(7, b"abc")])


@given(st.binary(max_size=1024), st.integers(0, 10_000))
def test_damage_is_refused_or_harmless(noise: bytes, where: int) -> None:
    data = bytearray(archive(file("a", b"x" * 3000, xattrs={"user.y": b"z"}), file("b/c", b"y" * 700)))
    where %= len(data)
    data[where : where + len(noise)] = noise[: len(data) - where]
    with suppress(UsageError):
        read_all(bytes(data))

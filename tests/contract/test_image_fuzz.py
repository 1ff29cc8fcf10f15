"""Whatever a layer's bytes are: it is unpacked, or UsageError is raised; nothing outside its directory changes.

More than CI tries: ``make fuzz``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bento.drivers.image.layers.metadata import LayerMetadata
from bento.drivers.image.layers.seams import make_seam
from bento.drivers.image.layers.unpack import unpack
from bento.errors import UsageError
from bento.files import tarstream

from support.layers import Entry, file, symlink, tar
from support.stacks import tree

EXAMPLES = int(os.environ.get("BENTO_FUZZ_EXAMPLES", "60"))
FUZZ = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
BLOCK = 512

PARTS = st.sampled_from(
    ["a", "b", "c", "..", ".", "", "/", ".wh.a", ".wh..wh..opq", ".wh.", ".wh...", "\n", "\udcff", "x" * 255]
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
TARGETS = NAMES | st.sampled_from(["/", "../outside", "../outside/file", "/proc/self/cwd", "."])
NUMBERS = st.sampled_from([0, 1, 7, 0o4755, 0o7777, 2**31, 2**32 - 1, 2**33, 2**62])
KEYS = st.sampled_from(
    ["path", "linkpath", "size", "uid", "gid", "mtime", "SCHILY.xattr.user.a", "SCHILY.xattr.trusted.overlay.opaque",
     "SCHILY.xattr.security.capability", "GNU.sparse.map", "GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.size",
     "GNU.sparse.realsize", "GNU.sparse.name", "GNU.sparse.numbytes", "hdrcharset", "comment"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["", "0", "1", "-1", "1.5", "nan", "1e400", "0,1", "0,1,2,3", "9" * 30, "../x", "/", "\0", "ä"]
)
TYPES = st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"L", b"K", b"S", b"x", b"g", b"\0", b"Z"])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(TYPES)
    fields: dict[str, Any] = {"type": kind, "linkname": draw(TARGETS) if kind in b"12" else ""}
    for name in draw(st.sets(st.sampled_from(["mode", "uid", "gid", "devmajor", "devminor"]), max_size=2)):
        fields[name] = draw(NUMBERS)
    if draw(st.booleans()):
        fields["pax_headers"] = draw(st.dictionaries(KEYS, VALUES, max_size=4))
    return Entry(draw(NAMES), fields, draw(st.binary(max_size=600)))


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A valid archive of odd entries; some of its bytes changed, with the checksums put right or not; cut or not."""
    made = b""
    for entry in draw(st.lists(entries(), max_size=5)):
        with contextlib.suppress(ValueError):  # what no archive can say
            made += tar([entry])[: -2 * BLOCK].rstrip(bytes(1)) or b""
            made += bytes(-len(made) % BLOCK)
    content = bytearray(made + bytes(2 * BLOCK))
    for _ in range(draw(st.integers(0, 3))):
        block = draw(st.integers(0, len(content) // BLOCK - 1)) * BLOCK
        at, new = draw(st.integers(0, BLOCK - 9)), draw(st.binary(min_size=1, max_size=8))
        content[block + at : block + at + len(new)] = new
        if draw(st.booleans()):
            content[block + 148 : block + 156] = b" " * 8
            content[block + 148 : block + 156] = b"%06o\0 " % sum(content[block : block + BLOCK])
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


@pytest.fixture(scope="module")
def ground(scratch: Path) -> Path:
    path = Path(tempfile.mkdtemp(prefix="fuzz", dir=scratch))
    (path / "outside").mkdir()
    (path / "outside" / "file").write_text("precious")
    return path


@contextlib.contextmanager
def unpacked(ground: Path, content: bytes) -> Iterator[tuple[Path, LayerMetadata] | None]:
    """Unpack in a directory beside ``outside``; None when it was refused. Nothing else may have changed."""
    before = (sorted(os.listdir(ground)), tree(ground / "outside"), (ground / "outside" / "file").stat().st_nlink)
    archive, target = ground / "archive", ground / "target"
    archive.write_bytes(content)
    target.mkdir()
    fd = os.open(archive, os.O_RDONLY)
    try:
        try:
            _, about = unpack(fd, target, "sha256", lambda: None)
        except UsageError as error:
            if "\n" in error.message:
                raise AssertionError("more than one line") from error
            yield None
        else:
            yield target, about
    finally:
        os.close(fd)
        shutil.rmtree(target)
        archive.unlink()
    after = (sorted(os.listdir(ground)), tree(ground / "outside"), (ground / "outside" / "file").stat().st_nlink)
    assert after == before


def assert_safe(target: Path) -> None:
    for path in target.rglob("*"):
        names = os.listxattr(path, follow_symlinks=False)
        orders = {name: os.getxattr(path, name) for name in names if name.startswith("trusted.overlay.")}
        assert orders.items() <= {"trusted.overlay.opaque": b"y", "trusted.overlay.origin": b""}.items(), path


@FUZZ
@given(content=st.binary(max_size=3000))
@example(b"")
@example(bytes(512))
@example(b"\x1f\x8b")
@example(b"\x28\xb5\x2f\xfd")
def test_any_bytes(ground: Path, content: bytes) -> None:
    with unpacked(ground, content):
        pass


@FUZZ
@given(content=archives())
def test_odd_archives(ground: Path, content: bytes) -> None:
    with unpacked(ground, content) as done:
        if done is not None:
            assert_safe(done[0])


@FUZZ
@given(lower=archives(), upper=archives())
@example(lower=tar([symlink("a", "../outside")]), upper=tar([file("a/file"), file("a/new")]))
@example(lower=tar([symlink("a", "/"), symlink("b", "a")]), upper=tar([file("b/file"), file("a/b/c")]))
def test_odd_seams(ground: Path, lower: bytes, upper: bytes) -> None:
    """What goes through links of the layer below stays inside, too."""
    shelf = ground / "shelf"
    shelf.mkdir()
    try:
        with unpacked(ground, lower) as below:
            if below is None:
                return
            below[0].rename(shelf / "below")
            below[0].mkdir()
        with unpacked(ground, upper) as above:
            if above is None:
                return
            (shelf / "seam").mkdir()
            try:
                with tarstream.Stream(BytesIO(upper).read) as stream:
                    read = tarstream.entries(stream)
                    is_made = make_seam(above[0], above[1], [shelf / "below"], shelf / "seam", read, lambda: None)
            except UsageError:
                return
            assert is_made is not None or not os.listdir(shelf / "seam")
            assert sorted(os.listdir(shelf)) == ["below", "seam"]
            for path in (shelf / "seam").rglob("*"):
                if stat.S_ISREG(path.lstat().st_mode):
                    assert path.stat().st_nlink > 1, "it is a file of the layer"
            assert_safe(shelf / "seam")
    finally:
        shutil.rmtree(shelf)
